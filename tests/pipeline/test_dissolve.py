"""In a dissolve both shots give their colors, weighted by how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from skimage import data

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.film.references import ReferencePlanner, load_references
from streamcolor.film.shots import ShotFinder
from streamcolor.frame import Chroma
from streamcolor.media.reader import open_film
from streamcolor.pipeline.painter import Painted, Painter, Planes
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


SHARE = [(i + 1) / (LENGTH + 1) for i in range(LENGTH)]


def dissolve(folder: Path) -> tuple[Path, list[str]]:
    """Forty frames, twelve that cross over, forty; and a reference for either end."""
    old, red = tinted(data.coffee(), 120, 148)
    new, blue = tinted(data.chelsea(), 145, 118)
    mixed = [np.round((1 - s) * old + s * new).astype(np.uint8) for s in SHARE]
    film = write_film(folder / "film.mkv", [old] * 40 + mixed + [new] * 40)
    for name, picture in (("red", red), ("blue", blue)):
        cv2.imwrite(str(folder / f"{name}.png"), picture[..., ::-1])
    return film, [str(folder / "red.png"), str(folder / "blue.png")]


@pytest.mark.parametrize("model", ["flow", "welsh"])
def test_colors_cross_over_with_the_pictures(model: str, tmp_path: Path) -> None:
    film, references = dissolve(tmp_path)
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
    np.testing.assert_allclose(progress, SHARE, atol=0.2)
    assert np.all(np.diff(cr[38 : 42 + LENGTH]) < 1), "the tint goes one way"


class Flat:
    """Emits a picture of one color: the mean b* of its references, made a number in [0, 1]."""

    info = ColorizerInfo("flat", True, 64, 1, "Apache-2.0", CachePolicy(recent=0))

    def encode(self, reference: Reference) -> Entry:
        return Entry({"value": 0.5 + reference.ab[:, 1].mean() / 220}, reference.frame)

    def step(
        self, lightness: torch.Tensor, cache: ReferenceCache, frame: int, following: Sequence[torch.Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        (entry,) = cache.permanent
        size = lightness.shape[-2:]
        return Chroma(torch.zeros(2, *size), torch.ones(1, *size), entry.tensors["value"].expand(3, *size)), None


def test_pictures_that_are_emitted_cross_over_as_well(tmp_path: Path) -> None:
    film, references = dissolve(tmp_path)
    with open_film(film) as reader:
        info = reader.info
        pictures = load_references(references, rate=info.rate, width=info.width, height=info.height)
        planes = Planes((HEIGHT, WIDTH), 8)
        painter = Painter(info, planes, Flat(), ShotFinder(lookahead=24), ReferencePlanner(pictures))
        painted = [item for item in painter.paint(iter(reader)) if isinstance(item, Painted)]
    values = [float(item.rgb.mean()) for item in painted if item.rgb is not None]
    assert len(values) == 80 + LENGTH
    start, end = values[20], values[-10]
    assert abs(start - end) > 0.05
    progress = [(value - start) / (end - start) for value in values[40 : 40 + LENGTH]]
    np.testing.assert_allclose(progress, SHARE, atol=0.2)
