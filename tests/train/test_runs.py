"""Runs of every system of the papers: stopped and resumed, bounded by epochs, with pictures resized as they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from streamcolor.errors import InputError
from streamcolor.train.loop import LoopRecipe, start_from
from streamcolor.train.recipes import family_of

# What makes a run small, and how many stages it has.
SMALL: dict[str, tuple[dict[str, object], int]] = {
    "unet-basic": ({}, 1),
    "stable-colorizer": ({}, 2),
    "resnet-cnn": ({"width": 4}, 1),
    "cnn-classifier": ({"width": 4}, 1),
    "unet-gan": ({"width": 4, "depth": 6, "discriminator_width": 4}, 1),
    "attention-unet-gan": ({"width": 4, "discriminator_width": 4}, 1),
    "agin": ({"width": 4, "critic_width": 2, "global_scale": False}, 1),
    "attention-exemplar": ({"width": 4, "discriminator_width": 4, "short_side": 72}, 2),
    "stylization": ({"width": 4, "crop": 48, "transfer_batch": 4}, 2),
}
STAGES = [(model, stage) for model, (_, stages) in SMALL.items() for stage in range(stages)]


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for number in range(0, 20, 2):
        coarse = np.random.default_rng(number).random((24, 24, 3), np.float32) * 255
        large = cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
        Image.fromarray(large).save(folder / f"{number}.png")
    return folder


def recipe(model: str, data: Path, output: Path, steps: int, **changes: object) -> Any:
    family = family_of(model)
    loop = family.as_published(model, LoopRecipe(output, steps=steps, save_every=2))
    reduced = {"batch": 4, "workers": 0, "size": 64} | SMALL[model][0] | changes
    return family.RECIPES[model](model=model, data=data, loop=loop, **reduced)


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("model", "stage"), STAGES)
def test_a_run_that_is_stopped_ends_with_the_same_weights(model: str, stage: int, stills: Path, tmp_path: Path) -> None:
    """Stopped in step 3 of a stage while the last checkpoint is of step 2; dropout and critics go on too."""
    train, calls = family_of(model).train, list[int]()
    whole = load_file(train(recipe(model, stills, tmp_path / "whole", 4)))

    def stop(step: int, means: dict[str, float]) -> None:
        calls.append(step)
        if len(calls) == 4 * stage + 3:
            raise Stopped

    made = recipe(model, stills, tmp_path / "half", 4)
    with pytest.raises(Stopped):
        train(made, on_step=stop)
    assert calls == [1, 2, 3, 4] * stage + [1, 2, 3]
    again = list[int]()
    resumed = load_file(train(made, resume=True, on_step=lambda step, means: again.append(step)))
    assert again == [3, 4, *[1, 2, 3, 4] * (SMALL[model][1] - 1 - stage)]
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_epochs_bound_the_steps(stills: Path, tmp_path: Path) -> None:
    """8 of 10 pictures, 3 in a batch."""
    for model in ("resnet-cnn", "unet-gan", "agin"):
        seen = list[int]()
        made = recipe(model, stills, tmp_path / model, 100, epochs=1, batch=3)
        family_of(model).train(made, on_step=lambda step, _, seen=seen: seen.append(step))
        assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("model", "filtering"),
    [("resnet-cnn", "BILINEAR"), ("unet-gan", "BICUBIC"), ("attention-unet-gan", "BICUBIC"), ("agin", "BICUBIC")],
)
def test_pictures_are_resized_as_the_recipe_says(
    model: str, filtering: str, stills: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the task is validated on are the pictures as they were read."""
    family: Any = family_of(model)
    seen = list[Any]()
    name = next(name for name in vars(family) if name.endswith("Task") and name.startswith(("Cnn", "UnetGan", "Agin")))
    kind = getattr(family, name)

    class Kept(kind):  # type: ignore[misc, valid-type]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            seen.extend(self.validation)

    monkeypatch.setattr(family, name, Kept)
    family.train(recipe(model, stills, tmp_path, 1))
    assert seen
    for one in seen:
        file = stills / Path(one.name).name
        expected = np.asarray(Image.open(file).resize((64, 64), Image.Resampling[filtering]))
        assert np.array_equal(one.target, expected)


def test_weights_to_start_from_are_mostly_the_models_own(tmp_path: Path) -> None:
    network, file = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1)), tmp_path / "w.safetensors"
    held = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    save_file({name: tensor for name, tensor in held.items() if name != "1.bias"}, file)
    before = network[1].bias.clone()
    assert start_from(network, file) == 1
    assert torch.equal(network[0].weight, held["0.weight"]) and torch.equal(network[1].bias, before)
    for wrong in ({"other": torch.ones(2)}, {"0.weight": torch.ones(4, 1, 5, 5)}):
        save_file(wrong, file)
        with pytest.raises(InputError, match=r"w.safetensors does not hold weights that this model could start from"):
            start_from(network, file)
    file.write_bytes(b"no weights")
    with pytest.raises(InputError, match="does not hold weights"):
        start_from(network, file)
