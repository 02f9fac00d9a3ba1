"""Between what a film stores and what a colorizer sees: Y' and L*, a* b* and Cb Cr.

CIELAB is that of CIE 15:2018 with a D65 white, 2 degree observer, on white-normalized XYZ, so that every grey has
a* = b* = 0 exactly.

The color that a film shows has exactly the film's luma Y' and the colorizer's a*, b*. Luma is not luminance: the L* of
that color differs from the L* of the grey with the same Y' (saturated blue by tens of units). ``lab_to_ycbcr`` finds
the L* that belongs to (Y', a*, b*), so that R'G'B' -> (Y', a*, b*) -> Y'CbCr -> R'G'B' returns where it started.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.color.standards import (
    ColorSpace,
    Floats,
    Matrix,
    Primaries,
    Range,
    Transfer,
    from_linear,
    luma_coefficients,
    rgb_to_xyz,
    to_linear,
)

Plane = NDArray[np.uint8] | NDArray[np.uint16]
Float32 = NDArray[np.float32]

SRGB = ColorSpace(Matrix.BT709, Primaries.BT709, Transfer.IEC61966_2_1, Range.FULL)

# CIE 15:2018 section 8.2.1: f(t) is linear below (6/29)**3.
_LAB_JOINT = 6 / 29
_LAB_SLOPE = 3 * _LAB_JOINT**2
_LAB_OFFSET = 4 / 29

# The table of _solutions: a* and b* from -110 to 110 (zero is a node), Y' from 0 to 1.
_AB_LIMIT = 110
_AB_NODES = 89
_LUMA_NODES = 32
_TABLE_STEPS, _EXACT_STEPS = 10, 40


def luma_to_unit(luma: Plane | Float32, depth: int, range: Range) -> Float32:
    """Y' of code values: 0.0 is black, 1.0 is white, foot- and headroom lie outside (BT.709-6 item 6.10).

    luma: any shape, uint8, uint16 or (when averaged) float32. depth: 8 to 16 bits. Returns float32 of the same shape.
    """
    scale = 2.0 ** (depth - 8)
    black, steps = (0.0, 2.0**depth - 1) if range is Range.FULL else (16 * scale, 219 * scale)
    unit = luma.astype(np.float32)
    unit -= np.float32(black)
    unit *= np.float32(1 / steps)
    return unit


def lightness(luma: Plane, depth: int, space: ColorSpace) -> Float32:
    """L* in [0, 100] (H, W) of the greys with these luma code values; reference white and all above it are 100.

    luma: (H, W) uint8 or uint16. depth: 8 to 16 bits.
    """
    return _lightness_table(depth, space).take(luma, mode="clip")


@lru_cache(maxsize=16)
def _lightness_table(depth: int, space: ColorSpace) -> Float32:
    codes = np.arange(2**depth, dtype=np.uint16)
    table = _grey_lightness(luma_to_unit(codes, depth, space.range), space)
    table.setflags(write=False)
    return table


def _grey_lightness(unit: Float32, space: ColorSpace) -> Float32:
    grey = np.broadcast_to(np.clip(unit, 0, 1), (3, *unit.shape))
    luminance = to_linear(grey, space)[1]
    return np.clip(116 * _lab_f(luminance) - 16, 0, 100).astype(np.float32)


def grey_lightness(rgb: Float32, matrix: Matrix) -> Float32:
    """L* in [0, 100] (H, W) of the grey picture with the luma of ``rgb``: what the film shows of this picture.

    A reference must be compared with a film through this lightness, not through its own L*.

    rgb: (H, W, 3) float32, R'G'B' of sRGB in [0, 1].
    """
    kr, kb = luma_coefficients(matrix)
    return _grey_lightness(np.asarray(_luma(np.moveaxis(rgb, 2, 0), kr, kb), np.float32), SRGB)


def rgb_to_lab(rgb: Float32) -> tuple[Float32, Float32]:
    """CIELAB of a picture: L* (H, W) in [0, 100] and a*, b* (2, H, W), float32.

    rgb: (H, W, 3) float32, R'G'B' of sRGB (IEC 61966-2-1) in [0, 1].
    """
    linear = to_linear(np.ascontiguousarray(np.moveaxis(rgb, 2, 0)), SRGB)
    x, y, z = _lab_f(_transformed(rgb_to_xyz(SRGB.primaries), linear))
    return 116 * y - 16, np.stack([500 * (x - y), 200 * (y - z)])


def _transformed(matrix: Floats, color: Floats) -> Floats:
    """``matrix`` (3, 3) times ``color`` (3, ...), spelled out: the last bit of a BLAS depends on its threads."""
    x, y, z = color
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix.astype(color.dtype)])


def _lab_f(t: Floats) -> Floats:
    return np.where(t > _LAB_JOINT**3, np.cbrt(t), t / _LAB_SLOPE + _LAB_OFFSET)


def _lab_f_inverse(f: Floats) -> Floats:
    return np.where(f > _LAB_JOINT, f * f * f, _LAB_SLOPE * (f - _LAB_OFFSET))


def lab_to_ycbcr(y: Floats, ab: Floats, space: ColorSpace, *, exact: bool = False) -> tuple[Floats, Floats]:
    """Cb and Cr in [-0.5, 0.5] of the colors with luma ``y`` and chromaticness ``ab`` (H.273 section 8.3).

    A color that R', G', B' in [0, 1] cannot show moves towards grey in the plane of Cb and Cr until they can; luma and
    hue in that plane stay. Luma outside [0, 1] leaves room for grey alone.

    y: (h, w) Y', 0 black to 1 white. ab: (2, h, w) CIELAB a* and b*, clipped to [-110, 110].
    exact: solve for every sample in float64 instead of interpolating the solutions; for tests and a few samples.
    Returns two arrays of the shape of ``y``.
    """
    if exact:
        y, ab = y.astype(np.float64), ab.astype(np.float64)
    a, b = np.clip(ab, -_AB_LIMIT, _AB_LIMIT)
    signal = _signal(_solve(y, a, b, space, _EXACT_STEPS) if exact else _interpolate(y, a, b, space), a, b, space)
    kr, kb = luma_coefficients(space.matrix)
    # Of the color that was found, not of the film: so an error of f, nearly the same in R', G' and B', cancels.
    luma = _luma(signal, kr, kb)
    cb = (signal[2] - luma) * (0.5 / (1 - kb))
    cr = (signal[0] - luma) * (0.5 / (1 - kr))
    return _into_gamut(y, cb, cr, kr, kb)


def _luma(signal: Floats, kr: float, kb: float) -> Floats:
    luma: Floats = kr * signal[0] + (1 - kr - kb) * signal[1] + kb * signal[2]
    return luma


def _into_gamut(y: Floats, cb: Floats, cr: Floats, kr: float, kb: float) -> tuple[Floats, Floats]:
    """(cb, cr) times the largest share, up to 1, that keeps R', G', B' in [0, 1]."""
    kg = 1 - kr - kb
    red, blue = cr * (2 * (1 - kr)), cb * (2 * (1 - kb))
    green = red * (-kr / kg) - blue * (kb / kg)
    # Differences to Y', of which kr R + kg G + kb B = 0: the highest is never negative, the lowest never positive.
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    share = np.minimum((1 - y) / np.maximum(highest, 1e-9), y / np.maximum(-lowest, 1e-9))
    share = np.clip(share, 0, 1)
    return cb * share, cr * share


def _signal(f: Floats, a: Floats, b: Floats, space: ColorSpace) -> Floats:
    """R'G'B' (3, ...) of the color with f(Y/Yn) = ``f``, a* and b*, beyond [0, 1] where it must."""
    xyz = _lab_f_inverse(np.stack([f + a * 0.002, f, f - b * 0.005]))
    return from_linear(_transformed(np.linalg.inv(rgb_to_xyz(space.primaries)), xyz), space)


def _solve(y: Floats, a: Floats, b: Floats, space: ColorSpace, steps: int) -> Floats:
    """f(Y/Yn) = (L* + 16) / 116 of the colors with luma ``y``: regula falsi (Anderson & Bjorck 1973).

    Luma grows with f throughout the gamut. Outside, where it may have several solutions, one of them is found.
    """
    kr, kb = luma_coefficients(space.matrix)

    def excess(f: Floats) -> Floats:
        return _luma(_signal(f, a, b, space), kr, kb) - y

    # At -0.5 every XYZ is negative; at 5 every color is brighter than the brightest signal of PQ.
    low, high = np.full_like(y, -0.5), np.full_like(y, 5)
    below, above = excess(low), excess(high)
    side = np.zeros(y.shape, np.int8)
    for _ in range(steps):
        f = low - below * (high - low) / np.maximum(above - below, 1e-30)
        error = excess(f)
        up = error > 0
        # An end that stays for a second time has its error scaled down, so that the next step reaches beyond the root.
        passed = np.where(up, above, below)
        ratio = 1 - error / np.where(passed == 0, 1, passed)
        ratio = np.where(ratio > 0, ratio, 0.5)
        below = np.where(up, np.where(side > 0, below * ratio, below), error)
        above = np.where(up, error, np.where(side < 0, above * ratio, above))
        low, high, side = np.where(up, low, f), np.where(up, f, high), np.where(up, 1, -1)
    return f


@lru_cache(maxsize=8)
def _solutions(space: ColorSpace) -> Float32:
    """``_solve`` at the nodes of (Y', a*, b*): one picture of (a*, b*) below the other, for cv2.remap."""
    ab = np.linspace(-_AB_LIMIT, _AB_LIMIT, _AB_NODES, dtype=np.float32)
    luma = np.linspace(0, 1, _LUMA_NODES, dtype=np.float32)
    y, a, b = np.broadcast_arrays(luma[:, None, None], ab[:, None], ab)
    table = _solve(y, a, b, space, _TABLE_STEPS).reshape(-1, _AB_NODES)
    table.setflags(write=False)
    return table


def _interpolate(y: Floats, a: Floats, b: Floats, space: ColorSpace) -> Floats:
    """``_solve`` by trilinear interpolation: within the pictures of the two nearest nodes of Y', then between them."""
    table = _solutions(space)
    per_unit = np.float32((_AB_NODES - 1) / 2 / _AB_LIMIT)
    column = b * per_unit + np.float32(_AB_NODES // 2)
    row = a * per_unit + np.float32(_AB_NODES // 2)
    position = np.clip(y, 0, 1) * np.float32(_LUMA_NODES - 1)
    node = np.minimum(np.floor(position), _LUMA_NODES - 2)
    row += node * _AB_NODES
    f, next_f = (
        cv2.remap(table, column, r, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for r in (row, row + _AB_NODES)
    )
    return np.asarray(f + (next_f - f) * (position - node))


def quantize_chroma(cb: Floats, cr: Floats, depth: int, range: Range) -> tuple[Plane, Plane]:
    """Code values of Cb and Cr in [-0.5, 0.5], rounded, clipped to the legal ones (H.273 equations 23-28).

    depth: 8 to 16 bits. Returns two planes, uint8 at depth 8, else uint16; zero gives 2**(depth - 1).
    """
    scale = 2.0 ** (depth - 8)
    steps, low, high = (
        (2.0**depth - 1, 0, 2**depth - 1) if range is Range.FULL else (224 * scale, 16 * scale, 240 * scale)
    )
    dtype = np.uint8 if depth == 8 else np.uint16

    def plane(c: Floats) -> Plane:
        code: Floats = c * np.float32(steps) + np.float32(2.0 ** (depth - 1) + 0.5)
        return np.clip(code, low, high, out=code).astype(dtype)

    return plane(cb), plane(cr)
