"""Endless batches by number: what every training set here is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info


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

    def shuffled(self, number: int, count: int, batch: int) -> tuple[int, list[int]]:
        """Epoch of a batch, and which of ``count`` things it holds; the last batch of an epoch may be smaller."""
        epoch, place = divmod(number, -(-count // batch))
        order = np.random.default_rng((self.seed, epoch)).permutation(count)
        return epoch, order[place * batch : (place + 1) * batch].tolist()
