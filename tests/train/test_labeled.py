"""Classes are folders, batches are a function of their number, and the truth scores highest."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from streamcolor.errors import InputError
from streamcolor.train.labeled import Labeled, LabeledBatches, classes_of, load_labeled, picture_of, score
from streamcolor.train.paired import as_lab


def picture(seed: int, size: int = 32) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((4, 4, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def labeled(seed: int, label: int = 0) -> Labeled:
    return Labeled(str(seed), picture(seed), picture(seed), label)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten, one that is broken."""
    for number, name in enumerate(("bird", "tower", "void")):
        (tmp_path / name).mkdir()
        for n in range(10 if name != "void" else 1):
            Image.fromarray(picture(100 * number + n, 40 + n)).save(tmp_path / name / f"{name}_{n}x.png")
    (tmp_path / "void/void_0x.png").write_bytes(b"no picture")
    (tmp_path / "tower/broken.jpg").write_bytes(b"no picture")
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "bird/grey.png")
    return tmp_path


def test_sub_folders_are_classes(folder: Path) -> None:
    found = load_labeled(folder, size=32)
    assert found.classes == ("bird", "tower", "void")
    assert found.counts == {"train": 16, "validation": 4, "skipped": 2, "grey": 1, "classes": 3}
    assert any(line.startswith("tower/broken.jpg") for line in found.skipped)
    assert any(line.startswith("void") for line in found.skipped)
    for side, each in ((found.train, 8), (found.validation, 2)):
        assert sorted(one.label for one in side) == [0] * each + [1] * each
        assert all(one.name.startswith(found.classes[one.label]) for one in side)
        assert all(one.target.shape == (32, 32, 3) for one in side)
    plain = load_labeled(folder, size=32, labels=False)
    assert plain.classes == () and {one.label for one in plain.train} == {0}


def test_other_folders_have_no_classes(folder: Path) -> None:
    assert classes_of(folder / "bird") == ()
    assert classes_of(folder / "nowhere") == ()
    Image.fromarray(picture(9)).save(folder / "beside.png")
    assert classes_of(folder) == ()
    shots = folder / "shots"
    for name in ("one", "two"):
        (shots / name).mkdir(parents=True)
        for n in range(3):
            Image.fromarray(picture(n)).save(shots / name / f"{n:05}.png")
    assert classes_of(shots) == ()
    (shots / "two").rename(folder / "two")
    assert classes_of(shots) == ()
    empty = folder / "empty"
    for name in ("a", "b"):
        (empty / name).mkdir(parents=True)
        (empty / name / "x.png").write_bytes(b"no picture")
    assert classes_of(empty) == ("a", "b")
    with pytest.raises(InputError, match="no color pictures"):
        load_labeled(empty, size=32)


def test_batches_are_a_function_of_their_number() -> None:
    pictures = [labeled(n, n) for n in range(5)]
    source = LabeledBatches(pictures, 2, seed=4)
    assert source.epoch == 3
    seen = [source.sample(n) for n in range(6)]
    for epoch in (seen[:3], seen[3:]):
        assert sorted(torch.cat([batch["label"] for batch in epoch]).tolist()) == [0, 1, 2, 3, 4]
        assert [len(batch["picture"]) for batch in epoch] == [2, 2, 1]
    mirrored = 0
    for batch in seen:
        for tensor, label in zip(batch["picture"], batch["label"].tolist(), strict=True):
            truth = as_lab(pictures[label].target)
            flipped = bool(torch.equal(tensor, truth.flip(-1)))
            assert flipped or torch.equal(tensor, truth)
            mirrored += flipped
    assert 0 < mirrored < 10
    later = LabeledBatches(pictures, 2, seed=4, start=4)
    assert torch.equal(next(iter(later))["picture"], seen[4]["picture"])
    plain = LabeledBatches(pictures, 5, flip=False).sample(0)
    for tensor, label in zip(plain["picture"], plain["label"].tolist(), strict=True):
        assert torch.equal(tensor, as_lab(pictures[label].target))


def test_the_truth_scores_highest() -> None:
    pictures = [labeled(n) for n in range(3)]
    truths = iter([as_lab(one.target)[None, 1:] for one in pictures])
    result = score(lambda film: next(truths), pictures, torch.device("cpu"))
    grey = score(lambda film: film.new_zeros(1, 2, 32, 32), pictures, torch.device("cpu"))
    assert result.figures["mae"] == pytest.approx(0, abs=1e-5) and grey.figures["mae"] > 5
    assert grey.figures["psnr"] == grey.figures["psnr of grey"] == result.figures["psnr of grey"]
    assert result.figures["psnr"] > grey.figures["psnr"] + 10
    assert result.figures["colorfulness"] == pytest.approx(result.figures["colorfulness of the truth"], rel=0.05)
    assert grey.figures["colorfulness"] < 1
    (sheet,) = result.pictures.values()
    assert sheet.shape == (3 * 32, 3 * 32, 3)
    assert score(lambda film: film, [], torch.device("cpu")).figures == {}


def test_the_lightness_of_a_picture_is_that_of_the_film() -> None:
    film = torch.rand(1, 1, 8, 8)
    shown = picture_of(film, torch.zeros(1, 2, 8, 8))
    assert shown.dtype == np.uint8 and (shown.max(-1) - shown.min(-1)).max() <= 1
    order = film.flatten().argsort()
    assert (np.diff(shown[..., 1].flatten()[order.numpy()].astype(int)) >= 0).all()
