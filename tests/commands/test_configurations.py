"""The example configurations name options that exist, and they are in the wheel."""

from __future__ import annotations

import inspect
from importlib import resources
from pathlib import Path

import pytest

from streamcolor.commands import run, train
from streamcolor.commands.configuration import read_configuration
from streamcolor.errors import CallError
from streamcolor.train.loop import LoopRecipe
from streamcolor.train.recipes import FAMILIES, read_recipe

CONFIGS = Path(str(resources.files("streamcolor.configs")))
RECIPES = sorted(path.stem for path in (CONFIGS / "train").glob("*.yaml"))


def test_the_example_of_a_run_holds() -> None:
    assert read_configuration(CONFIGS / "run.yaml", set(inspect.signature(run.command).parameters))


@pytest.mark.parametrize("model", RECIPES)
def test_the_recipes_of_the_models_hold(model: str, tmp_path: Path) -> None:
    options = set(inspect.signature(train.command).parameters)
    values = read_configuration(CONFIGS / "train" / f"{model}.yaml", None)
    settings = {name: value for name, value in values.items() if name not in options}
    recipe = read_recipe(model, tmp_path, LoopRecipe(tmp_path), settings, rate=values.get("rate"), steps=None)
    for name, value in settings.items():
        assert getattr(recipe, name) == value, name


def test_every_model_that_trains_has_a_recipe() -> None:
    assert set(RECIPES) == set(FAMILIES)


def check(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(CallError, match=says):
        read_configuration(path, {"model", "ref"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: flow\nmodle: x\n", "c.yaml:2: unknown key 'modle', did you mean 'model'"),
        ("- a\n- b\n", "c.yaml:1: a configuration is a list of 'option: value' lines"),
        ("a: [1\n", "this is not YAML"),
        ("42: x\n", "unknown key '42'"),
        ("model: flow\nref: a\nmodel: welsh\n", "c.yaml:3: 'model' is in line 1 already; keep one of them"),
    ],
)
def test_wrong_files_are_refused_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    check(tmp_path / "c.yaml", text, says)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert read_configuration(tmp_path / "c.yaml", {"model"}) == {}
