"""What a film is, from its container, its codec and its first picture."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import av.logging

from streamcolor.frame import ColorTags
from streamcolor.media.info import FilmInfo
from streamcolor.media.luma import pixel_layout
from streamcolor.media.pyav import field_order
from streamcolor.media.rgb import RGB_TAGS

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_UNSPECIFIED = 2
_DEFAULT_RATE = Fraction(25)
# AVFieldOrder: FFmpeg itself writes "top coded first" (TB) for interleaved frames whose top field comes first.
_TOP_FIRST = (2, 4)
_BOTTOM_FIRST = (3, 5)
# H.264 and H.265 infer limited range when the flag is absent (video_full_range_flag, E.2.1).
_RANGE_IN_STANDARD = ("h264", "hevc")
_CHROMA_LOCATIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")
_LIBAV_DEFAULT_LEVEL = av.logging.INFO


def average_rate(stream: VideoStream) -> Fraction:
    """Average frames per second; 25 when the container gives no hint."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate:
            return Fraction(rate)
    return _DEFAULT_RATE


def film_info(
    name: str,
    container: InputContainer,
    stream: VideoStream,
    frame: VideoFrame,
    fields: tuple[bool, bool],
    chroma_location: int,
) -> FilmInfo:
    """Describe a film by its first decoded picture. Raises InputError when the pixel format is not offered.

    fields: whether that picture is interlaced, and its top field first. What it says goes before the stream's order.
    """
    layout = pixel_layout(frame.format.name)
    matrix = _display_matrix(frame)
    order = field_order(stream)
    interlaced, top_field_first = fields
    rate = average_rate(stream)
    duration = _duration(container, stream)
    estimate = None if duration is None else round(duration * rate)
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return FilmInfo(
        name=name,
        width=frame.width,
        height=frame.height,
        depth=layout.depth,
        subsampling=layout.subsampling,
        rgb=layout.rgb,
        rate=rate,
        time_base=stream.time_base or 1 / rate,
        frames=stream.frames or estimate,
        duration=None if duration is None else float(duration),
        sample_aspect=Fraction(aspect) if aspect else None,
        tags=frame_tags(frame, stream),
        chroma_location=chroma_location,
        rotation=frame.rotation,
        interlaced=interlaced or order in (*_TOP_FIRST, *_BOTTOM_FIRST),
        top_field_first=top_field_first if interlaced else order in _TOP_FIRST,
        pixel_format=frame.format.name,
        codec=stream.codec_context.name,
        display_matrix=matrix,
    )


def frame_tags(frame: VideoFrame, stream: VideoStream) -> ColorTags:
    """Color tags of a picture; what it leaves open is taken from the stream.

    R'G'B' carries the tags of the luma that is made of it. Gray without a range is full range, as FFmpeg
    treats it, unless the codec's standard infers limited range.
    """
    layout = pixel_layout(frame.format.name)
    context = stream.codec_context

    def known(own: int, streams: int) -> int:
        return int(own) if own != _UNSPECIFIED else int(streams)

    primaries = known(frame.color_primaries, context.color_primaries)
    transfer = known(frame.color_trc, context.color_trc)
    if layout.rgb:
        return ColorTags(RGB_TAGS.matrix, primaries, transfer, RGB_TAGS.range)
    span = int(frame.color_range or context.color_range)
    if layout.full or (span == 0 and layout.subsampling == "400" and context.name not in _RANGE_IN_STANDARD):
        span = RGB_TAGS.range
    return ColorTags(known(frame.colorspace, context.colorspace), primaries, transfer, span)


def chroma_location(container: InputContainer, stream: VideoStream) -> int:
    """FFmpeg's AVChromaLocation of a stream, 0 when unspecified.

    PyAV has no field for it; libavformat's own description of the file names it, at its verbose level only.
    """
    level = av.logging.get_level()
    try:
        av.logging.set_level(av.logging.VERBOSE)
        av.logging.set_libav_level(av.logging.VERBOSE)
        text: str = container.dumps_format()  # type: ignore[attr-defined]
    finally:
        av.logging.set_libav_level(_LIBAV_DEFAULT_LEVEL)
        av.logging.set_level(level)
    line = re.search(rf"^\s*Stream #\d+:{stream.index}\b.*$", text, re.MULTILINE)
    if line is None:
        return 0
    for word in re.findall(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)", line.group()):
        last = word.rsplit(", ", 1)[-1]
        if last in _CHROMA_LOCATIONS:
            return _CHROMA_LOCATIONS.index(last) + 1
    return 0


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration is not None and stream.time_base:
        return stream.duration * stream.time_base
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    return None


def _display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else struct.unpack("=9i", bytes(data)[:36])
