"""The one documented matrix between R'G'B' pictures and Y'CbCr.

Non-constant luminance Y'CbCr of ITU-T H.273 (2021), equations 37 to 41, with KR and KB of the code point (BT.709
for films that arrive as R'G'B'), quantized by equations 23 to 28 (limited range) or 29 to 31 (full range).
R'G'B' is always full range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamcolor.color.standards import ColorSpace, Matrix, Range, luma_coefficients
from streamcolor.frame import ColorTags

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8] | NDArray[np.uint16]
    Floats = NDArray[np.floating[Any]]

_CLIPPED_CODES = 0.9

RGB_TAGS = ColorTags(matrix=int(Matrix.BT709), range=int(Range.FULL))


def rgb_to_ycbcr(rgb: Plane, depth: int) -> tuple[Plane, Plane, Plane]:
    """Full range Y'CbCr of a picture, BT.709.

    rgb: (H, W, 3) uint8 or uint16 code values at ``depth``. Returns three (H, W) planes at ``depth``.
    """
    top = (1 << depth) - 1
    kr, kb = luma_coefficients(Matrix.BT709)
    red, green, blue = (rgb[..., i].astype(np.float32) for i in range(3))
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    half = 1 << (depth - 1)
    cb = (blue - luma) / (2 * (1 - kb)) + half
    cr = (red - luma) / (2 * (1 - kr)) + half
    return _quantize(luma, top, depth), _quantize(cb, top, depth), _quantize(cr, top, depth)


def rgb_to_luma(red: Plane, green: Plane, blue: Plane, depth: int) -> Plane:
    """Luma of ``rgb_to_ycbcr`` alone; four planes (H, W) of code values at ``depth``."""
    kr, kb = luma_coefficients(Matrix.BT709)
    luma = kr * red.astype(np.float32) + (1 - kr - kb) * green.astype(np.float32) + kb * blue.astype(np.float32)
    return _quantize(luma, (1 << depth) - 1, depth)


def ycbcr_to_rgb(
    luma: Plane, cb: Plane, cr: Plane, depth: int, tags: ColorTags = RGB_TAGS, out_depth: int | None = None
) -> Plane:
    """R'G'B' picture of three (H, W) planes at ``depth``; (H, W, 3) at ``out_depth`` (default: the same).

    A color outside the R'G'B' cube is clipped where that changes Y' by less than a code value (the rounding of a
    color that was inside); else it moves toward gray at the same Y' until it is inside. So the luma of the picture
    stays within one code value, at the lower of the two depths, of the (full range) luma that was given.
    Raises InputError for a matrix that is not a non-constant luminance one.
    """
    space = ColorSpace.of(tags, luma.shape[0])
    kr, kb = luma_coefficients(space.matrix)
    y, pb, pr = _normalize(luma, cb, cr, depth, full=space.range is Range.FULL)
    red = 2 * (1 - kr) * pr
    blue = 2 * (1 - kb) * pb
    green = -(kr * red + kb * blue) / (1 - kr - kb)
    offsets = np.stack((red, green, blue), axis=-1)
    room = np.where(offsets > 0, 1 - y[..., None], y[..., None])
    size = np.abs(offsets)
    bits = out_depth or depth
    outside = np.sign(offsets) * np.maximum(size - room, 0)
    change = np.abs(outside @ np.array([kr, 1 - kr - kb, kb], np.float32))
    # Rounding the channels costs half a code value, rounding Y' again another: less than one is left for clipping.
    clipped = change <= _CLIPPED_CODES / ((1 << min(depth, bits)) - 1)
    scale = np.divide(room, size, out=np.ones_like(size), where=size > room).min(axis=-1)
    scale = np.where(clipped, 1, scale)[..., None]
    top = (1 << bits) - 1
    return _quantize((y[..., None] + offsets * scale) * top, top, bits)


def _normalize(luma: Plane, cb: Plane, cr: Plane, depth: int, *, full: bool) -> tuple[Floats, Floats, Floats]:
    """E'Y in [0, 1], E'PB and E'PR in [-0.5, 0.5]; luma outside the nominal range is clipped."""
    step = 1 << (depth - 8)
    black, luma_span, chroma_span = (
        (0, (1 << depth) - 1, (1 << depth) - 1) if full else (16 * step, 219 * step, 224 * step)
    )
    half = 1 << (depth - 1)
    y: Floats = np.clip((luma.astype(np.float32) - black) / luma_span, 0, 1)
    return y, (cb.astype(np.float32) - half) / chroma_span, (cr.astype(np.float32) - half) / chroma_span


def _quantize(values: Floats, top: int, depth: int) -> Plane:
    rounded = np.clip(np.rint(values), 0, top)
    return rounded.astype(np.uint8) if depth == 8 else rounded.astype(np.uint16)
