"""What flow tells of a frame is found in a thread beside the network, and that of the next frame ahead of its turn.

Flow needs lightness alone: nothing that the network says changes where places lie. So the worker need not wait for the
colors of a frame before it begins with the next, and on two processors neither of both waits for the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator.course import Arrival, Course
from streamcolor.colorizers.tracks import Float32

# One colorizer may be at two films, or at both shots of a dissolve.
_HELD = 2


@dataclass(frozen=True, slots=True)
class Scouted:
    """What was or will be told of a frame ``here``, L* (h, w), that ``guides`` guide."""

    here: Float32
    guides: tuple[Entry, ...]
    frame: int
    arrived: Future[Arrival]
    followed: Future[Course]

    @property
    def course(self) -> Course:
        """Waits for it."""
        return self.followed.result()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Of a frame whose turn has not come. before, rested: the course of the frame before, and how it was colored."""

    scouted: Scouted
    before: Future[Course]
    rested: bool

    def answers(self, here: Float32, held: Entry | None, guides: Sequence[Entry], frame: int) -> bool:
        """Whether it was begun with the same as is asked for now."""
        mine = self.scouted
        if held is None or frame != mine.frame or len(guides) != len(mine.guides):
            return False
        same = all(one is other for one, other in zip(guides, mine.guides, strict=True))
        return same and self.before.result().made(held, rested=self.rested) and np.array_equal(here, mine.here)


class Foresight:
    """Remembers what it was told to prepare; what it tells is the same, prepared or not."""

    def __init__(self, worker: Executor) -> None:
        """worker: one thread, which takes one after the other; where flow is found."""
        self._worker = worker
        self._prepared: deque[_Prepared] = deque(maxlen=_HELD)

    def ask(self, here: Float32, held: Entry | None, guides: Sequence[Entry], frame: int) -> Scouted:
        """What flow tells of a frame, L* (h, w) that nobody changes any more. held: of the frame before."""
        for prepared in self._prepared:
            if prepared.answers(here, held, guides, frame):
                return prepared.scouted
        arrived = self._worker.submit(Arrival.of, here, held, guides)
        followed = self._worker.submit(Course.of, here, held, guides, frame, arrived)
        return Scouted(here, tuple(guides), frame, arrived, followed)

    def prepare(self, here: Float32, guides: Sequence[Entry], before: Scouted, *, rested: bool) -> None:
        """Begin with the frame after one that was asked for; rested: whether that one is colored by flow alone."""
        frame, followed = before.frame + 1, before.followed

        def held() -> Entry:
            return Entry(followed.result().tensors(rested=rested), frame - 1)

        arrived = self._worker.submit(lambda: Arrival.of(here, held(), guides))
        course = self._worker.submit(lambda: Course.of(here, held(), guides, frame, arrived))
        self._prepared.append(_Prepared(Scouted(here, tuple(guides), frame, arrived, course), followed, rested))
