"""The middle of a run: a decoded frame goes in, the frame with its coded chroma comes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice, starmap
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamcolor.color.convert import grey_lightness, lightness, rgb_to_lab
from streamcolor.color.planes import chroma_planes
from streamcolor.color.standards import ColorSpace, Matrix
from streamcolor.colorizers.cache import Entry, ReferenceCache
from streamcolor.colorizers.contract import Colorizer, Reference
from streamcolor.errors import StreamcolorError
from streamcolor.film.references import Assigned, ReferencePicture, ReferencePlanner
from streamcolor.film.shots import FrameReady, Shot, ShotFinder
from streamcolor.frame import Chroma, Frame
from streamcolor.media.reader import FilmInfo
from streamcolor.media.streams import Packet
from streamcolor.pipeline.averaging import Around, Waiting

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Painted:
    """A frame with its chroma planes at the writer's depth and subsampling, and how far they are to be trusted.

    planes_of: makes cb and cr. It is asked once, by whoever wants them first: in a run that is the writer, whose thread
    has time while the next frame is being colored. rgb: see ``Chroma``.
    """

    frame: Frame
    planes_of: Callable[[], tuple[Plane, Plane]]
    confidence: float
    shot: int
    rgb: torch.Tensor | None = None

    @cached_property
    def planes(self) -> tuple[Plane, Plane]:
        """cb, cr."""
        return self.planes_of()


@dataclass(slots=True)
class ShotReport:
    """What became of one shot. ``references``: name and match score (None: by frame number)."""

    number: int
    start: int
    transition: str
    stop: int = 0
    references: list[tuple[str, float | None]] = field(default_factory=list)
    confidence: float = 0.0
    weakest: int = 0
    weakest_confidence: float = 1.0

    def add(self, frame: int, confidence: float) -> None:
        """Take one more frame into account; ``confidence`` stays the mean."""
        count = self.stop - self.start
        self.confidence = (self.confidence * count + confidence) / (count + 1)
        self.stop = frame + 1
        if confidence < self.weakest_confidence:
            self.weakest, self.weakest_confidence = frame, confidence


@dataclass(frozen=True, slots=True)
class _Coming:
    """The shot that shines through in a dissolve: its number, its references, and the cache it will go on with."""

    number: int
    assigned: list[Assigned]
    cache: ReferenceCache


@dataclass(frozen=True, slots=True)
class _Colored:
    """A frame whose chroma is known, with its mean confidence and the number of its shot."""

    frame: Frame
    confidence: float
    shot: int


@dataclass(frozen=True, slots=True)
class Planes:
    """What the writer wants of the chroma: (rows, columns) of a plane and bits of a sample."""

    shape: tuple[int, int]
    depth: int


def working_size(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """(h, w) for a model: the film's shape at ``short_side`` (never enlarged), rounded to multiples, at least one."""
    scale = min(1.0, short_side / min(height, width))
    h, w = (max(round(side * scale / multiple), 1) * multiple for side in (height, width))
    return h, w


def guide(picture: ReferencePicture, size: tuple[int, int], matrix: Matrix) -> Reference:
    """A reference at working size (h, w), its lightness that of the grey the film would have made of it."""
    rgb, alpha = picture.pixels()
    small = np.asarray(cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
    opaque = np.asarray(cv2.resize(alpha, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
    _, ab = rgb_to_lab(small)
    return Reference(
        lightness=torch.from_numpy(grey_lightness(small, matrix))[None, None],
        ab=torch.from_numpy(np.clip(ab, -110, 110))[None],
        opaque=torch.from_numpy(opaque)[None, None],
        frame=picture.frame,
    )


def _mixed(one: Chroma, other: Chroma, share: float) -> Chroma:
    """``share`` of the other; pictures of networks that emit them mix as those of the film do."""
    rgb = None if one.rgb is None or other.rgb is None else torch.lerp(one.rgb, other.rgb, share)
    return Chroma(torch.lerp(one.ab, other.ab, share), torch.lerp(one.confidence, other.confidence, share), rgb)


class Painter:
    """Follows the shots of a film and colors its frames one after the other.

    Memory: the finder's look-ahead and the cache, both bounded; what it remembers of the whole film is one
    ``ShotReport`` a shot.
    """

    def __init__(
        self,
        film: FilmInfo,
        planes: Planes,
        colorizer: Colorizer,
        finder: ShotFinder,
        planner: ReferencePlanner,
        *,
        size: int | None = None,
        cap: int | None = None,
        reach: int = 0,
    ) -> None:
        """reach: how many frames on either side colors are averaged with along the motion, see ``averaging``."""
        self.planes = planes
        self.colorizer = colorizer
        self.finder = finder
        self.planner = planner
        self.cap = cap
        self.cache = self._cache()
        self.space = ColorSpace.of(film.tags, film.height)
        self.siting = film.chroma_location
        info = colorizer.info
        self.size = working_size(film.height, film.width, size or info.size, info.size_multiple)
        self.shots: list[ShotReport] = []
        self._waiting: Waiting[_Colored] = Waiting(reach if info.linked else 0)
        self._coming: _Coming | None = None
        # Lightness of the frames that come next.
        self._ahead: deque[torch.Tensor] = deque()

    def _cache(self) -> ReferenceCache:
        return ReferenceCache(self.colorizer.info.policy, **({} if self.cap is None else {"cap": self.cap}))

    def paint(self, items: Iterator[Frame | Packet]) -> Iterator[Painted | Packet]:
        """Frames in film order come out colored; packets of other streams pass by."""
        for item in items:
            if isinstance(item, Packet):
                yield item
                continue
            for ready in self.finder.push(item):
                yield from self._color(ready)
        for ready in self.finder.flush():
            yield from self._color(ready)
        yield from starmap(self._painted, self._waiting.flush())

    def _color(self, ready: FrameReady) -> Iterator[Painted]:
        """Color a frame; the frames whose colors are settled by it."""
        self._follow_shots(ready)
        chroma = self._chroma(ready)
        colored = _Colored(ready.frame, float(chroma.confidence.mean()), ready.shot.number)
        self.shots[-1].add(ready.frame.index, colored.confidence)
        yield from starmap(self._painted, self._waiting.push(colored, chroma, colored.shot))

    def _painted(self, colored: _Colored, around: Around) -> Painted:
        planes_of = partial(self._planes_of, colored.frame, around)
        return Painted(colored.frame, planes_of, colored.confidence, colored.shot, around.here.chroma.rgb)

    def _planes_of(self, frame: Frame, around: Around) -> tuple[Plane, Plane]:
        return chroma_planes(
            around.averaged(),
            frame.luma,
            depth=frame.depth,
            space=self.space,
            shape=self.planes.shape,
            out_depth=self.planes.depth,
            siting=self.siting,
        )

    def _chroma(self, ready: FrameReady) -> Chroma:
        """Of one shot; in a dissolve that of both, each with its own references and memory, weighted by time.

        A mixture of two pictures has the mixture of their colors; a search for each pixel in all references at once
        would take either.
        """
        frame = ready.frame
        lightness = self._ahead.popleft() if self._ahead else self._lightness(frame)
        self._ahead.extend(self._lightness(after) for after in ready.following[len(self._ahead) :])
        following = tuple(islice(self._ahead, len(ready.following))) if self._waiting.reach else ()
        chroma = self._step(lightness, self.cache, frame.index, following)
        if self._coming is None or ready.blending is None or ready.blending.blend is None:
            return chroma
        first, stop = ready.blending.blend
        share = min(max((frame.index - first + 1) / (stop - first + 1), 0.0), 1.0)
        other = self._step(lightness, self._coming.cache, frame.index)
        return _mixed(chroma, other, share)

    def _step(
        self, lightness: torch.Tensor, cache: ReferenceCache, frame: int, following: Sequence[torch.Tensor] = ()
    ) -> Chroma:
        chroma, entry = self.colorizer.step(lightness, cache, frame, following)
        if not bool(torch.isfinite(chroma.ab).all()):
            # What is remembered of it would spoil every frame to come.
            model = self.colorizer.info.id
            raise StreamcolorError(f"{model} gave frame {frame} colors that are not numbers; --precision fp32 may help")
        if entry is not None:
            cache.remember(entry)
        return chroma

    def _lightness(self, frame: Frame) -> torch.Tensor:
        h, w = self.size
        small = cast("Plane", cv2.resize(frame.luma, (w, h), interpolation=cv2.INTER_AREA))
        return torch.from_numpy(lightness(small, frame.depth, self.space))[None, None]

    def _follow_shots(self, ready: FrameReady) -> None:
        """Fill the cache when a shot starts, when the next one shines through, when a reference comes into reach."""
        shot, frame = ready.shot, ready.frame
        if not self.shots or self.shots[-1].number != shot.number:
            self._start(ready)
        elif ready.blending is not None:
            if self._coming is None:
                known = ready.known if ready.blending_known is None else ready.blending_known
                assigned, entries = self._assigned(ready.blending, ready.preview, known)
                self._coming = _Coming(ready.blending.number, assigned, self._cache())
                self._coming.cache.start_shot(entries)
        elif self.colorizer.info.references:
            for late in self.planner.arriving(frame, shot, ready.known):
                self.cache.add_reference(self._encode(late))
                self.shots[-1].references.append((late.reference.name, late.score))

    def _start(self, ready: FrameReady) -> None:
        shot = ready.shot
        if self._coming is not None and self._coming.number == shot.number:
            assigned, self.cache = self._coming.assigned, self._coming.cache
        else:
            assigned, entries = self._assigned(shot, ready.preview, ready.known)
            self.cache.start_shot(entries)
        self._coming = None
        report = ShotReport(shot.number, shot.start, shot.transition, stop=shot.start)
        report.references = [(a.reference.name, a.score) for a in assigned]
        self.shots.append(report)

    def _assigned(self, shot: Shot, frame: Frame, known: int) -> tuple[list[Assigned], list[Entry]]:
        if not self.colorizer.info.references:
            return [], []
        assigned = self.planner.for_shot(shot, frame, known)
        return assigned, [self._encode(a) for a in assigned]

    def _encode(self, assigned: Assigned) -> Entry:
        return self.colorizer.encode(guide(assigned.reference, self.size, self.space.matrix))
