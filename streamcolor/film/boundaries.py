"""Where one shot ends and the next begins, decided frame by frame with a bounded delay.

Three witnesses propose boundaries, and each proposal is examined before it counts:

* PySceneDetect proposes hard cuts, on pictures whose exposure has been evened out, so that flicker is gone and dark
  film is as clear as bright film. A proposal stands when the pictures before and after it do not find each other's
  blocks again, and the old picture does not return at once: flashes, torn frames and scratches are not cuts.
* ``DissolveDetector`` proposes gradual transitions; the clean pictures beside one must not show the same scene.
* A picture that comes back after blank frames starts a shot in the blank, unless it is the old picture after a dropout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scenedetect.common import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, ContentDetector

from streamcolor.film.dissolves import Blend, DissolveDetector
from streamcolor.film.similarity import SMALL, Picture, contrast, even, refound, small_picture

Transition = Literal["cut", "dissolve", "fade"]

BLANK = 3.5
"""Standard deviation, in 8-bit code values, below which a whole frame counts as blank (black, white, leader)."""

DEFAULT_THRESHOLD = 8.0
"""Least mean difference of neighboring evened pictures, in 8-bit code values, at which a cut is looked for."""

_ADAPTIVE_RATIO = 1.35
_SAME_SCENE = 0.8
_SAME_AFTER_DISSOLVE = 0.75
_REMEMBERED = 96
_AROUND_BLANK = (1, 4, 8, 12)
_FADED = 0.6
_COARSE = (32, 18)


@dataclass(frozen=True, slots=True)
class Boundary:
    """A shot starts at frame ``start``; ``blend`` is (first, last + 1) of the mixed frames of a dissolve before it."""

    start: int
    transition: Transition
    blend: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    small: NDArray[np.uint8]
    contrast: float

    @property
    def blank(self) -> bool:
        return self.contrast < BLANK

    @property
    def picture(self) -> Picture:
        return small_picture(self.small)


class BoundaryFinder:
    """Numbers frames from 0 as they are pushed. Remembers 96 pictures of 54 x 96.

    lookahead: frames after a boundary that may be seen before it must be named; 0 decides from the past alone.
    threshold: see ``DEFAULT_THRESHOLD``.
    min_length: an old picture that returns within so many frames was interrupted, not cut.
    """

    def __init__(self, *, lookahead: int, threshold: float, min_length: int) -> None:
        self._wait = min(lookahead, max(2, min(lookahead - 1, min_length))) if lookahead else 0
        self._min_length = min_length
        self._before_return = 1 if lookahead > self._wait else 0
        if self._wait >= 2:
            self._cuts: ContentDetector = AdaptiveDetector(
                _ADAPTIVE_RATIO, min_scene_len=0, window_width=2, min_content_val=threshold, luma_only=True
            )
        else:
            self._cuts = ContentDetector(threshold, min_scene_len=0, luma_only=True)
        self._dissolves = DissolveDetector() if self._wait > 4 else None
        self._looks: dict[int, _Look] = {}
        self._count = 0
        self._blank_start: int | None = None
        self._candidates: list[int] = []
        self._returns: list[tuple[int, int]] = []
        self._found: list[Boundary] = []

    @property
    def settled(self) -> int:
        """The newest frame for which it is final whether a shot starts at or before it; -1 for none."""
        return max(-1, self._count - 1 - self._wait - self._before_return)

    def push(self, picture: NDArray[np.uint8]) -> list[Boundary]:
        """Take the next frame, (h, w) uint8 luma about 256 wide; returns the boundaries decided by it, in order."""
        settled, number = self.settled, self._count
        small = cv2.resize(picture, SMALL[::-1], interpolation=cv2.INTER_AREA)
        # Grain is averaged away before a frame is called blank.
        coarse = cv2.resize(small, _COARSE, interpolation=cv2.INTER_AREA)
        look = _Look(np.asarray(small), contrast(coarse))
        self._looks[number] = look
        self._looks.pop(number - _REMEMBERED, None)
        self._count += 1
        self._propose_cut(picture)
        if look.blank and self._blank_start is None:
            self._blank_start = number
        elif not look.blank and self._blank_start is not None:
            self._returns.append((self._blank_start, number))
            self._blank_start = None
        boundaries = []
        if self._dissolves is not None:
            boundaries += self._dissolve(self._dissolves.push(picture), settled)
        boundaries += self._decide(number - self._wait)
        return boundaries

    def flush(self) -> list[Boundary]:
        """The boundaries among the last frames; nothing may be pushed afterwards."""
        return self._decide(self._count)

    def _propose_cut(self, picture: NDArray[np.uint8]) -> None:
        # Frame numbers as timecodes: the detectors count in frames, and so stay right when the frame rate varies.
        time = FrameTimecode(self._count - 1, 25.0)
        evened = even(picture)
        cuts = self._cuts.process_frame(time, cv2.merge((evened, evened, evened)))
        self._candidates += [cut.frame_num for cut in cuts]

    def _decide(self, newest: int) -> list[Boundary]:
        """Boundaries among the proposals up to frame ``newest``, in order."""
        boundaries = []
        due = [k for k in self._candidates if k <= newest]
        self._candidates = [k for k in self._candidates if k > newest]
        for cut in due:
            if not self._taken(cut) and self._is_cut(cut):
                boundaries.append(Boundary(cut, "cut"))
                self._remember(boundaries[-1])
        for gap in [gap for gap in self._returns if gap[1] <= newest]:
            self._returns.remove(gap)
            boundary = self._after_blank(*gap)
            if boundary is not None and not self._taken(boundary.start):
                boundaries.append(boundary)
                self._remember(boundary)
        return sorted(boundaries, key=lambda b: b.start)

    def _remember(self, boundary: Boundary) -> None:
        self._found = [*self._found[-7:], boundary]

    def _taken(self, start: int) -> bool:
        """Whether a boundary that was found already covers this frame, or lies after it."""
        return any(start <= b.start + (0 if b.blend is None else 2) for b in self._found)

    def _is_cut(self, cut: int) -> bool:
        if cut - 1 not in self._looks or self._looks[cut].blank or self._looks[cut - 1].blank:
            return False
        before, after = self._looks[cut - 1].picture, self._looks[cut].picture
        if refound(before, after) >= _SAME_SCENE:
            return False
        later = [i for i in range(cut + 1, cut + self._wait + 1) if i in self._looks and not self._looks[i].blank]
        earlier = [i for i in range(cut - 2, cut - self._min_length - 1, -1) if i in self._looks]
        return not (
            any(refound(before, self._looks[i].picture) >= _SAME_SCENE for i in later)
            or any(refound(self._looks[i].picture, after) >= _SAME_SCENE for i in earlier if not self._looks[i].blank)
        )

    def _after_blank(self, blank: int, back: int) -> Boundary | None:
        """The boundary between the frames before ``blank`` and those from ``back`` on, if there is one."""
        before = [self._looks[blank - i] for i in _AROUND_BLANK if blank - i in self._looks]
        after = [self._looks[back + i - 1] for i in _AROUND_BLANK if back + i - 1 in self._looks]
        if blank == 0:
            return None
        lasting = back - blank >= self._min_length
        if not lasting and any(refound(a.picture, b.picture) >= _SAME_SCENE for a in before for b in after):
            return None
        sides = [side for side in (before, after) if side]
        faded = any(side[0].contrast < _FADED * max(look.contrast for look in side) for side in sides)
        start = back - self._before_return
        return Boundary(start, "fade") if faded else Boundary(back, "cut")

    def _dissolve(self, blends: list[Blend], settled: int) -> list[Boundary]:
        for blend in blends:
            if blend.old not in self._looks or any(
                b.start >= blend.first - 2 and (b.blend is None or b.start >= blend.first) for b in self._found
            ):
                continue
            old, new = self._looks[blend.old], self._looks[blend.new]
            if old.blank or new.blank or refound(old.picture, new.picture) >= _SAME_AFTER_DISSOLVE:
                continue
            # A long dissolve may be recognized late: what has been settled stays with the old shot.
            start = max(blend.stop, settled + 1)
            boundary = Boundary(start, "dissolve", (blend.first, start))
            self._remember(boundary)
            return [boundary]
        return []
