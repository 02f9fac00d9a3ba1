"""What flow tells of a frame is found in a thread beside the network, and that of the next frames ahead of their turn.

Flow needs lightness alone: nothing that the network says changes where places lie. So the worker need not wait for the
colors of a frame before it begins with the next. Frames that the network looks at take it longer than the worker, and
those that it does not look at hardly any time: some frames ahead, neither waits for the other on two processors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator.course import Arrival, Course
from streamcolor.colorizers.tracks import Float32

# Mean belief in the flow to the frame before from which on a frame may be colored by flow alone.
BELIEVED = 0.88
# One colorizer may be at two films, or at both shots of a dissolve.
_HELD = 2


@dataclass(frozen=True, slots=True)
class Scouted:
    """What was or will be told of a frame ``here``, L* (h, w), that ``guides`` guide.

    rests: whether the network need not look at it, where it is averaged with the frames around it. ahead: what has been
    prepared of the frames after it.
    """

    here: Float32
    guides: tuple[Entry, ...]
    frame: int
    arrived: Future[Arrival]
    followed: Future[Course]
    rests: Future[bool]
    ahead: deque[_Prepared]

    @property
    def course(self) -> Course:
        """Waits for it."""
        return self.followed.result()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Of a frame whose turn has not come. held: what it takes to be held of the frame before."""

    scouted: Scouted
    held: Future[Entry]

    def answers(self, here: Float32, held: Entry | None, guides: Sequence[Entry], frame: int) -> bool:
        """Whether it was begun with the same as is asked for now."""
        mine = self.scouted
        if held is None or frame != mine.frame or len(guides) != len(mine.guides):
            return False
        if any(one is not other for one, other in zip(guides, mine.guides, strict=True)):
            return False
        taken = self.held.result().tensors
        same = taken["lightness"] is held.tensors["lightness"] and ("way" in taken) == ("way" in held.tensors)
        return same and np.array_equal(here, mine.here)


class Foresight:
    """Remembers what it was told to prepare; what it tells is the same, prepared or not."""

    def __init__(self, worker: Executor) -> None:
        """worker: one thread, which takes one after the other; where flow is found."""
        self._worker = worker
        self._chains: deque[deque[_Prepared]] = deque(maxlen=_HELD)

    def ask(self, here: Float32, held: Entry | None, guides: Sequence[Entry], frame: int) -> Scouted:
        """What flow tells of a frame, L* (h, w) that nobody changes any more. held: of the frame before."""
        for chain in self._chains:
            if chain and chain[0].answers(here, held, guides, frame):
                return chain.popleft().scouted
        known: Future[Entry | None] = Future()
        known.set_result(held)
        return self._begun(here, known, guides, frame, deque())

    def prepare(
        self, scouted: Scouted, following: Sequence[Float32], guides: Callable[[Float32, int], Sequence[Entry]]
    ) -> None:
        """Begin with the frames after one that was asked for, and that rests where it may.

        following: their L* (h, w), which may change afterwards. guides: tells those of a frame by its L* and number.
        """
        chain = scouted.ahead
        if not any(chain is other for other in self._chains):
            self._chains.append(chain)
        for place in range(len(chain), len(following)):
            here, before = following[place].copy(), chain[-1].scouted if chain else scouted
            held = self._worker.submit(_held, before.followed, before.rests, before.frame)
            frame = before.frame + 1
            chain.append(_Prepared(self._begun(here, held, guides(here, frame), frame, chain), held))

    def _begun(
        self,
        here: Float32,
        held: Future[Entry] | Future[Entry | None],
        guides: Sequence[Entry],
        frame: int,
        ahead: deque[_Prepared],
    ) -> Scouted:
        """What is asked of the worker here it can answer when its turn comes, for it takes one after the other."""
        arrived = self._worker.submit(lambda: Arrival.of(here, held.result(), guides))
        followed = self._worker.submit(lambda: Course.of(here, held.result(), guides, frame, arrived))
        rests = self._worker.submit(lambda: _may_rest(held.result(), guides, frame, followed.result()))
        return Scouted(here, tuple(guides), frame, arrived, followed, rests, ahead)


def _held(followed: Future[Course], rests: Future[bool], frame: int) -> Entry:
    return Entry(followed.result().tensors(rested=rests.result()), frame)


def _may_rest(held: Entry | None, guides: Sequence[Entry], frame: int, course: Course) -> bool:
    """Whether the network need not look at a frame: it did at the one before, and no reference has come since.

    And flow has not lost too much of it.
    """
    if (
        held is None
        or "way" in held.tensors
        or held.frame != frame - 1
        or any(entry.frame == frame for entry in guides)
    ):
        return False
    if held.tensors["identity"].tolist() != [int(entry.tensors["identity"]) for entry in guides]:
        return False
    return course.way is not None and float(course.way.believed.mean()) >= BELIEVED
