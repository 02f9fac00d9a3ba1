"""A row of a comparison that is done: what it was, and its scores picture by picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Figures = dict[str, float]


@dataclass(frozen=True)
class Entry:
    """What is known of a row.

    parameters: of the network at the paper's size; trained_parameters: as it was trained. pictures: that it was trained
    on. pretrained: where weights came from, by part. sets: figures by what was colored, by set (``scoring``).
    """

    row: str
    model: str
    note: str = ""
    references: bool = False
    parameters: int = 0
    trained_parameters: int = 0
    steps: int | None = None
    step_seconds: float | None = None
    pictures: int | None = None
    batch: int | None = None
    pretrained: dict[str, str] = field(default_factory=dict)
    sets: dict[str, dict[str, Figures]] = field(default_factory=dict)

    def values(self, set_name: str, figure: str) -> dict[str, float]:
        """A figure by what was colored; empty where it was not measured."""
        return {name: found[figure] for name, found in self.sets.get(set_name, {}).items() if figure in found}

    def mean(self, set_name: str, figure: str) -> float | None:
        """Mean of a figure over a set, the median of ``seconds``; None where it was not measured."""
        values = list(self.values(set_name, figure).values())
        if not values:
            return None
        return float(np.median(values) if figure == "seconds" else np.mean(values))
