"""Flow that is found ahead of its turn: the same as without, found once, and only for what it was found for."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import cv2
import pytest
import torch

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator.course import Course
from streamcolor.colorizers.propagator.foresight import Foresight, Scouted
from streamcolor.colorizers.tracks import Between, Float32

from scenes import pictures, random_colorizer, reference

FILM = [picture[0, 0].numpy() for picture in pictures(5)]


@pytest.fixture
def worker() -> Iterator[Executor]:
    with ThreadPoolExecutor(1, "worker") as one:
        yield one


@pytest.fixture(scope="module")
def guide() -> Entry:
    return random_colorizer().encode(reference(pictures(1)[0]))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Float32, Float32]]:
    """Between which pictures flow was found."""
    pairs = []
    between_of = Between.of

    def counted(here: Float32, before: Float32, *, fine: bool = False) -> Between:
        pairs.append((here, before))
        return between_of(here, before, fine=fine)

    monkeypatch.setattr(Between, "of", counted)
    return pairs


def held_of(scouted: Scouted) -> Entry:
    """What is held of a frame that rests where it may."""
    return Entry(scouted.course.tensors(rested=scouted.rests.result()), scouted.frame)


def only(*guides: Entry) -> Callable[[Float32, int], list[Entry]]:
    return lambda here, frame: list(guides)


def same(one: Course, other: Course) -> bool:
    told, others = one.tensors(rested=True), other.tensors(rested=True)
    return told.keys() == others.keys() and all(torch.equal(told[name], others[name]) for name in told)


def test_what_was_prepared_is_told_and_not_found_again(
    worker: Executor, guide: Entry, found: list[tuple[Float32, Float32]]
) -> None:
    """Of frames that rest and of frames that do not."""
    foresight, plain = Foresight(worker), Foresight(worker)
    scouted = again = foresight.ask(FILM[0], None, [guide], 0)
    foresight.prepare(scouted, FILM[1:4], only(guide))
    rested = []
    for number, here in enumerate(FILM[1:], 1):
        scouted = foresight.ask(here.copy(), held_of(scouted), [guide], number)
        foresight.prepare(scouted, FILM[number + 1 : number + 4], only(guide))
        again = plain.ask(here, held_of(again), [guide], number)
        assert same(scouted.course, again.course)
        rested.append(scouted.rests.result())
        assert rested[-1] == again.rests.result()
        moved, other = scouted.arrived.result().movers, again.arrived.result().movers
        assert moved is not None and other is not None and (moved.moving == other.moving).all()
    assert rested == [True, False, True, False]
    assert len(found) == 2 * (len(FILM) - 1)


@pytest.mark.parametrize("other", ["picture", "guides", "frame", "memory", "rest", "nothing held"])
def test_something_else_than_was_prepared_is_found_anew(
    worker: Executor, guide: Entry, found: list[tuple[Float32, Float32]], other: str
) -> None:
    foresight, plain = Foresight(worker), Foresight(worker)
    first = foresight.ask(FILM[0], None, [guide], 0)
    second = foresight.ask(FILM[1], held_of(first), [guide], 1)
    assert second.rests.result()
    foresight.prepare(second, [FILM[2]], only(guide))
    here, frame, guides, held = FILM[2], 2, [guide], held_of(second)
    if other == "picture":
        here = FILM[0]
    elif other == "guides":
        guides = [guide, Entry(guide.tensors, 9)]
    elif other == "frame":
        frame = 3
    elif other == "memory":
        held = Entry({name: tensor.clone() for name, tensor in held.tensors.items()}, 1)
    elif other == "rest":
        held = Entry(second.course.tensors(rested=False), 1)
    asked = foresight.ask(here, None if other == "nothing held" else held, guides, frame)
    right = plain.ask(here, None if other == "nothing held" else held, guides, frame)
    assert same(asked.course, right.course)
    # Of the second frame, of what was prepared for nothing, and twice of what was asked for instead.
    assert len(found) == (2 if other == "nothing held" else 4)


def test_two_films_take_turns(worker: Executor, guide: Entry, found: list[tuple[Float32, Float32]]) -> None:
    foresight = Foresight(worker)
    begun = [foresight.ask(FILM[0], None, [guide], number) for number in (0, 100)]
    for before in begun:
        foresight.prepare(before, FILM[1:3], only(guide))
    for here in FILM[1:3]:
        begun = [foresight.ask(here, held_of(before), [guide], before.frame + 1) for before in begun]
        for scouted in begun:
            scouted.followed.result()
    assert len(found) == 4


def test_what_is_held_of_frames_that_have_gone_by_is_let_go(worker: Executor, guide: Entry) -> None:
    foresight = Foresight(worker)
    scouted = foresight.ask(FILM[0], None, [guide], 0)
    states = []
    for number, here in enumerate(FILM[1:] * 4, 1):
        foresight.prepare(scouted, [here], only(guide))
        states.append(weakref.ref(scouted.course.state["maps"]))
        scouted = foresight.ask(here, held_of(scouted), [guide], number)
    scouted.rests.result()
    gc.collect()
    assert sum(state() is not None for state in states) <= 2


def test_what_goes_wrong_ahead_is_said_when_its_turn_has_come(worker: Executor, guide: Entry) -> None:
    foresight = Foresight(worker)
    first = foresight.ask(FILM[0], None, [guide], 0)
    narrow = FILM[1][:, :-16].copy()
    foresight.prepare(first, [narrow, FILM[2]], only(guide))
    held = held_of(first)
    assert foresight.ask(FILM[1], held, [guide], 1).course.way is not None
    with pytest.raises(cv2.error, match="calc"):
        foresight.ask(narrow, held, [guide], 1).followed.result()
