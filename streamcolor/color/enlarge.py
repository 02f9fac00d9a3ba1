"""Enlargement of a small ab map to the grid of a chroma plane, along the edges of the luma that is there.

A cubic enlargement gives every place its color but blurs color edges. Where color and luma change together within a
few samples of the small map, ab is a linear function of luma (He, Sun & Tang, Guided Image Filtering, PAMI 2013,
equations 5 and 6). The slope of that function times the detail of luma that the small map cannot hold moves the color
edge onto the luma edge. The slope counts as far as color follows luma there (a power of the coefficient of
determination), and nothing leaves the range of the colors around.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.color.convert import Float32
from streamcolor.color.standards import ChromaLocation

# Found on 4:2:0 planes of the visible DAVIS clips, ab reduced to 1/8 and 1/16 of luma, so that no clip loses against
# cubic interpolation: the variances of Y' and of ab that count as noise, and how sharply trust falls with the
# coefficient of determination.
_LUMA_NOISE = 1e-3
_COLOR_NOISE = 2.0
_TRUST_POWER = 4
# Cubic convolution with OpenCV's parameter, which sharpens what the averaging into a small map has softened.
_SHARPNESS = -0.75

_OFFSETS = {
    ChromaLocation.UNSPECIFIED: (0.5, 0.0),
    ChromaLocation.LEFT: (0.5, 0.0),
    ChromaLocation.CENTER: (0.5, 0.5),
    ChromaLocation.TOPLEFT: (0.0, 0.0),
    ChromaLocation.TOP: (0.0, 0.5),
    ChromaLocation.BOTTOMLEFT: (1.0, 0.0),
    ChromaLocation.BOTTOM: (1.0, 0.5),
}

Taps = tuple[tuple[NDArray[np.intp], Float32], ...]
"""Per tap: which sample each of n new samples takes, (n,), and with what weight, (n, 1)."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the samples of a plane lie along one side of the picture: number, first and distance, the side being 1."""

    count: int
    first: float
    step: float

    @classmethod
    def even(cls, count: int) -> Axis:
        """Samples in the middle of equal shares of the side, as luma samples and working pictures have them."""
        return cls(count, 0.5 / count, 1 / count)

    @property
    def positions(self) -> NDArray[np.float64]:
        return np.asarray(self.first + self.step * np.arange(self.count), np.float64)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the samples of a plane lie in the picture."""

    rows: Axis
    columns: Axis

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.count, self.columns.count

    @classmethod
    def even(cls, shape: tuple[int, int]) -> Grid:
        """Luma samples, or chroma samples that are not subsampled."""
        return cls(Axis.even(shape[0]), Axis.even(shape[1]))

    @classmethod
    def of_chroma(cls, shape: tuple[int, int], luma: tuple[int, int], location: ChromaLocation) -> Grid:
        """Samples of a chroma plane of ``shape`` in a picture with a luma plane of shape ``luma``.

        Raises ValueError when a side is neither that of luma nor half of it, rounded up.
        """
        axes = []
        for count, luma_count, offset in zip(shape, luma, chroma_offsets(location), strict=True):
            if count == luma_count:
                axes.append(Axis.even(count))
            elif count == (luma_count + 1) // 2:
                axes.append(Axis(count, (0.5 + offset) / luma_count, 2 / luma_count))
            else:
                raise ValueError(f"a chroma plane of {shape} does not go with a luma plane of {luma}")
        return cls(*axes)


def chroma_offsets(location: ChromaLocation) -> tuple[float, float]:
    """(down, right): luma samples from the first luma sample of a pair to their chroma sample (H.273 section 8.7)."""
    return _OFFSETS[location]


def enlarge(ab: Float32, guide: Float32, grid: Grid | None = None) -> Float32:
    """ab (2, H, W) float32 at the places of ``guide``, within the range of the samples of ``ab`` around.

    ab: (2, h, w) float32, its samples in the middle of equal shares of the picture; usually h < H, but need not be.
    guide: (H, W) float32, Y' with 0 black and 1 white (or L* / 100).
    grid: where the samples of ``guide`` lie; without it in the middle of equal shares.
    A constant ab stays exactly what it is.
    """
    grid = grid or Grid.even((guide.shape[0], guide.shape[1]))
    assert guide.shape == grid.shape, (guide.shape, grid.shape)
    h, w = ab.shape[1:]
    offset = ab[:, h // 2, w // 2, None, None]
    ab = ab - offset
    small = _along_columns(_along_rows(guide, _areas(grid.rows, h)), _areas(grid.columns, w))
    smooth = partial(_enlarged, rows=_cubic(grid.rows, h), columns=_cubic(grid.columns, w))
    straight = partial(_enlarged, rows=_linear(grid.rows, h), columns=_linear(grid.columns, w))
    detail = guide - smooth(small)
    window = np.ones((3, 3), np.uint8)
    enlarged = np.empty((2, *guide.shape), np.float32)
    # Plane by plane: what is worked on stays in the processor's cache.
    for made, plane, slope in zip(enlarged, ab, _slopes(ab, small), strict=True):
        np.multiply(straight(slope), detail, out=made)
        made += smooth(plane)
        lowest, highest = (np.asarray(morph(plane, window), np.float32) for morph in (cv2.erode, cv2.dilate))
        np.clip(made, straight(lowest), straight(highest), out=made)
    enlarged += offset
    return enlarged


def _slopes(ab: Float32, luma: Float32) -> list[Float32]:
    """Change of a* and b* (h, w) per unit of luma around each sample, shrunk where they do not change together."""
    mean = _mean(luma)
    variance = np.maximum(_mean(luma * luma) - mean * mean, 0)
    covariance, spread = [], np.full_like(luma, _COLOR_NOISE)
    for plane in ab:
        middle = _mean(plane)
        covariance.append(_mean(luma * plane) - mean * middle)
        spread += np.maximum(_mean(plane * plane) - middle * middle, 0)
    followed = covariance[0] ** 2 + covariance[1] ** 2
    determination = np.minimum(followed / (spread * np.maximum(variance, 1e-8)), 1)
    trust = determination**_TRUST_POWER / (variance + _LUMA_NOISE)
    return [_mean(c * trust) for c in covariance]


def _mean(plane: Float32) -> Float32:
    return np.asarray(cv2.blur(plane, (3, 3), borderType=cv2.BORDER_REPLICATE), np.float32)


def _enlarged(plane: Float32, *, rows: Taps, columns: Taps) -> Float32:
    return _along_rows(_along_columns(plane, columns), rows)


def _along_columns(plane: Float32, taps: Taps) -> Float32:
    turned = _along_rows(np.asarray(cv2.transpose(plane), np.float32), taps)
    return np.asarray(cv2.transpose(turned), np.float32)


def _along_rows(plane: Float32, taps: Taps) -> Float32:
    """Weighted sums of rows of (h, w). Not a matrix product: the last bit of a BLAS depends on its threads."""
    (index, weight), *more = taps
    total: Float32 = np.take(plane, index, axis=0)
    total *= weight
    share = np.empty_like(total)
    for index, weight in more:
        np.take(plane, index, axis=0, out=share, mode="clip")
        share *= weight
        total += share
    return total


@lru_cache(maxsize=64)
def _cubic(axis: Axis, count: int) -> Taps:
    """Cubic convolution (Keys 1981) from ``count`` even samples to those of ``axis``.

    Where ``axis`` is the coarser one, the kernel widens so that nothing is skipped.
    """
    wide = max(1.0, count * axis.step)
    reach = int(np.ceil(2 * wide))
    at = axis.positions * count - 0.5
    index = np.floor(at) + np.arange(1 - reach, reach + 1)[:, None]
    t, s = np.abs(at - index) / wide, _SHARPNESS
    inner, outer = ((s + 2) * t - (s + 3)) * t * t + 1, s * (((t - 5) * t + 8) * t - 4)
    return _taps(index, np.where(t <= 1, inner, np.where(t < 2, outer, 0)), count)


@lru_cache(maxsize=64)
def _linear(axis: Axis, count: int) -> Taps:
    """Linear interpolation from ``count`` even samples to those of ``axis``."""
    at = axis.positions * count - 0.5
    index = np.floor(at) + np.arange(2)[:, None]
    return _taps(index, 1 - np.abs(at - index), count)


@lru_cache(maxsize=64)
def _areas(axis: Axis, count: int) -> Taps:
    """Means of the samples of ``axis`` within each of ``count`` even samples, by the share that lies within."""
    edges = np.arange(count + 1) / count
    first = np.floor((edges[:-1] - axis.first) / axis.step)
    index = first + np.arange(int(np.ceil(1 / (count * axis.step))) + 2)[:, None]
    low = axis.first + (index - 0.5) * axis.step
    overlap = np.minimum(edges[1:], low + axis.step) - np.maximum(edges[:-1], low)
    return _taps(index, np.maximum(overlap, 0), axis.count)


def _taps(index: NDArray[Any], weight: NDArray[Any], count: int) -> Taps:
    """Taps of (k, n) indices, those beyond the ``count`` samples repeating the border, and their weights."""
    index = np.clip(index, 0, count - 1)
    weight = weight / weight.sum(0)
    return tuple((i.astype(np.intp), w[:, None].astype(np.float32)) for i, w in zip(index, weight, strict=True))
