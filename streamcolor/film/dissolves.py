"""Dissolves: one picture melts into another over several frames.

A dissolve frame is (1 - a) A + a B with a rising from 0 to 1 (C. W. Ngo, T. C. Pong, R. T. Chin, "Detection of gradual
transitions through temporal slice analysis", 1999; H. J. Zhang, A. Kankanhalli, S. W. Smoliar, "Automatic partitioning
of full-motion video", 1993, for the comparison over more than one frame). For a pair of frames A, B the share a of every
frame between them is its projection on B - A. All projections come out of the scalar products of very small pictures,
so that a frame costs one matrix product whatever the number of windows tried.
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
_LARGEST_RESIDUAL = 0.36
_LARGEST_STEP = 0.62
_LARGEST_FALL = 0.06
_SMALLEST_DISTANCE = 9.0
_REST = 4
_FLAT_SLOPE = 0.7


@dataclass(frozen=True, slots=True)
class Blend:
    """Frames ``first`` to ``stop - 1`` are mixed of ``old`` and ``new``, the numbers of the clean frames beside them."""

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
        small = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.8).ravel()
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
        distance = g[b, b] - 2 * g[a, b] + g[a, a]
        if distance < _SMALLEST_DISTANCE**2 * self._pictures.shape[1]:
            return None
        inside = np.arange(a, b + 1)
        share = (g[inside, b] - g[inside, a] - g[a, b] + g[a, a]) / distance
        away = np.diagonal(g)[inside] - 2 * g[inside, a] + g[a, a] - share**2 * distance
        steps = np.diff(share)
        if away.max() > _LARGEST_RESIDUAL**2 * distance or steps.max() > _LARGEST_STEP or steps.min() < -_LARGEST_FALL:
            return None
        mixed = np.flatnonzero((share > _MIXED[0]) & (share < _MIXED[1]))
        if mixed.size == 0 or mixed[-1] - mixed[0] + 1 != mixed.size:
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
