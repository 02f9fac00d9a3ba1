"""Steadiness in time, beside the truth's own: warp error and flicker, both on pictures of half the size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.color.convert import Float32
from streamcolor.colorizers.tracks import agreement, flow_between, sample, to_grey
from streamcolor.evaluation.comparison import Figures, Pair
from streamcolor.evaluation.metrics import Picture

Mask = NDArray[np.bool_]

# A pixel stands still where neither L* nor a*, b* of the truth moves by more than this.
STILL = 1.0
# So many pixels around it must stand still too: single ones do so by chance.
STILL_WINDOW = 5
# DIS flow needs a picture of a few patches; smaller clips have no flow.
SMALLEST_SIDE = 16


def unoccluded(forth: Float32, back: Float32, here: Float32, there: Float32) -> Mask:
    """(h, w) where a flow of L* pictures holds: it comes back (``agreement``), and lies on no motion boundary.

    Boundary: |grad u|^2 + |grad v|^2 > 0.01 |w|^2 + 0.002 (Ruder, Dosovitskiy, Brox 2016, section 3.3, from Sundaram
    et al. 2010).
    """
    steep = sum((np.gradient(forth[..., c], axis=axis) ** 2 for c in range(2) for axis in range(2)), np.float32(0))
    smooth = steep <= 0.01 * (forth**2).sum(-1) + 0.002
    return np.asarray(agreement(forth, back, here, there)[0] & smooth, np.bool_)


def warp_error(here: Picture, there: Picture, flow: Float32, mask: Mask) -> float | None:
    """E_warp of two frames (Lai et al. 2018, section 4.3): mean over the mask of |V_t - W(V_t+1)|^2, [0, 1] scale.

    here, there: (h, w, 3) R'G'B' uint8 of t and t + 1; squares are summed over the channels. flow: from t to t + 1.
    None where the mask is empty.
    """
    if not mask.any():
        return None
    moved = sample(there.astype(np.float32), flow)
    return float((((here - moved) / 255) ** 2).sum(-1)[mask].mean())


def standing_still(before: tuple[Float32, Float32], now: tuple[Float32, Float32]) -> Mask:
    """(h, w) where L* (h, w) and a*, b* (2, h, w) of the truth moved by at most 1, in 5 x 5 pixels."""
    moved = np.maximum(np.abs(now[0] - before[0]), np.hypot(*(now[1] - before[1])))
    still = (moved <= STILL).astype(np.uint8)
    window = np.ones((STILL_WINDOW, STILL_WINDOW), np.uint8)
    return np.asarray(cv2.erode(still, window, borderType=cv2.BORDER_REPLICATE), np.bool_)


class WarpError:
    """Lai et al. 2018, x 1e3, mean over neighboring frames; flow of the true clip (DIS), the same for both.

    A low figure is no merit by itself (an uncolored film has one): read it beside ``warp_gt``, the truth's own.
    """

    columns = ("warp", "warp_gt")

    def __init__(self) -> None:
        self._before: Pair | None = None
        self._errors: list[tuple[float, float]] = []

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""
        before, self._before = self._before, pair
        if before is None or min(pair.halves[0].shape[:2]) < SMALLEST_SIDE:
            return
        here, there = before.labs[0][0], pair.labs[0][0]
        forth, back = flow_between(to_grey(here), to_grey(there)), flow_between(to_grey(there), to_grey(here))
        mask = unoccluded(forth, back, here, there)
        true, mine = (warp_error(before.halves[k], pair.halves[k], forth, mask) for k in range(2))
        if true is not None and mine is not None:
            self._errors.append((mine, true))

    def end_clip(self) -> Figures:
        """warp and warp_gt; None where no flow could be believed."""
        figures = _means(self.columns, self._errors, 1e3)
        self._before, self._errors = None, []
        return figures

    def pooled(self) -> Figures:
        """Nothing: the mean over clips is the figure."""
        return {}


class Flicker:
    """Mean change of a*, b* (Euclidean) from frame to frame where the true clip stands still, beside the truth's own.

    Each pair of frames counts by its still pixels.
    """

    columns = ("flicker", "flicker_gt")

    def __init__(self) -> None:
        self._before: Pair | None = None
        self._sums = np.zeros(2)
        self._pixels = 0

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""
        before, self._before = self._before, pair
        if before is None:
            return
        still = standing_still(before.labs[0], pair.labs[0])
        changes = [np.hypot(*(pair.labs[k][1] - before.labs[k][1]))[still].sum() for k in (1, 0)]
        self._sums += changes
        self._pixels += int(still.sum())

    def end_clip(self) -> Figures:
        """flicker and flicker_gt; None where nothing stood still."""
        means = [(self._sums[0] / self._pixels, self._sums[1] / self._pixels)] if self._pixels else []
        self._before, self._sums, self._pixels = None, np.zeros(2), 0
        return _means(self.columns, means, 1)

    def pooled(self) -> Figures:
        """Nothing: the mean over clips is the figure."""
        return {}


def _means(columns: tuple[str, ...], values: list[tuple[float, float]], scale: float) -> Figures:
    if not values:
        return dict.fromkeys(columns)
    return {name: scale * float(np.mean([v[k] for v in values])) for k, name in enumerate(columns)}
