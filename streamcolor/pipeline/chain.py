"""What stands between decoding and encoding: steps that color, and FFmpeg's filters before, between and behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from streamcolor.film.references import ReferencePicture, ReferencePlanner
from streamcolor.film.shots import ShotFinder
from streamcolor.frame import Frame
from streamcolor.media.expressions import Expression
from streamcolor.media.filters import FilterChain, filtered_frame
from streamcolor.media.info import FilmInfo
from streamcolor.media.lavfi import FilterCall
from streamcolor.media.marking import Marker
from streamcolor.media.pictures import at_depth, own_chroma, picture_of, pictured, whole_picture
from streamcolor.media.streams import Packet
from streamcolor.pipeline.adjusted import Adjusted
from streamcolor.pipeline.averaging import REACH
from streamcolor.pipeline.node import Node
from streamcolor.pipeline.painter import Painted, Painter, Planes, ShotReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamcolor.colorizers.contract import Colorizer

    _Plane = NDArray[np.uint8] | NDArray[np.uint16]


class Coloring:
    """One step that colors: follows shots, colors, and blends with the chroma that the pictures came with.

    film: as it arrives. after: as it is handed on. colorizer: None lets pictures pass as they came.
    planes: of the chroma to make.
    """

    def __init__(
        self,
        node: Node,
        film: FilmInfo,
        after: FilmInfo,
        colorizer: Colorizer | None,
        references: Sequence[ReferencePicture],
        planes: Planes,
    ) -> None:
        self._node = node
        self._after = after
        self._planes = planes
        self._enable = None if self._node.enable is None else Expression.parse(self._node.enable)
        # Whether a frame that is on its way through the painter shall be colored, by its number.
        self._wanted: dict[int, bool] = {}
        self._marker = Marker(after, after.pixel_format)
        self._references = references
        self._planner = ReferencePlanner(references)
        self._painter: Painter | None = None
        if colorizer is not None:
            if self._node.sat != 1 or self._enable is not None:
                colorizer = Adjusted(colorizer, sat=self._node.sat, wanted=lambda frame: self._wanted.get(frame, True))
            finder = ShotFinder(lookahead=self._node.lookahead, cuts=self._node.cuts)
            # Who lets no frame wait for cuts lets none wait for its neighbors' colors.
            reach = REACH if self._node.stabilize and self._node.lookahead else 0
            self._painter = Painter(
                film, planes, colorizer, finder, self._planner, size=self._node.size, cap=self._node.cap, reach=reach
            )

    @property
    def shots(self) -> list[ShotReport]:
        return [] if self._painter is None else self._painter.shots

    def unused(self) -> list[ReferencePicture]:
        """References that no shot got so far."""
        return [] if self._painter is None else self._planner.unused()

    def beyond_the_end(self) -> Iterator[str]:
        """A sentence for each reference that is named for a frame that did not come."""
        if not self.shots:
            return
        frames = self.shots[-1].stop
        for picture in self._references:
            if picture.frame is not None and picture.frame >= frames:
                yield f"{picture.name} is named for frame {picture.frame}, but the film ends at {frames - 1}"

    def paint(self, items: Iterator[Frame | Packet]) -> Iterator[Painted | Packet]:
        """Frames in, painted frames out; packets pass by."""
        if self._painter is None:
            for item in items:
                yield item if isinstance(item, Packet) else Painted(item, partial(self._own, item), 1.0, 0)
        elif not self._node.blends:
            yield from self._painter.paint(items)
        else:
            for painted in self._painter.paint(self._asked(items)):
                yield painted if isinstance(painted, Packet) else self._blended(painted)

    def frames(self, items: Iterator[Frame | Packet]) -> Iterator[Frame | Packet]:
        """As ``paint``, for a step behind this one: frames with whole pictures."""
        for item in self.paint(items):
            if isinstance(item, Packet):
                yield item
                continue
            frame = item.frame
            luma = at_depth(frame.luma, frame.depth, self._planes.depth)
            frame = replace(frame, luma=luma, depth=self._planes.depth)
            picture = picture_of(frame, item.planes, self._after.pixel_format)
            yield pictured(frame, self._marker.mark(picture, frame.interlaced, frame.top_field_first))

    def _asked(self, items: Iterator[Frame | Packet]) -> Iterator[Frame | Packet]:
        for item in items:
            if isinstance(item, Frame) and self._enable is not None:
                self._wanted[item.index] = self._enable.holds(
                    {"t": item.seconds, "n": item.index, "pts": item.pts, "w": item.width, "h": item.height}
                )
            yield item

    def _blended(self, painted: Painted) -> Painted:
        frame = painted.frame
        share = self._node.mix if self._wanted.pop(frame.index, True) else 0.0
        if share == 1:
            return painted
        cb, cr = self._own(frame)
        if share > 0:
            cb, cr = (_mixed(own, new, share) for own, new in zip((cb, cr), painted.planes, strict=True))
        return replace(painted, planes_of=lambda: (cb, cr))

    def _own(self, frame: Frame) -> tuple[_Plane, _Plane]:
        return own_chroma(frame, self._planes.shape, self._planes.depth)


def _mixed(own: _Plane, new: _Plane, share: float) -> _Plane:
    values = own + np.float32(share) * (new.astype(np.float32) - own)
    mixed: _Plane = np.rint(values).astype(new.dtype)
    return mixed


class Filtering:
    """A run of FFmpeg's filters. film, after: as it arrives and as they hand it on."""

    def __init__(self, calls: Sequence[FilterCall], film: FilmInfo, after: FilmInfo) -> None:
        self._calls = calls
        self._film = film
        self._after = after

    def frames(self, items: Iterator[Frame | Packet]) -> Iterator[Frame | Packet]:
        """Frames in, what the filters make of them out, numbered anew; packets pass by."""
        chain: FilterChain | None = None
        count = 0
        for item in items:
            if isinstance(item, Packet):
                yield item
                continue
            picture = whole_picture(item)
            if chain is None:
                chain = FilterChain(self._calls, self._film, picture)
            for made in chain.push(picture):
                yield filtered_frame(made, count, self._after)
                count += 1
        if chain is not None:
            for made in chain.push(None):
                yield filtered_frame(made, count, self._after)
                count += 1


Stage: TypeAlias = "Coloring | Filtering"


def paint_through(
    stages: Sequence[Stage], items: Iterator[Frame | Packet], planes: Planes
) -> Iterator[Painted | Packet]:
    """Everything between decoding and encoding. planes: what the writer wants of the chroma."""
    *before, last = stages
    for stage in before:
        items = stage.frames(items)
    if isinstance(last, Coloring):
        yield from last.paint(items)
        return
    coloring = next(stage for stage in reversed(stages) if isinstance(stage, Coloring))
    for item in last.frames(items):
        if isinstance(item, Packet):
            yield item
            continue
        shots = coloring.shots
        shot = (shots[-1].confidence, shots[-1].number) if shots else (1.0, 0)
        yield Painted(item, partial(own_chroma, item, planes.shape, planes.depth), *shot)
