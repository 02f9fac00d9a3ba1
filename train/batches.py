"""Endless batches by number: what every training set here is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

Item = TypeVar("Item")


class NumberedBatches(IterableDataset[dict[str, Tensor]]):
    """Batch n is a pure function of (seed, n): a run that is resumed sees what an undisturbed one would have seen.

    start: batches that every process has seen. rank, world: of a process among those that train together; each takes
    its share of the batches.
    """

    def __init__(self, *, seed: int = 0, start: int = 0, rank: int = 0, world: int = 1) -> None:
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        offset, step = (worker.id, worker.num_workers) if worker else (0, 1)
        if worker:
            # The processes of the loader share the processors with training.
            cv2.setNumThreads(1)
            torch.set_num_threads(1)
        index = self.start + offset
        while True:
            yield self.sample(index * self.world + self.rank)
            index += step

    @abstractmethod
    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""


class ShuffledBatches(NumberedBatches, Generic[Item]):
    """Every item comes once in an epoch, in another order in each; the last batch of an epoch may be smaller."""

    def __init__(self, items: Sequence[Item], batch: int, **numbering: int) -> None:
        """batch: items in one. numbering: see ``NumberedBatches``."""
        super().__init__(**numbering)
        self.items = items
        self.batch = batch

    @property
    def epoch(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.items) // self.batch)

    def shuffled(self, number: int, *order: int) -> tuple[int, list[int]]:
        """Epoch of a batch, and the numbers of the items in it. order: by this there are several in an epoch."""
        epoch, place = divmod(number, self.epoch)
        drawn = np.random.default_rng((self.seed, epoch, *order)).permutation(len(self.items))
        return epoch, drawn[place * self.batch : (place + 1) * self.batch].tolist()
