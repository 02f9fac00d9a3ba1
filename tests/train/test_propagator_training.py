"""Training does learn, resumes exactly, and refuses what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from streamcolor.colorizers.registry import create
from streamcolor.errors import InputError
from streamcolor.train.propagator import PropagatorRecipe, Trainer, train
from streamcolor.train.sequences import SequenceRecipe, Sequences, load_footage

SMALL = SequenceRecipe(height=64, width=64, frames=3)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six colorful pictures, a grey one and a broken one."""
    folder = tmp_path_factory.mktemp("stills")
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = cv2.resize((rng.random((5, 6, 3)) * 255).astype(np.uint8), (192, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    cv2.imwrite(str(folder / "grey.png"), np.full((160, 160, 3), 90, np.uint8))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def recipe(data: Path, output: Path, steps: int) -> PropagatorRecipe:
    return PropagatorRecipe(data, output, steps=steps, batch=2, workers=0, warmup=2, save_every=3, sequences=SMALL)


def test_broken_and_grey_files_are_left_out_and_named(stills: Path) -> None:
    footage = load_footage(stills)
    assert len(footage.stills) == 6
    assert len(footage.skipped) == 1 and "broken.png" in footage.skipped[0]


def test_samples_are_pure_functions_of_seed_and_number(stills: Path) -> None:
    footage = load_footage(stills)
    one, two = (Sequences(footage, SMALL, seed=5).sample(17) for _ in range(2))
    assert torch.equal(one["lightness"], two["lightness"]) and torch.equal(one["ab"], two["ab"])
    assert one["lightness"].shape == (4, 1, 64, 64) and one["ab"].shape == (4, 2, 64, 64)
    assert one["lightness"].min() >= -0.5 and one["lightness"].max() <= 0.5
    assert one["ab"].abs().max() <= 1
    other = Sequences(footage, SMALL, seed=5).sample(18)
    assert not torch.equal(one["ab"], other["ab"])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no color pictures"):
        train(recipe(tmp_path, tmp_path / "run", 1))
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(recipe(tmp_path, tmp_path / "run", 1), resume=True)


def test_an_interrupted_run_ends_with_the_same_weights(stills: Path, tmp_path: Path) -> None:
    whole = load_file(train(recipe(stills, tmp_path / "whole", 6)))
    half = recipe(stills, tmp_path / "half", 6)
    trainer = Trainer(half)
    batches = iter(torch.utils.data.DataLoader(Sequences(load_footage(stills), SMALL), 2))
    for _ in range(3):
        trainer.step_once(next(batches))
    trainer.save()
    resumed = load_file(train(half, resume=True))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


@pytest.mark.slow
def test_it_learns_and_what_it_wrote_can_run(stills: Path, tmp_path: Path) -> None:
    weights = train(recipe(stills, tmp_path / "run", 75))
    lines = [json.loads(line) for line in (tmp_path / "run" / "losses.jsonl").read_text().splitlines()]
    assert lines[-1]["guess"] < lines[0]["guess"]
    assert lines[-1]["ab"] < lines[0]["ab"]
    assert create("propagator", weights=weights).info.id == "propagator"
