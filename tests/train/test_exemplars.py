"""What an exemplar colorizer is trained on: references of three kinds, drawn the same every time."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from streamcolor.errors import InputError
from streamcolor.train.exemplars import Exemplar, ExemplarBatches, bent, center, load_exemplars, opened
from streamcolor.train.semantic_pairs import description


def picture(seed: int, size: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.random((5, 5, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def write_film(file: Path, pictures: list[np.ndarray]) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for rgb in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    for number in range(8):
        Image.fromarray(picture(number)).save(folder / f"still{chr(97 + number)}.png")
    Image.fromarray(np.full((48, 48, 3), 90, np.uint8)).save(folder / "grey.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "frames").mkdir()
    for number in (1, 2, 3):
        Image.fromarray(np.roll(picture(20), number, 1)).save(folder / f"frames/{number:03d}.png")
    write_film(folder / "film.mkv", [np.roll(picture(30, 64), 2 * n, 1) for n in range(12)])
    return folder


def test_a_folder_of_everything(folder: Path) -> None:
    found = load_exemplars(folder, description(), short_side=40)
    assert found.grey == 1 and len(found.skipped) == 1 and found.skipped[0].startswith("broken.jpg")
    every = {exemplar.name: exemplar for exemplar in found.train + found.validation}
    assert set(every) == {f"still{chr(97 + n)}.png" for n in range(8)} | {"frames", "film.mkv"}
    assert len(found.validation) == 2
    assert every["frames"].pictures == (folder / "frames/001.png", folder / "frames/003.png")
    assert [opened(p, 40).shape for p in every["film.mkv"].pictures] == [(40, 40, 3)] * 2
    for side in (found.train, found.validation):
        for number, exemplar in enumerate(side):
            assert exemplar.neighbor is not None and exemplar.neighbor != number and exemplar.neighbor < len(side)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no color pictures"):
        load_exemplars(tmp_path, description())


def test_the_shorter_side() -> None:
    assert opened(np.zeros((100, 150, 3), np.uint8), 40).shape == (40, 60, 3)
    assert opened(np.zeros((31, 20, 3), np.uint8), 40).shape == (62, 40, 3)
    assert center(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3), 2)[0, 0].tolist() == [24, 25, 26]


def test_a_bent_picture_is_the_same_elsewhere() -> None:
    rgb = picture(3, 64)
    shown = [bent(rgb, np.random.default_rng(n)) for n in range(12)]
    for other in shown:
        assert other.shape == rgb.shape and other.dtype == np.uint8
        moved = np.abs(other.astype(int) - rgb).mean()
        assert moved > 5
        # The colors stay: no black borders, nearly the same histogram.
        assert np.abs(other.mean((0, 1)) - rgb.mean((0, 1))).max() < 25
    assert np.array_equal(shown[0], bent(rgb, np.random.default_rng(0)))
    assert not np.array_equal(shown[0], shown[1])
    # Half of them are mirrored.
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (64, 64, 3))
    rising = [bent(ramp, np.random.default_rng(n))[32].astype(int) for n in range(60)]
    share = np.mean([row[40].mean() > row[24].mean() for row in rising])
    assert 0.3 < share < 0.7


def plain(number: int) -> np.ndarray:
    """The number can be read from the color: no crop and no bending changes it."""
    return np.full((40, 50, 3), (10 * number, 255 - 10 * number, 128), np.uint8)


def test_references_come_from_the_picture_its_neighbor_and_all_others() -> None:
    exemplars = [Exemplar(str(n), (plain(n),), (n + 1) % 10) for n in range(10)]
    batches = ExemplarBatches(exemplars, 1, size=32, short_side=40)
    kinds = np.zeros(10)
    for n in range(600):
        drawn = batches.drawn(4, np.random.default_rng(n))
        assert drawn["target"].shape == drawn["reference"].shape == (32, 32, 3)
        assert drawn["target"][0, 0, 0] == 40
        kinds[drawn["reference"][0, 0, 0] // 10] += 1 / 600
    assert kinds[4] == pytest.approx(0.5, abs=0.06) and kinds[5] == pytest.approx(0.3 + 0.2 / 9, abs=0.06)
    assert np.delete(kinds, [4, 5]).min() > 0


def test_the_reference_of_a_frame_is_another_of_its_shot() -> None:
    batches = ExemplarBatches([Exemplar("shot", (plain(1), plain(2)))], 1, size=32, short_side=40)
    seen = {
        tuple(int(drawn[name][0, 0, 0]) for name in ("target", "reference"))
        for drawn in (batches.drawn(0, np.random.default_rng(n)) for n in range(40))
        if not np.array_equal(drawn["target"], drawn["reference"])
    }
    assert seen == {(10, 20), (20, 10)}


def test_batches_are_a_function_of_seed_and_number() -> None:
    exemplars = [Exemplar(str(n), (picture(n),)) for n in range(5)]
    made = ExemplarBatches(exemplars, 2, size=32, short_side=40)
    first = [next(iter(made))["target"].shape, made.epoch]
    assert first == [torch.Size([2, 3, 32, 32]), 3]
    assert [len(made.sample(n)["target"]) for n in range(3)] == [2, 2, 1]
    resumed = iter(ExemplarBatches(exemplars, 2, size=32, short_side=40, start=4))
    for number in (4, 5):
        here, again = made.sample(number), next(resumed)
        assert torch.equal(here["target"], again["target"]) and torch.equal(here["reference"], again["reference"])
    other = ExemplarBatches(exemplars, 2, size=32, short_side=40, seed=1)
    assert not torch.equal(made.sample(0)["target"], other.sample(0)["target"])
    # Another epoch, other crops and references.
    assert not torch.equal(made.sample(0)["reference"], made.sample(3)["reference"])
    shares = [next(iter(ExemplarBatches(exemplars, 2, size=32, short_side=40, rank=r, world=2))) for r in (0, 1)]
    assert all(torch.equal(share["target"], made.sample(n)["target"]) for n, share in enumerate(shares))
