"""The example configurations name options that exist, and they are in the wheel."""

from __future__ import annotations

import inspect
from importlib import resources
from pathlib import Path

import pytest

from streamcolor.commands import run, train
from streamcolor.commands.configuration import read_configuration
from streamcolor.errors import CallError

COMMANDS = {"run.yaml": run.command, "train/propagator.yaml": train.propagator}


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_hold(name: str) -> None:
    known = set(inspect.signature(COMMANDS[name]).parameters)
    text = Path(str(resources.files("streamcolor.configs"))) / name
    assert read_configuration(text, known)


def test_every_example_is_tested() -> None:
    folder = Path(str(resources.files("streamcolor.configs")))
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*.yaml")} == set(COMMANDS)


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
    ],
)
def test_wrong_files_are_refused_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    check(tmp_path / "c.yaml", text, says)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert read_configuration(tmp_path / "c.yaml", {"model"}) == {}
