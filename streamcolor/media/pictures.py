"""Whole pictures: a frame together with the chroma it came with, and frames made into pictures for libav."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from streamcolor.frame import Frame
from streamcolor.media.luma import pixel_layout, plane_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8] | NDArray[np.uint16]

# AVColorSpace of FFmpeg for the one matrix that R'G'B' passes through (streamcolor.media.rgb).
_BT709 = 1


@dataclass(frozen=True, slots=True)
class PicturedFrame(Frame):
    """A frame that keeps its decoded picture, for whoever wants the chroma too; None where there was none."""

    picture: av.VideoFrame | None = None


def pictured(frame: Frame, picture: av.VideoFrame) -> PicturedFrame:
    """The frame with the picture that it was made of."""
    values: dict[str, Any] = {field.name: getattr(frame, field.name) for field in fields(Frame)}
    return PicturedFrame(**values, picture=picture)


def planar(subsampling: str, depth: int) -> str:
    """FFmpeg's name of a planar Y'CbCr format; gray becomes 4:2:0."""
    chroma = "420" if subsampling == "400" else subsampling
    return f"yuv{chroma}p" + ("" if depth == 8 else f"{depth}le")


def chroma_shape(height: int, width: int, subsampling: str) -> tuple[int, int]:
    """(h, w) of a chroma plane; an odd edge has a sample of its own."""
    return -(-height // 2) if subsampling == "420" else height, width if subsampling == "444" else -(-width // 2)


def at_depth(plane: Plane, depth: int, target: int) -> Plane:
    """A plane at another depth: shifted left exactly, or rounded to the nearest when bits are dropped."""
    if depth == target:
        return plane
    if depth < target:
        return np.left_shift(plane, target - depth, dtype=np.uint16)
    shift = depth - target
    wide = plane.astype(np.uint32) + np.uint32(1 << shift - 1)
    rounded = np.minimum(np.right_shift(wide, shift), (1 << target) - 1)
    values: Plane = rounded.astype(np.uint8 if target == 8 else np.uint16)
    return values


def own_chroma(frame: Frame, shape: tuple[int, int], depth: int) -> tuple[Plane, Plane]:
    """Cb and Cr that a frame came with, as planes of ``shape`` (see ``chroma_shape``) and ``depth`` bits.

    Views of the decoded picture where it has that layout; neutral for gray and for a frame without a picture. Other
    layouts are converted by libswscale.
    """
    picture = frame.picture if isinstance(frame, PicturedFrame) else None
    layout = None if picture is None else pixel_layout(picture.format.name)
    if picture is None or layout is None or layout.subsampling == "400":
        neutral: Plane = np.full(shape, 1 << depth - 1, np.uint8 if depth == 8 else np.uint16)
        return neutral, neutral
    rows, columns = shape
    subsampling = "420" if rows != frame.height else "422" if columns != frame.width else "444"
    wanted = planar(subsampling, layout.depth)
    if picture.format.name.replace("yuvj", "yuv") != wanted:
        # Equal ranges on both sides: the code values stay what they are. One thread: see ``frame_luma``.
        matrix = {"dst_colorspace": _BT709} if layout.rgb else {}
        picture = picture.reformat(format=wanted, src_color_range="JPEG", dst_color_range="JPEG", threads=1, **matrix)
    cb, cr = (at_depth(plane_view(picture, index, layout.depth), layout.depth, depth) for index in (1, 2))
    return cb, cr


def picture_of(frame: Frame, chroma: tuple[Plane, Plane], pixel_format: str) -> av.VideoFrame:
    """A picture of a planar Y'CbCr format of the frame's depth, timed and tagged as it; the planes are copied."""
    picture = av.VideoFrame(frame.width, frame.height, pixel_format)
    for index, values in enumerate((frame.luma, *chroma)):
        np.copyto(plane_view(picture, index, frame.depth), values, casting="same_kind")
    picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
    tags = frame.tags
    picture.colorspace, picture.color_primaries = tags.matrix, tags.primaries
    picture.color_trc, picture.color_range = tags.transfer, tags.range
    return picture


def whole_picture(frame: Frame) -> av.VideoFrame:
    """The decoded picture of a frame, timed as the frame; its luma with neutral chroma where there is none."""
    picture = frame.picture if isinstance(frame, PicturedFrame) else None
    if picture is None:
        chroma = own_chroma(frame, chroma_shape(frame.height, frame.width, "420"), frame.depth)
        return picture_of(frame, chroma, planar("420", frame.depth))
    picture.pts, picture.time_base, picture.duration = frame.pts, frame.time_base, frame.duration
    return picture
