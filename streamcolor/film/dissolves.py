"""Dissolves: one picture melts into another over several frames.

A dissolve frame is g ((1 - a) A + a B) with a rising from 0 to 1 and g the flicker of old film; A and B are compared
over their distance, as in H. J. Zhang, A. Kankanhalli, S. W. Smoliar, "Automatic partitioning of full-motion video",
Multimedia Systems 1, 1993. The shares of every frame between them are a least-squares fit, and all fits come out of the
scalar products of very small pictures: a frame costs one matrix product, whatever the number of windows tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_GRID = (18, 32)
_SPANS = (4, 6, 8, 11, 15, 20, 26, 34, 44, 57, 74)
_HELD = 80

_MIXED = (0.08, 0.92)
_LARGEST_RESIDUAL = 0.33
_LARGEST_STEP = 0.62
_LARGEST_FALL = 0.06
_SMALLEST_DISTANCE = 9.0
_SMALLEST_ANGLE = 5.0
_GAINS = (0.8, 1.25)
_BLACK = 16.0
_REST = 4
_FLAT_SLOPE = 0.7


@dataclass(frozen=True, slots=True)
class Blend:
    """Frames ``first`` to ``stop - 1`` mix two pictures; ``old`` and ``new`` are the clean frames beside them."""

    first: int
    stop: int

    @property
    def old(self) -> int:
        return self.first - 1

    @property
    def new(self) -> int:
        return self.stop


class DissolveDetector:
    """Finds blends as their last frame goes by; remembers 80 pictures of 18 x 32."""

    def __init__(self) -> None:
        self._pictures = np.zeros((_HELD, _GRID[0] * _GRID[1]), np.float32)
        self._products = np.zeros((_HELD, _HELD), np.float64)
        self._count = 0

    def push(self, picture: NDArray[Any]) -> list[Blend]:
        """Take the next frame ((h, w) uint8); returns blends that may have just ended, the shortest window first.

        The numbers count the pictures pushed, from 0.
        """
        small = cv2.resize(picture, _GRID[::-1], interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.8).ravel() - _BLACK
        # The newest picture is the last row.
        self._pictures[:-1] = self._pictures[1:]
        self._products[:-1, :-1] = self._products[1:, 1:]
        self._pictures[-1] = small
        self._products[-1, :] = self._products[:, -1] = self._pictures @ small
        self._count += 1
        return [blend for span in _SPANS if span < self._count and (blend := self._blend(span)) is not None]

    def _blend(self, span: int) -> Blend | None:
        """The blend between the newest frame and the one ``span`` frames before, if all between are on the line."""
        g, a, b = self._products, _HELD - 1 - span, _HELD - 1
        across = g[a, a] * g[b, b] - g[a, b] ** 2
        distance = g[b, b] - 2 * g[a, b] + g[a, a]
        samples = self._pictures.shape[1]
        if distance < _SMALLEST_DISTANCE**2 * samples or across < _SMALLEST_ANGLE**2 * samples * max(g[a, a], g[b, b]):
            return None
        # Least squares of every frame on A and B: its share of each, up to the gain that flicker gives it.
        inside = np.arange(a, b + 1)
        of_old = (g[inside, a] * g[b, b] - g[inside, b] * g[a, b]) / across
        of_new = (g[inside, b] * g[a, a] - g[inside, a] * g[a, b]) / across
        gain = of_old + of_new
        if gain.min() < _GAINS[0] or gain.max() > _GAINS[1]:
            return None
        share = of_new / gain
        away = np.diagonal(g)[inside] - of_old * g[inside, a] - of_new * g[inside, b]
        steps = np.diff(share)
        if away.max() > _LARGEST_RESIDUAL**2 * distance or steps.min() < -_LARGEST_FALL:
            return None
        mixed = np.flatnonzero((share > _MIXED[0]) & (share < _MIXED[1]))
        if mixed.size == 0 or mixed[-1] - mixed[0] + 1 != mixed.size:
            return None
        # A hard cut and some motion around it must not pass for a dissolve of many frames.
        if steps.max() > min(_LARGEST_STEP, 0.1 + 4 / mixed.size):
            return None
        first, last = int(mixed[0]), int(mixed[-1])
        rest = min(_REST, span // 4 + 1)
        if first < rest or last > span - rest:
            return None
        # A window inside a longer dissolve fits the line as well, but rises at its ends as steeply as in the middle.
        slope = (share[last + 1] - share[first - 1]) / (last - first + 2)
        if max(share[rest] - share[0], share[span] - share[span - rest]) > _FLAT_SLOPE * slope * rest:
            return None
        # Where the line reaches 0 and 1: the palest mixed frames lie below the limits of ``_MIXED``.
        start = max(first - share[first] / slope, 0)
        end = min(last + (1 - share[last]) / slope, span - 1)
        oldest = self._count - 1 - span
        return Blend(oldest + round(start) + 1, oldest + round(end))
