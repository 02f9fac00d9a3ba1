"""Three stages side by side: order, bounds, and one error that ends them all."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamcolor.pipeline.stages import flow_through


def double(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        yield 2 * number


def test_items_arrive_in_order() -> None:
    seen: list[int] = []
    flow_through(range(1000), double, seen.append, length=3)
    assert seen == [2 * n for n in range(1000)]


def test_the_source_never_runs_far_ahead() -> None:
    taken, written = 0, 0
    farthest = 0

    def source() -> Iterator[int]:
        nonlocal taken
        for number in range(300):
            taken += 1
            yield number

    def sink(_: int) -> None:
        nonlocal written, farthest
        farthest = max(farthest, taken - written)
        written += 1

    flow_through(source(), double, sink, length=4)
    # Two queues of four, and one item in the hands of each of the three stages and of the generator.
    assert farthest <= 2 * 4 + 4


@pytest.mark.parametrize("stage", ["source", "middle", "sink"])
def test_an_error_in_one_stage_ends_all(stage: str) -> None:
    before = threading.active_count()

    def fail(where: str, number: int) -> int:
        if where == stage and number == 50:
            raise RuntimeError(f"{stage} broke")
        return number

    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield fail("source", number)
            number += 1

    def middle(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            yield fail("middle", number)

    def sink(number: int) -> None:
        fail("sink", number)

    with pytest.raises(RuntimeError, match=f"{stage} broke"):
        flow_through(endless(), middle, sink, length=2)
    assert threading.active_count() == before


def test_ctrl_c_reaches_the_caller_and_ends_the_threads() -> None:
    before = threading.active_count()

    def interrupted(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            if number == 20:
                raise KeyboardInterrupt
            yield number

    with pytest.raises(KeyboardInterrupt):
        flow_through(range(10**9), interrupted, lambda _: None)
    assert threading.active_count() == before
