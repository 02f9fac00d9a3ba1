"""Loops as most papers have them, and as long."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

from streamcolor.train.loop import LoopRecipe

Recipe = TypeVar("Recipe", bound=LoopRecipe)


def plain_adam(loop: Recipe, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> Recipe:
    """The loop of most papers: Adam at one rate, the last weights and no average of them."""
    changes: dict[str, Any] = {"rate": rate, "betas": betas, "warmup": 1, "schedule": "constant"}
    return replace(loop, **changes, weight_decay=0.0, average=0.0, clip=math.inf)


def for_epochs(loop: Recipe, epochs: int | None, items: int, batch: int) -> Recipe:
    """The loop ended after so many passes over the items, if that is sooner; None: as it is."""
    return loop if epochs is None else replace(loop, steps=min(epochs * -(-items // batch), loop.steps))
