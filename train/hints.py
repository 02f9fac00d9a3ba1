"""Crops of single pictures, as they are or with hints of their colors, in endless batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from streamcolor.train.batches import NumberedBatches
from streamcolor.train.ends import Bytes
from streamcolor.train.paired import as_lab, as_rgb


class Crops(NumberedBatches):
    """Batches of ``picture`` (B, 3, crop, crop), R'G'B' in [0, 1], in another order in every epoch.

    Batch number n is a pure function of (seed, n), and the last one of an epoch may be smaller. pictures: (H, W, 3)
    uint8, no side below ``crop``. start: batches that every process has seen. rank, world: of a process among those
    that train together.
    """

    def __init__(
        self,
        pictures: Sequence[Bytes],
        batch: int,
        crop: int,
        *,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(seed=seed, start=start, rank=rank, world=world)
        self.pictures = pictures
        self.batch = batch
        self.crop = crop

    @property
    def epoch(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.pictures) // self.batch)

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        rng = np.random.default_rng((self.seed, 1, number))
        _, chosen = self.shuffled(number, len(self.pictures), self.batch)
        return self.made([self._cropped(self.pictures[index], rng) for index in chosen], rng, number)

    def made(self, crops: Sequence[Bytes], rng: np.random.Generator, number: int) -> dict[str, Tensor]:
        """A batch of these crops."""
        return {"picture": torch.stack([as_rgb(crop) for crop in crops])}

    def _cropped(self, picture: Bytes, rng: np.random.Generator) -> Bytes:
        top, left = (int(rng.integers(side - self.crop + 1)) for side in picture.shape[:2])
        return picture[top : top + self.crop, left : left + self.crop]


class HintCrops(Crops):
    """Batches of ``lab`` (see ``paired.as_lab``) and ``mask`` (B, 1, crop, crop): 1 where the colors are known.

    Half of the crops are mirrored. A place is known with a probability that is drawn for every crop, evenly on a
    logarithmic scale from ``sparsest`` to ``densest``; from step ``empty_from`` on nothing is known.
    """

    def __init__(
        self,
        pictures: Sequence[Bytes],
        batch: int,
        crop: int,
        *,
        sparsest: float,
        densest: float,
        empty_from: float = math.inf,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(pictures, batch, crop, seed=seed, start=start, rank=rank, world=world)
        self.sparsest = sparsest
        self.densest = densest
        self.empty_from = empty_from

    def made(self, crops: Sequence[Bytes], rng: np.random.Generator, number: int) -> dict[str, Tensor]:
        """A batch of these crops."""
        turned = [crop[:, ::-1] if rng.random() < 0.5 else crop for crop in crops]
        masks = []
        for _ in crops:
            density = math.exp(rng.uniform(math.log(self.sparsest), math.log(self.densest)))
            masks.append(rng.random((1, self.crop, self.crop), np.float32) < density)
        mask = torch.from_numpy(np.stack(masks)).float()
        if number // self.world >= self.empty_from:
            mask = torch.zeros_like(mask)
        return {"lab": torch.stack([as_lab(np.ascontiguousarray(crop)) for crop in turned]), "mask": mask}
