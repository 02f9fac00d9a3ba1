"""Field order and sample aspect of single pictures, which PyAV reads and sets only through filters."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error
from av.filter import Graph

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from streamcolor.media.info import FilmInfo


class FieldReader:
    """Tells which field of a picture comes first; progressive pictures cost nothing."""

    def __init__(self, stream: VideoStream) -> None:
        self._time_base = stream.time_base or Fraction(1)
        # By width, height and pixel format.
        self._graphs: dict[tuple[int, int, str], Graph] = {}

    def read(self, picture: av.VideoFrame) -> tuple[bool, bool]:
        """(interlaced, top field first) of a decoded picture, which stays as it is."""
        if not picture.interlaced_frame:
            return False, False
        form = (picture.width, picture.height, picture.format.name)
        if form not in self._graphs:
            self._graphs[form] = self._graph(picture)
        self._graphs[form].push(picture)
        try:
            self._graphs[form].pull()
        except av.error.BlockingIOError:
            return True, False
        return True, True

    def _graph(self, picture: av.VideoFrame) -> Graph:
        """Lets pictures pass whose top field comes first."""
        graph = Graph()
        source = graph.add_buffer(
            width=picture.width, height=picture.height, format=picture.format, time_base=self._time_base
        )
        chosen = graph.add("select", "eq(interlace_type,TOPFIRST)")
        graph.link_nodes(source, chosen, graph.add("buffersink")).configure()
        return graph


class Marker:
    """Marks pictures of one film and pixel format as encoders want them."""

    def __init__(self, info: FilmInfo, pixel_format: str) -> None:
        self._info = info
        self._pixel_format = pixel_format
        # By interlaced and top field first.
        self._graphs: dict[tuple[bool, bool], Graph] = {}

    def mark(self, picture: av.VideoFrame, interlaced: bool, top_field_first: bool) -> av.VideoFrame:
        """The picture with the film's sample aspect and these fields; itself where there is nothing to mark."""
        if not (self._info.interlaced or is_anamorphic(self._info)):
            return picture
        fields = (interlaced, top_field_first)
        if fields not in self._graphs:
            self._graphs[fields] = self._graph(*fields)
        self._graphs[fields].push(picture)
        marked: av.VideoFrame = self._graphs[fields].pull()  # type: ignore[assignment]
        return marked

    def _graph(self, interlaced: bool, top_field_first: bool) -> Graph:
        info = self._info
        graph = Graph()
        form = av.VideoFormat(self._pixel_format, info.width, info.height)
        nodes = [graph.add_buffer(width=info.width, height=info.height, format=form, time_base=info.time_base)]
        aspect = info.sample_aspect or Fraction(1)
        nodes.append(graph.add("setsar", f"sar={aspect.numerator}/{aspect.denominator}:max=65535"))
        if interlaced:
            nodes.append(graph.add("setfield", "mode=tff" if top_field_first else "mode=bff"))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph


def is_anamorphic(info: FilmInfo) -> bool:
    """True for samples that are not square."""
    return info.sample_aspect is not None and info.sample_aspect != 1
