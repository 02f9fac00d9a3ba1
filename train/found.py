"""What a folder holds to train on and to validate on, whatever it consists of."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")

FEW = 100
"""With fewer items than this figures say little."""


@dataclass(frozen=True)
class Found(Generic[Item]):
    """skipped: files that could not be read, with the reasons. grey: how many were left out for lack of color."""

    train: list[Item]
    validation: list[Item]
    skipped: list[str] = field(default_factory=list)
    grey: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """In numbers, for the card of a run."""
        numbers = {"train": len(self.train), "validation": len(self.validation), "skipped": len(self.skipped)}
        return numbers | {"grey": self.grey}

    def tell(self, what: str) -> None:
        """In words, to the log. what: the plural of the items."""
        log.info(
            "%d %s to train on, %d to validate on, %d files skipped, %d grey %s left out",
            *(len(self.train), what, len(self.validation), len(self.skipped), self.grey, what),
        )
        for line in self.skipped:
            log.warning("skipped %s", line)
        if len(self.train) + len(self.validation) < FEW:
            log.warning("with fewer than %d %s the figures cannot be compared with those of others", FEW, what)
