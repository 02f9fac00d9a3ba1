"""Every model that can be trained is trained for a few steps at reduced width and then colors a film, by command."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamcolor.colorizers.registry import find
from streamcolor.commands import main
from streamcolor.train.recipes import FAMILIES

from films import read_luma, scene, write_film

# Options that make a model small enough for a test; the papers' sizes are in configs/train.
SMALL = {
    "propagator": ["--height", "64", "--width", "64", "--batch", "2", "--frames", "2", "--stills", "1"],
    "propagator-b": ["--height", "64", "--width", "64", "--batch", "1", "--frames", "2", "--stills", "1"],
    "chroma-prior": ["--height", "64", "--width", "64", "--batch", "2", "--narrow", "2", "--rate", "1e-2"],
    "autoencoder": ["--size", "64", "--batch", "2"],
    "unet-basic": ["--size", "64", "--batch", "2"],
    "stable-colorizer": ["--size", "64", "--batch", "2", "--allow-random-encoder"],
    "agin": ["--size", "32", "--width", "8", "--critic-width", "8", "--no-global-scale", "--batch", "2"],
    "attention-exemplar": [
        "--size",
        "64",
        "--short-side",
        "72",
        "--width",
        "8",
        "--discriminator-width",
        "8",
        "--batch",
        "2",
    ],
    "stylization": ["--size", "64", "--crop", "48", "--width", "4", "--batch", "2"],
    "resnet-cnn": ["--size", "64", "--width", "8", "--batch", "2"],
    "cnn-classifier": ["--size", "64", "--width", "8", "--batch", "2"],
    "unet-gan": ["--size", "64", "--width", "8", "--depth", "5", "--discriminator-width", "8", "--batch", "2"],
    "attention-unet-gan": ["--size", "64", "--width", "8", "--discriminator-width", "8", "--batch", "2"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = (rng.random((5, 6, 3)) * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (192, 160), interpolation=cv2.INTER_CUBIC))
    return folder


def run(words: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


def test_every_model_is_here() -> None:
    assert set(SMALL) == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("model", SMALL)
def test_it_trains_and_colors(model: str, data: Path, tmp_path: Path) -> None:
    words = ["train", model, "--data", str(data), "--output", str(tmp_path / "run"), "--max-steps", "20", "-q"]
    assert run([*words, "--workers", "0", *SMALL[model]]) == 0
    if find(model).kind == "backbone":
        return
    film = write_film(tmp_path / "film.mkv", [scene(96, 128, n, 8) for n in range(6)])
    color = ["run", str(film), "--ref", str(data / "0.png"), "--fit", "stretch", "-o", str(tmp_path / "out.mkv")]
    assert run([*color, "--codec", "ffv1", "--model", model, "--weights", str(tmp_path / "run"), "-q"]) == 0
    before, after = read_luma(film), read_luma(tmp_path / "out.mkv")
    assert before[1] == after[1] and all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    with av.open(str(tmp_path / "out.mkv")) as container:
        planes = [np.frombuffer(p, np.uint8) for f in container.decode(video=0) for p in f.planes[1:]]
    assert any(np.ptp(plane) > 0 for plane in planes), "it colors"
