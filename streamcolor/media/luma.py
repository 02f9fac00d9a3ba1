"""The luma plane of a decoded picture, at its own depth, without a change of value.

Planar and semi-planar Y'CbCr and gray are views of libav's memory; samples aligned to the upper bits (p010 and
its kin) are shifted down; common packed and all big-endian planar ones are picked apart here; rarer packed ones are
repacked by libswscale to the planar format of equal depth and subsampling, which keeps every sample; R'G'B' and
palettes go through the matrix of ``streamcolor.media.rgb``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import av
import numpy as np

from streamcolor.errors import InputError
from streamcolor.media.rgb import rgb_to_luma

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamcolor.frame import Luma

    Plane = NDArray[np.uint8] | NDArray[np.uint16]

_UPPER_ALIGNED = ("p010", "p012", "p210", "p212", "p410", "p412")
# Where the luma samples lie in a packed row: first one, step, and bits below each sample.
_PACKED = {
    "yuyv422": (0, 2, 0),
    "yvyu422": (0, 2, 0),
    "uyvy422": (1, 2, 0),
    "ya8": (0, 2, 0),
    "ya16": (0, 2, 0),
    "y210": (0, 2, 6),
    "y212": (0, 2, 4),
    "y216": (0, 2, 0),
    "ayuv64": (1, 4, 0),
}
_DEPTHS = (8, 9, 10, 12, 14, 16)


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How to get at the luma of a pixel format.

    depth: bits of a luma sample. subsampling: 400, 420, 422 or 444. rgb: goes through the matrix.
    full: the format's name says full range. shift: bits below the sample.
    repack: format to which libswscale converts a picture first, or None.
    first, step: where the luma samples lie in a row. big_endian: byte order of the samples.
    """

    depth: int
    subsampling: str
    rgb: bool
    full: bool
    shift: int
    repack: str | None
    first: int = 0
    step: int = 1
    big_endian: bool = False


@lru_cache(maxsize=64)
def pixel_layout(name: str) -> PixelLayout:
    """Layout of one of FFmpeg's pixel formats. Raises InputError for floating point, Bayer and X'Y'Z'."""
    form = av.VideoFormat(name, 64, 64)
    depth = max((component.bits for component in form.components), default=0)
    if form.is_bit_stream and not form.is_rgb:  # monow and monob: one bit, black and white
        return PixelLayout(8, "400", rgb=False, full=True, shift=0, repack="gray")
    if (
        any(part in name for part in ("f16", "f32", "xyz", "bayer"))
        or depth == 0
        or (depth > 8 and depth not in _DEPTHS)
    ):
        raise InputError(f"pixel format {name} is not offered; convert the film to 8 to 16 bit Y'CbCr, gray or R'G'B'")
    depth = max(depth, 8)
    if form.is_rgb or form.has_palette:
        # PNG, DPX and TIFF hold 10 to 16 bits; gbrp is the only R'G'B' layout with every one of those depths.
        return PixelLayout(depth, "444", rgb=True, full=True, shift=0, repack=_planar("gbrp", depth))
    subsampling = _subsampling(form)
    shift = 16 - depth if name.startswith(_UPPER_ALIGNED) or "msb" in name else 0
    planar = {c.plane for c in form.components if not c.is_luma}.isdisjoint({form.components[0].plane})
    packed = name.removesuffix("le").removesuffix("be")
    repack, first, step = None, 0, 1
    if packed in _PACKED:
        first, step, shift = _PACKED[packed]
    elif not (planar or len(form.components) == 1):
        repack = _planar("gray" if subsampling == "400" else f"yuv{subsampling}p", depth)
        shift = 0
    swapped = form.is_big_endian and repack is None
    return PixelLayout(depth, subsampling, False, name.startswith("yuvj"), shift, repack, first, step, swapped)


def _subsampling(form: av.VideoFormat) -> str:
    """Chroma of a 64 x 64 format: 4:1:1 and 4:4:0 read as the next finer of the three that writers offer."""
    if len(form.components) < 3:  # gray, or gray and alpha
        return "400"
    chroma = form.components[1]
    if chroma.width == 64:
        return "444"
    return "422" if chroma.height == 64 else "420"


def _planar(family: str, depth: int) -> str:
    return family if depth == 8 else f"{family}{depth}le"


def frame_luma(frame: av.VideoFrame) -> Luma:
    """(H, W) code values of a decoded picture, not writeable; keeps the picture's memory alive.

    Raises InputError when the pixel format is not offered.
    """
    layout = pixel_layout(frame.format.name)
    if layout.repack is not None:
        # Both ranges are named alike so that libswscale repacks and does not scale gray or yuvj.
        # One thread: with more, libswscale now and then leaves a few samples at the start of a slice unconverted.
        frame = frame.reformat(format=layout.repack, src_color_range="JPEG", dst_color_range="JPEG", threads=1)
    if layout.rgb:
        # Planes of gbrp come in the order G', B', R'.
        red, green, blue = (plane_view(frame, index, layout.depth) for index in (2, 0, 1))
        luma: Luma = rgb_to_luma(red, green, blue, layout.depth)
    else:
        luma = _rows(frame, 0, layout.depth)[:, layout.first :: layout.step][:, : frame.width]
        if layout.big_endian:
            luma = luma.byteswap()
        if layout.shift:
            luma = np.right_shift(luma, layout.shift, dtype=np.uint16)
        # Columns lie side by side, as Frame promises; a view where they already do.
        if luma.strides[1] != luma.itemsize:
            luma = luma.copy()
    luma.flags.writeable = False
    return luma


def plane_view(frame: av.VideoFrame, index: int, depth: int) -> Plane:
    """View of one plane of single samples, (h, w) uint8 at depth 8, else uint16."""
    return _rows(frame, index, depth)[:, : frame.planes[index].width]


def _rows(frame: av.VideoFrame, index: int, depth: int) -> Plane:
    """Every sample of a plane's rows, with those of packed formats and the padding."""
    plane = frame.planes[index]
    data = memoryview(plane)
    samples: Plane = np.frombuffer(data, np.uint8) if depth == 8 else np.frombuffer(data, np.uint16)
    rows = samples.reshape(plane.height, abs(plane.line_size) // samples.itemsize)
    return rows[::-1] if plane.line_size < 0 else rows
