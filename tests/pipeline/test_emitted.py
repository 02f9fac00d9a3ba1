"""What networks emit, at the size of the film: for evaluation, beside what a run makes of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamcolor.colorizers.agin.network import AginNetwork
from streamcolor.errors import CallError
from streamcolor.pipeline.emitted import at_size, emitted_pictures
from streamcolor.pipeline.run import RunOptions

from films import scene, write_film

HEIGHT, WIDTH = 96, 128


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.mkv", [scene(HEIGHT, WIDTH, n, 8) for n in range(4)])


@pytest.fixture
def weights(tmp_path: Path) -> tuple[AginNetwork, Path]:
    torch.manual_seed(0)
    network = AginNetwork(8).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    return network, tmp_path / "w.safetensors"


@pytest.mark.parametrize("size", [None, 48])
def test_every_frame_is_what_the_network_says(film: Path, weights: tuple[AginNetwork, Path], size: int | None) -> None:
    network, file = weights
    pictures = list(emitted_pictures(RunOptions(film, model="agin", weights=file, device="cpu", size=size)))
    assert len(pictures) == 4
    for number, picture in enumerate(pictures):
        luma = scene(HEIGHT, WIDTH, number, 8)
        if size is not None:
            luma = cv2.resize(luma, (64, 48), interpolation=cv2.INTER_AREA)
        grey = torch.from_numpy((luma.astype(np.float32) - 16) / 219)
        with torch.no_grad():
            rgb = (network((grey * 2 - 1).expand(1, 3, *grey.shape))[0].permute(1, 2, 0).numpy() + 1) / 2
        rgb = cv2.resize(rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
        assert np.abs(picture - np.clip(rgb, 0, 1) * 255).max() < 1
    assert np.ptp(pictures[0]) > 20


def test_an_enlarged_picture_stays_in_range() -> None:
    edge = torch.zeros(3, 8, 8)
    edge[:, :, 4:] = 1
    large = at_size(edge, (24, 32))
    assert large.shape == (24, 32, 3) and large[0, :, 0].tolist() == sorted(large[0, :, 0].tolist())
    assert large.min() == 0 and large.max() == 255
    assert at_size(torch.full((3, 8, 8), 0.5), (8, 8)).tolist() == np.full((8, 8, 3), 128).tolist()


def test_a_model_that_emits_color_alone_says_so(film: Path) -> None:
    with pytest.raises(CallError, match="flow emits color"):
        next(emitted_pictures(RunOptions(film, model="flow", device="cpu")))
