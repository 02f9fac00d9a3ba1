"""How long a training step takes, so that a time can be the budget of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import pairwise

from streamcolor.train.recipes import OnStep

# Steps whose time is measured, after the first one, which is slower.
PROBED = 5


def step_seconds(train: Callable[[OnStep], object], clock: Callable[[], float]) -> float:
    """Median time of a step, over all stages of a training together. train: does so, a few steps for each stage."""
    stages: list[list[float]] = []
    last = 0

    def on_step(step: int, _: dict[str, float]) -> None:
        nonlocal last
        if step <= last or not stages:
            stages.append([])
        last = step
        stages[-1].append(clock())

    train(on_step)
    medians = [statistics.median(b - a for a, b in pairwise(ticks)) for ticks in stages]
    return max(sum(medians), 1e-6)
