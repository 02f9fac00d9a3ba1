"""Flow that is prepared beside the caller: the same as without, and nobody waits for what has not begun."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from streamcolor.colorizers import tracks
from streamcolor.colorizers.foresight import Foresight
from streamcolor.colorizers.tracks import Between, Float32

from scenes import pictures

FIRST, SECOND, THIRD = (picture[0, 0].numpy() for picture in pictures(3))


def alike(one: Between, other: Between) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Between.__slots__)


def test_what_was_prepared_is_told_and_not_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    between_of = Between.of

    def counted(here: Float32, before: Float32, *, fine: bool = False) -> Between:
        calls.append(threading.current_thread().name)
        return between_of(here, before, fine=fine)

    monkeypatch.setattr(tracks.Between, "of", counted)
    with ThreadPoolExecutor(1, "worker") as worker:
        foresight = Foresight(worker, fine=True)
        foresight.prepare(SECOND, FIRST)
        # Asked twice, as in a dissolve, it begins once.
        foresight.prepare(SECOND.copy(), FIRST.copy())
        # The worker takes one after the other: by now it is done.
        worker.submit(int).result()
        told = foresight.between(SECOND.copy(), FIRST.copy())
        assert len(calls) == 1 and calls[0].startswith("worker")
        other = foresight.between(THIRD, SECOND)
        assert calls[1:] == [threading.current_thread().name]
    assert alike(told, between_of(SECOND, FIRST, fine=True))
    assert alike(other, between_of(THIRD, SECOND, fine=True))


def test_a_worker_that_asks_does_not_wait_for_what_stands_behind_it_in_the_line() -> None:
    begun = threading.Event()
    with ThreadPoolExecutor(1) as worker:
        foresight = Foresight(worker, fine=True)

        def ask() -> Between:
            assert begun.wait(10)
            return foresight.between(SECOND, FIRST)

        asked = worker.submit(ask)
        foresight.prepare(SECOND, FIRST)
        begun.set()
        assert alike(asked.result(20), Between.of(SECOND, FIRST, fine=True))
