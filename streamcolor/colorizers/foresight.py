"""Flow to the next frame, found beside a step while the network is still at work on this one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from streamcolor.colorizers.tracks import Between, Float32

# So many are held: a dissolve is colored in two steps a frame.
_HELD = 2


@dataclass(frozen=True, slots=True)
class _Prepared:
    here: Float32
    before: Float32
    found: Future[Between]

    def joins(self, here: Float32, before: Float32) -> bool:
        return np.array_equal(self.here, here) and np.array_equal(self.before, before)


class Foresight:
    """Remembers what it was asked to prepare by the pictures alone: what is told is the same, prepared or not."""

    def __init__(self, worker: Executor, *, fine: bool) -> None:
        """worker: where flow is found. fine: see ``flow_between``."""
        self._worker = worker
        self._fine = fine
        self._prepared: deque[_Prepared] = deque(maxlen=_HELD)

    def prepare(self, here: Float32, before: Float32) -> None:
        """Begin with ``Between.of`` a frame and the one before, L* (h, w) that nobody changes any more."""
        if not any(prepared.joins(here, before) for prepared in tuple(self._prepared)):
            found = self._worker.submit(Between.of, here, before, fine=self._fine)
            self._prepared.append(_Prepared(here, before, found))

    def between(self, here: Float32, before: Float32) -> Between:
        """``Between.of`` these; to be called from anywhere, the worker included."""
        for prepared in tuple(self._prepared):
            # One that waits in the line, perhaps behind the caller, is not waited for.
            if prepared.joins(here, before) and not prepared.found.cancel():
                return prepared.found.result()
        return Between.of(here, before, fine=self._fine)
