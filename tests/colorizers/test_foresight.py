"""Flow that is found ahead of its turn: the same as without, found once, and only for what it was found for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import cv2
import pytest
import torch

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator.course import Course
from streamcolor.colorizers.propagator.foresight import Foresight, Scouted
from streamcolor.colorizers.tracks import Between, Float32

from scenes import pictures, random_colorizer, reference

FIRST, SECOND, THIRD = (picture[0, 0].numpy() for picture in pictures(3))


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


def told(scouted: Scouted, *, rested: bool = False) -> dict[str, torch.Tensor]:
    return scouted.course.tensors(rested=rested)


def same(one: Course, other: Course) -> bool:
    told, others = one.tensors(rested=True), other.tensors(rested=True)
    return told.keys() == others.keys() and all(torch.equal(told[name], others[name]) for name in told)


@pytest.mark.parametrize("rested", [False, True])
def test_what_was_prepared_is_told_and_not_found_again(
    worker: Executor, guide: Entry, found: list[tuple[Float32, Float32]], rested: bool
) -> None:
    foresight, plain = Foresight(worker), Foresight(worker)
    first = foresight.ask(FIRST, None, [guide], 0)
    held = Entry(told(first), 0)
    second = foresight.ask(SECOND, held, [guide], 1)
    foresight.prepare(THIRD, [guide], second, rested=rested)
    held = Entry(told(second, rested=rested), 1)
    assert ("way" in held.tensors) == rested
    third = foresight.ask(THIRD.copy(), held, [guide], 2)
    assert third.course.way is not None and len(found) == 2
    again = plain.ask(THIRD, held, [guide], 2)
    assert same(third.course, again.course) and len(found) == 3
    moved, other = third.arrived.result().movers, again.arrived.result().movers
    assert moved is not None and other is not None and (moved.moving == other.moving).all()


@pytest.mark.parametrize("other", ["picture", "guides", "frame", "memory", "rest", "nothing held"])
def test_something_else_than_was_prepared_is_found_anew(
    worker: Executor, guide: Entry, found: list[tuple[Float32, Float32]], other: str
) -> None:
    foresight, plain = Foresight(worker), Foresight(worker)
    first = foresight.ask(FIRST, None, [guide], 0)
    second = foresight.ask(SECOND, Entry(told(first), 0), [guide], 1)
    foresight.prepare(THIRD, [guide], second, rested=False)
    here, frame, guides, held = THIRD, 2, [guide], Entry(told(second), 1)
    if other == "picture":
        here = FIRST
    elif other == "guides":
        guides = [guide, Entry(guide.tensors, 9)]
    elif other == "frame":
        frame = 3
    elif other == "memory":
        held = Entry({name: tensor.clone() for name, tensor in held.tensors.items()}, 1)
    elif other == "rest":
        held = Entry(told(second, rested=True), 1)
    asked = foresight.ask(here, None if other == "nothing held" else held, guides, frame)
    right = plain.ask(here, None if other == "nothing held" else held, guides, frame)
    assert same(asked.course, right.course)
    # Of the second frame, of what was prepared for nothing, and twice of what was asked for instead.
    assert len(found) == (2 if other == "nothing held" else 4)


def test_two_films_take_turns(worker: Executor, guide: Entry, found: list[tuple[Float32, Float32]]) -> None:
    foresight = Foresight(worker)
    begun = [foresight.ask(FIRST, None, [guide], number) for number in (0, 100)]
    for before in begun:
        foresight.prepare(SECOND, [guide], before, rested=False)
    for before in begun:
        foresight.ask(SECOND, Entry(told(before), before.frame), [guide], before.frame + 1).followed.result()
    assert len(found) == 2


def test_what_goes_wrong_ahead_is_said_when_its_turn_has_come(worker: Executor, guide: Entry) -> None:
    foresight = Foresight(worker)
    first = foresight.ask(FIRST, None, [guide], 0)
    narrow = SECOND[:, :-16].copy()
    foresight.prepare(narrow, [guide], first, rested=False)
    held = Entry(told(first), 0)
    assert foresight.ask(SECOND, held, [guide], 1).course.way is not None
    with pytest.raises(cv2.error, match="calc"):
        foresight.ask(narrow, held, [guide], 1).followed.result()
