"""In a dissolve both shots give their colors, weighted by how far it has come."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

from streamcolor.pipeline.run import RunOptions, run

from films import write_film

HEIGHT, WIDTH = 144, 256
LENGTH = 12


def tinted(rgb: np.ndarray, cb: int, cr: int) -> tuple[np.ndarray, np.ndarray]:
    """Luma of a still in a flat tint, and the R'G'B' picture that has it."""
    grey = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    luma = np.round(60 + grey * (110 / 255)).astype(np.uint8)
    y, b, r = (luma.astype(np.float64) - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    red, blue = y + 1.402 * r, y + 1.772 * b
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    picture = np.stack([red, green, blue], -1)
    assert picture.min() >= 0 and picture.max() <= 1
    return luma, np.round(picture * 255).astype(np.uint8)


@pytest.mark.parametrize("model", ["flow", "welsh"])
def test_colors_cross_over_with_the_pictures(model: str, tmp_path: Path) -> None:
    old, red = tinted(data.coffee(), 120, 148)
    new, blue = tinted(data.chelsea(), 145, 118)
    share = [(i + 1) / (LENGTH + 1) for i in range(LENGTH)]
    mixed = [np.round((1 - s) * old + s * new).astype(np.uint8) for s in share]
    film = write_film(tmp_path / "film.mkv", [old] * 40 + mixed + [new] * 40)
    for name, picture in (("red", red), ("blue", blue)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture[..., ::-1])
    references = [str(tmp_path / "red.png"), str(tmp_path / "blue.png")]
    report = run(RunOptions(film, references, output=tmp_path / "out.mkv", codec="ffv1", model=model))
    assert [shot.transition for shot in report.shots] == ["cut", "dissolve"]
    assert [[name for name, _ in shot.references] for shot in report.shots] == [["red.png"], ["blue.png"]]
    with av.open(str(tmp_path / "out.mkv")) as container:
        cr = [
            float(np.frombuffer(f.planes[2], np.uint8).reshape(-1, f.planes[2].line_size)[:, : WIDTH // 2].mean())
            for f in container.decode(video=0)
        ]
    start, end = cr[20], cr[-10]
    assert start - end > 20
    progress = [(start - value) / (start - end) for value in cr[40 : 40 + LENGTH]]
    np.testing.assert_allclose(progress, share, atol=0.2)
    assert np.all(np.diff(cr[38 : 42 + LENGTH]) < 1), "the tint goes one way"
