"""Likeness by luminance: the same set-up scores high whatever the camera and exposure did, another one low."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from streamcolor.film.similarity import GOOD_MATCH, match_score, refound, small_picture

Grey = NDArray[np.float32]

DATA = Path(__file__).parents[3] / "shared" / "data"
STILLS: list[Callable[[], NDArray[np.uint8]]] = [data.astronaut, data.coffee, data.chelsea, data.rocket]


def still(number: int, *, zoom: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Grey:
    """(144, 256) grey in [0, 255] of a still; shift in shares of width and height."""
    grey = cv2.resize(cv2.cvtColor(STILLS[number](), cv2.COLOR_RGB2GRAY), (512, 288), interpolation=cv2.INTER_AREA)
    x = 128 * (1 - zoom) + shift[0] * 256 + 128
    y = 72 * (1 - zoom) + shift[1] * 144 + 72
    move = np.array([[zoom, 0, x], [0, zoom, y]], np.float32)
    return cv2.warpAffine(grey, move, (256, 144), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP).astype(np.float32)


@pytest.mark.parametrize("number", range(4))
def test_camera_moves_exposure_and_grain_do_not_matter(number: int) -> None:
    reference = small_picture(still(number))
    rng = np.random.default_rng(number)
    assert match_score(reference, reference) > 0.99
    for shift in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.08, -0.08)):
        assert match_score(reference, small_picture(still(number, shift=shift))) >= GOOD_MATCH
    for zoom in (0.92, 1.08):
        assert match_score(reference, small_picture(still(number, zoom=zoom))) >= GOOD_MATCH
    for gain, offset in ((0.5, 40), (0.3, 0), (1.0, 60)):
        assert match_score(reference, small_picture(still(number) * gain + offset)) > 0.95
    grainy = still(number) + rng.normal(0, 20, (144, 256)).astype(np.float32)
    assert match_score(reference, small_picture(grainy)) >= GOOD_MATCH


@pytest.mark.parametrize(("one", "other"), list(permutations(range(4), 2)))
def test_other_pictures_score_low(one: int, other: int) -> None:
    first, second = small_picture(still(one)), small_picture(still(other))
    assert match_score(first, second) < 0.35
    assert match_score(first, second) == pytest.approx(match_score(second, first))


def test_the_unit_of_luma_does_not_matter() -> None:
    grey = still(1)
    codes = np.round(grey * 257).astype(np.uint16)
    ratio = match_score(small_picture(grey / 255 * 100, 100), small_picture(codes, 65535))
    assert ratio > 0.99


def test_blank_pictures_are_like_blank_pictures_only() -> None:
    noise = np.random.default_rng(0).normal(16, 1, (144, 256)).astype(np.float32)
    blank, picture = small_picture(noise), small_picture(still(0))
    assert refound(blank, blank) == 1.0 and refound(blank, picture) == 0.0
    assert match_score(blank, picture) < 0.35


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared films")
def test_clips_resemble_themselves_and_not_each_other() -> None:
    looks = []
    for path in sorted((DATA / "eval" / "davis").glob("*.mp4")):
        with av.open(str(path)) as container:
            luma = [
                f.to_ndarray(format="gray")
                for n, f in zip(range(9), container.decode(video=0), strict=False)
                if n in (0, 8)
            ]
        looks.append([small_picture(picture) for picture in luma])
    own = [match_score(*pair) >= GOOD_MATCH for pair in looks]
    foreign = [match_score(a[0], b[1]) >= GOOD_MATCH for a, b in permutations(looks, 2)]
    assert np.mean(own) >= 0.8
    assert np.mean(foreign) <= 0.04
