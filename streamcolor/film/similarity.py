"""How much two pictures look alike, by luminance alone and whatever their exposure, a small camera move or grain.

Both measures are built of zero-mean normalized cross-correlation (J. P. Lewis, "Fast normalized cross-correlation",
1995), which no gain and no offset changes. ``refound`` compares blocks one by one and answers "did the picture go on
from here to there"; ``match_score`` compares two whole pictures that may be seconds apart and answers "is this a
picture of the same set-up".
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

FLAT = 6.0
"""Standard deviation, in 8-bit code values, below which a picture or a block shows nothing but noise."""

SMALL = (54, 96)
"""(rows, columns) of the pictures that are compared: fine enough for faces, coarse enough to lose grain."""

GOOD_MATCH = 0.6
"""Lowest ``match_score`` at which a reference guides a shot that it was not named for; measured, see there."""

_BLOCK = 14
_REACH = 10
_CROP = 0.76
_ZOOMS = (0.9, 1.0, 1.1)
_EVEN_DEVIATION = 44.0
_BLUR = 3.0
# Logistic regression on training clips; weights of blocks, layout and detail, then the bias.
_WEIGHTS = (9.84, 5.19, 9.61, -12.39)


def contrast(picture: NDArray[Any]) -> float:
    """Standard deviation of the picture in its own units."""
    return float(cv2.meanStdDev(picture)[1][0, 0])


def even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The (h, w) uint8 picture with its mean at 128 and its deviation at 44: exposure, flicker and fades are gone.

    A picture flatter than ``FLAT`` is amplified as if it had that deviation, so that noise stays small.
    """
    mean, deviation = (float(v[0, 0]) for v in cv2.meanStdDev(picture))
    gain = _EVEN_DEVIATION / max(deviation, FLAT)
    table = np.clip((np.arange(256) - mean) * gain + 128, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table))


def small_picture(picture: NDArray[Any], white: float = 255.0) -> Picture:
    """(H, W) luma or lightness, reduced to (54, 96) float32 and evened to mean 128, deviation 44.

    white: the value of white: 255 for 8-bit luma, 2**depth - 1 for deeper luma, 100 for L*.
    """
    small = cv2.resize(picture, SMALL[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    mean, deviation = (float(v[0, 0]) for v in cv2.meanStdDev(small))
    evened = (small - mean) * (_EVEN_DEVIATION / max(deviation, FLAT * white / 255)) + 128
    return np.asarray(cv2.GaussianBlur(evened, (3, 3), 0), dtype=np.float32)


def refound(old: Picture, new: Picture) -> float:
    """Median correlation, in [-1, 1], with which the detailed blocks of each small picture reappear in the other.

    Every 14 x 14 block is searched within 10 samples (a tenth of the width) around its place. Pictures without any
    detailed block are alike (1) only if both are.
    """
    there, back = _blocks(old, new), _blocks(new, old)
    if not there or not back:
        return 1.0 if not there and not back else 0.0
    return float(np.median(there) + np.median(back)) / 2


def _blocks(sought: Picture, where: Picture) -> list[float]:
    rows, columns = SMALL
    found = []
    for top in range((rows % _BLOCK) // 2, rows - _BLOCK + 1, _BLOCK):
        for left in range((columns % _BLOCK) // 2, columns - _BLOCK + 1, _BLOCK):
            block = sought[top : top + _BLOCK, left : left + _BLOCK]
            if contrast(block) < FLAT:
                continue
            window = where[max(0, top - _REACH) : top + _BLOCK + _REACH, max(0, left - _REACH) : left + _BLOCK + _REACH]
            found.append(float(cv2.matchTemplate(window, block, cv2.TM_CCOEFF_NORMED).max()))
    return found


def match_score(reference: Picture, frame: Picture) -> float:
    """How surely two pictures made by ``small_picture`` show the same set-up, in [0, 1].

    A logistic mean of three correlations: of blocks (``refound``), of the layout (blurred) and of the detail (what
    blurring removes), the latter two at shifts up to 12 % and zooms of 0.9 to 1.1. Symmetric in its arguments.

    The weights were fitted to 79 one-shot training clips. On 14 other clips (10 of DAVIS, mostly fast sports,
    and 4 of old film) 84 % of pictures up to one second after the first score ``GOOD_MATCH`` or more, 93 % of pictures
    that were shifted, zoomed, re-exposed and grained, and 0.9 % of pairs of unrelated pictures; 3 % of the latter score
    above 0.35. On the training clips: 93 %, 98 %, 1.8 % and 4.7 %.
    """
    one, other = (np.asarray(cv2.GaussianBlur(p, (0, 0), _BLUR), np.float32) for p in (reference, frame))
    measures = (refound(reference, frame), _aligned(one, other), _aligned(reference - one, frame - other), 1.0)
    log_odds = sum(weight * measure for weight, measure in zip(_WEIGHTS, measures, strict=True))
    return float(1 / (1 + np.exp(-log_odds)))


def _aligned(one: Picture, other: Picture) -> float:
    return (_found(one, other) + _found(other, one)) / 2


def _found(sought: Picture, where: Picture) -> float:
    """Best correlation of the middle of one picture with the other, over shifts and zooms."""
    rows, columns = SMALL
    height, width = round(rows * _CROP), round(columns * _CROP)
    best = -1.0
    for zoom in _ZOOMS:
        h, w = round(height / zoom), round(width / zoom)
        top, left = (rows - h) // 2, (columns - w) // 2
        middle = cv2.resize(sought[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_AREA)
        best = max(best, float(cv2.matchTemplate(where, middle, cv2.TM_CCOEFF_NORMED).max()))
    return best
