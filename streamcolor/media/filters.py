"""FFmpeg's own filters on decoded pictures: a chain of them between the film and the color, or behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
import av.filter
import av.logging
from av.filter import Graph

from streamcolor.errors import CallError, InputError
from streamcolor.frame import ColorTags, Frame
from streamcolor.media.info import FilmInfo
from streamcolor.media.lavfi import FilterCall
from streamcolor.media.luma import frame_luma, pixel_layout
from streamcolor.media.pictures import PicturedFrame, pictured
from streamcolor.media.rgb import RGB_TAGS

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_UNSPECIFIED = 2
_LARGEST_ASPECT = 65535
# Pictures that are sent through a chain to see what comes out: some filters wait for a few before they answer.
_TRIAL_PICTURES = 4


class FilterChain:
    """Filters in a row; pictures go in and come out in the order in which they are shown.

    film: what goes in; its sample aspect, rate and tags are told to the filters. first: a picture as they will come.
    extra: calls of ours behind those of the user.
    Raises CallError for a filter that does not exist, or that refuses its options or the pictures.
    """

    def __init__(
        self, calls: Sequence[FilterCall], film: FilmInfo, first: VideoFrame, *, extra: Sequence[FilterCall] = ()
    ) -> None:
        self._names = ",".join(call.name for call in calls)
        self._graph = Graph()
        # With more threads, libswscale now and then leaves a few samples at the start of a slice unconverted.
        self._graph.threads = 1
        nodes = [self._graph.add("buffer", _source_options(film, first))]
        aspect = film.sample_aspect
        if aspect:
            marked = f"sar={aspect.numerator}/{aspect.denominator}:max={_LARGEST_ASPECT}"
            nodes.append(self._graph.add("setsar", marked))
        for call in (*calls, *extra):
            if call.name not in av.filter.filters_available:
                raise CallError(f"this FFmpeg has no filter {call.name!r}; see: ffmpeg -filters")
            try:
                nodes.append(self._graph.add(call.name, call.arguments))
            except (av.error.FFmpegError, ValueError) as error:
                raise CallError(f"the filter {call.name} refuses its options {call.arguments!r}") from error
        nodes.append(self._graph.add("buffersink"))
        try:
            self._graph.link_nodes(*nodes).configure()
        except (av.error.FFmpegError, ValueError) as error:
            raise CallError(
                f"the filters {self._names} do not take {film.width}x{film.height} {first.format.name} one after the "
                "other; each must have one input and one output of pictures"
            ) from error

    def push(self, picture: VideoFrame | None) -> Iterator[VideoFrame]:
        """Pictures that are ready with this one; with None, those that are left at the end. Raises InputError."""
        try:
            self._graph.push(picture)
        except av.error.FFmpegError as error:
            raise InputError(f"the filters {self._names} fail at a picture of the film: {error.strerror}") from error
        while True:
            try:
                made = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            except av.error.FFmpegError as error:
                raise InputError(f"the filters {self._names} fail: {error.strerror}") from error
            yield made  # type: ignore[misc]


def filtered_frame(picture: VideoFrame, index: int, film: FilmInfo) -> PicturedFrame:
    """The frame of a picture that filters made. film: what they make, see ``filtered_film``."""
    layout = pixel_layout(picture.format.name)
    frame = Frame(
        frame_luma(picture),
        layout.depth,
        index,
        picture.pts or 0,
        picture.time_base or film.time_base,
        picture.duration or 0,
        _tags(picture, film.tags),
        picture.interlaced_frame,
        picture.interlaced_frame and film.top_field_first,
    )
    return pictured(frame, picture)


def filtered_film(calls: Sequence[FilterCall], film: FilmInfo, first: VideoFrame) -> tuple[FilmInfo, VideoFrame]:
    """What filters make of a film, and a picture as they make it.

    A few copies of ``first`` (a picture with pts) are sent through. Raises CallError as ``FilterChain`` does, and when
    nothing comes out.
    """
    step = max(round(1 / (film.rate * film.time_base)), 1)
    made: list[VideoFrame] = []
    level = av.logging.get_level()
    with av.logging.Capture() as told:
        av.logging.set_level(av.logging.INFO)
        try:
            chain = FilterChain(calls, film, first, extra=(FilterCall("showinfo", "checksum=0"),))
            start = first.pts or 0
            for number in range(_TRIAL_PICTURES):
                first.pts = start + number * step
                made += chain.push(first)
            first.pts = start
            made += chain.push(None)
        finally:
            av.logging.set_level(level)
    if not made:
        names = ",".join(call.name for call in calls)
        raise CallError(f"the filters {names} let none of the first {_TRIAL_PICTURES} frames through; leave them out")
    return _told(film, made[0], "".join(text for _, name, text in told if name == "showinfo")), made[0]


def _told(film: FilmInfo, picture: VideoFrame, text: str) -> FilmInfo:
    """``film`` as the picture and the words of FFmpeg's filter ``showinfo`` have it."""
    layout = pixel_layout(picture.format.name)
    rate = _ratio(text, r"config in time_base: \S+, frame_rate: (\d+)/(\d+)") or film.rate
    fields = re.search(r" i:([PTB]) ", text)
    return replace(
        film,
        width=picture.width,
        height=picture.height,
        depth=layout.depth,
        subsampling=layout.subsampling,
        rgb=layout.rgb,
        rate=rate,
        time_base=Fraction(picture.time_base or film.time_base),
        frames=None if film.frames is None else round(film.frames * rate / film.rate),
        sample_aspect=_ratio(text, r" sar:(\d+)/(\d+)"),
        tags=_tags(picture, film.tags),
        interlaced=picture.interlaced_frame,
        top_field_first=fields is not None and fields[1] == "T",
        pixel_format=picture.format.name,
    )


def _ratio(text: str, pattern: str) -> Fraction | None:
    found = re.search(pattern, text)
    if found is None or not int(found[1]) or not int(found[2]):
        return None
    return Fraction(int(found[1]), int(found[2]))


def _tags(picture: VideoFrame, before: ColorTags) -> ColorTags:
    """Color tags of a filtered picture; some filters drop those of the film."""

    def known(own: int, otherwise: int) -> int:
        return int(own) if own != _UNSPECIFIED else otherwise

    primaries = known(picture.color_primaries, before.primaries)
    transfer = known(picture.color_trc, before.transfer)
    if pixel_layout(picture.format.name).rgb:
        return ColorTags(RGB_TAGS.matrix, primaries, transfer, RGB_TAGS.range)
    span = int(picture.color_range) or before.range
    return ColorTags(known(picture.colorspace, before.matrix), primaries, transfer, span)


def _source_options(film: FilmInfo, first: VideoFrame) -> str:
    aspect = film.sample_aspect or Fraction(0, 1)
    options = {
        "video_size": f"{first.width}x{first.height}",
        "pix_fmt": first.format.name,
        "time_base": str(Fraction(first.time_base or film.time_base)),
        "pixel_aspect": f"{aspect.numerator}/{aspect.denominator}",
        "frame_rate": str(film.rate),
        "colorspace": str(int(first.colorspace)),
        "range": str(int(first.color_range)),
    }
    return ":".join(f"{key}={value}" for key, value in options.items())
