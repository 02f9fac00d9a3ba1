"""Shots found while the film streams by: every frame leaves with the shot it belongs to, at most ``lookahead`` late."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.errors import CallError
from streamcolor.film.boundaries import DEFAULT_THRESHOLD, Boundary, BoundaryFinder, Transition
from streamcolor.film.similarity import contrast
from streamcolor.frame import Frame

AHEAD = 4
"""How many of the frames that follow a frame leave with it."""
_WIDTH = 256
_LIT = 0.8


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot of the film; ``number`` counts from 0.

    start: its first frame. After a dissolve that is the first frame without the old picture; after a fade a blank one.
    transition: how it begins.
    blend: (first, last + 1) of the frames before ``start`` in which a dissolve mixes it with the shot before.
    """

    number: int
    start: int
    transition: Transition
    blend: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FrameReady:
    """A frame, now that it is known where it belongs.

    shot: the shot that the frame belongs to; the frames of a dissolve belong to the old one.
    known: the last frame known to be in ``shot``, as far as the look-ahead reaches.
    blending: in a dissolve, the shot that shines through.
    blending_known: the last frame known to be in ``blending``.
    preview: the frame by which the shot is to be matched: in a dissolve the first frame of ``blending`` alone; at the
        start of a shot that fades in the first well lit one; else the frame itself.
    following: the frames after it, as far as they are known to be in ``shot`` too and nothing shines through them; at
        most ``AHEAD``.
    """

    frame: Frame
    shot: Shot
    known: int
    preview: Frame
    blending: Shot | None = None
    blending_known: int | None = None
    following: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class _Held:
    frame: Frame
    contrast: float


class ShotFinder:
    """Finds cuts, dissolves and fades in one pass. Holds at most ``lookahead`` frames and 96 small pictures.

    lookahead: how many frames a frame may wait. Dissolves and fades need some; below 6 only hard cuts are found, and
        at 0, decided from past frames alone, a flash cannot be told from a cut until it is over.
    threshold: mean difference of neighboring frames, of even exposure and in 8-bit code values, from which on a cut is
        looked for; smaller finds cuts between pictures that are more alike.
    min_length: a shot has at least so many frames where the look-ahead allows: a picture that returns earlier was
        interrupted by a flash or damage, and of two boundaries closer than this the second stands.
    cuts: frames where shots are known to start; nothing is then looked for, and a frame waits for the next one at most.

    Raises CallError for a negative number.
    """

    def __init__(
        self,
        *,
        lookahead: int = 24,
        threshold: float | None = None,
        min_length: int = 8,
        cuts: Sequence[int] | None = None,
    ) -> None:
        if lookahead < 0 or min_length < 1 or (threshold is not None and threshold <= 0):
            raise CallError("the look-ahead must not be negative, shot length and threshold must be positive")
        if cuts is not None and any(cut < 0 for cut in cuts):
            raise CallError(f"a shot cannot start at frame {min(cuts)}; frames are counted from 0")
        self._lookahead = lookahead
        self._min_length = min_length
        self._given = cuts is not None
        self._finder = BoundaryFinder(
            lookahead=lookahead, threshold=threshold or DEFAULT_THRESHOLD, min_length=min_length
        )
        self._size: tuple[int, int] | None = None
        self._held: deque[_Held] = deque()
        self._first: int | None = None
        self._newest = -1
        self._shot = Shot(0, 0, "cut")
        self._coming = [Boundary(cut, "cut") for cut in sorted(set(cuts or ())) if cut > 0]
        self._announced = False
        self._settled = -1

    def push(self, frame: Frame) -> list[FrameReady]:
        """Take the next frame (numbers must follow each other); returns the frames that need not wait any longer."""
        if self._first is None:
            self._first = frame.index
            self._shot = Shot(0, frame.index, "cut")
        self._newest = frame.index
        if self._given:
            self._settled = sys.maxsize
            self._held.append(_Held(frame, 0.0))
            return self._release(frame.index - min(self._lookahead, 1))
        picture = self._reduce(frame)
        self._held.append(_Held(frame, contrast(picture)))
        for boundary in self._finder.push(picture):
            self._expect(boundary)
        self._settled = self._finder.settled + self._first
        return self._release(frame.index - self._lookahead)

    def flush(self) -> list[FrameReady]:
        """The frames that are still held, at the end of the film."""
        if not self._given:
            for boundary in self._finder.flush():
                self._expect(boundary)
            self._settled = self._newest
        return self._release(self._newest)

    def _reduce(self, frame: Frame) -> NDArray[np.uint8]:
        """Luma about 256 wide and 8 bits deep. An integer factor: area averaging is then seven times as fast."""
        factor = max(1, round(frame.width / _WIDTH))
        height, width = max(frame.height // factor, 1), max(frame.width // factor, 1)
        luma = frame.luma[: height * factor, : width * factor]
        reduced = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA), np.uint16)
        picture = (reduced >> (frame.depth - 8)).astype(np.uint8)
        if self._size is None:
            self._size = (width, height)
        if self._size != (width, height):
            picture = np.asarray(cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        return np.asarray(picture, dtype=np.uint8)

    def _expect(self, boundary: Boundary) -> None:
        offset = self._first or 0
        blend = None if boundary.blend is None else (boundary.blend[0] + offset, boundary.blend[1] + offset)
        coming = Boundary(boundary.start + offset, boundary.transition, blend)
        replaceable = self._coming and not (len(self._coming) == 1 and self._announced)
        if replaceable and coming.start - self._coming[-1].start < self._min_length:
            self._coming.pop()
        self._coming.append(coming)

    def _release(self, until: int) -> list[FrameReady]:
        ready = []
        while self._held and self._held[0].frame.index <= until:
            ready.append(self._ready(self._held[0]))
            self._held.popleft()
        return ready

    def _ready(self, held: _Held) -> FrameReady:
        frame = held.frame
        while self._coming and self._coming[0].start <= frame.index:
            start = self._coming.pop(0)
            self._shot = Shot(self._shot.number + 1, start.start, start.transition, start.blend)
            self._announced = False
        known = self._reach(0, frame.index)
        if not self._coming or self._coming[0].blend is None or self._coming[0].blend[0] > frame.index:
            preview = self._well_lit(known) if frame.index == self._shot.start else frame
            return FrameReady(frame, self._shot, known, preview, following=self._following(known))
        self._announced = True
        upcoming = self._coming[0]
        shot = Shot(self._shot.number + 1, upcoming.start, upcoming.transition, upcoming.blend)
        preview = next(h.frame for h in self._held if h.frame.index == shot.start)
        return FrameReady(frame, self._shot, known, preview, shot, self._reach(1, shot.start))

    def _following(self, known: int) -> tuple[Frame, ...]:
        """The frames after the one that leaves, up to the next boundary."""
        blend = self._coming[0].blend if self._coming else None
        last = known if blend is None else min(known, blend[0] - 1)
        after = (held.frame for held in islice(self._held, 1, 1 + AHEAD))
        return tuple(takewhile(lambda frame: frame.index <= last, after))

    def _reach(self, boundary: int, start: int) -> int:
        """The last frame known to lie before the boundary of that place in the list, at least ``start``."""
        end = self._coming[boundary].start - 1 if len(self._coming) > boundary else self._settled
        return max(end, start)

    def _well_lit(self, known: int) -> Frame:
        """The first of the held frames up to ``known`` that has four fifths of the best contrast among them."""
        shown = [h for h in self._held if h.frame.index <= known]
        if self._shot.transition == "cut" and self._shot.number > 0:
            return shown[0].frame
        best = max(h.contrast for h in shown)
        return next(h.frame for h in shown if h.contrast >= _LIT * best)
