"""Crops of single pictures, as they are or with hints of their colors, in endless batches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from streamcolor.train.batches import ShuffledBatches
from streamcolor.train.ends import Bytes
from streamcolor.train.paired import as_lab, as_rgb


class Crops(ShuffledBatches[Bytes]):
    """Batches of ``picture`` (B, 3, crop, crop), R'G'B' in [0, 1].

    pictures: (H, W, 3) uint8, no side below ``crop``.
    """

    def __init__(self, pictures: Sequence[Bytes], batch: int, crop: int, **numbering: int) -> None:
        super().__init__(pictures, batch, **numbering)
        self.crop = crop

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        rng = np.random.default_rng((self.seed, 1, number))
        _, chosen = self.shuffled(number)
        return self.made([self._cropped(self.items[index], rng) for index in chosen], rng, number)

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
        **numbering: int,
    ) -> None:
        super().__init__(pictures, batch, crop, **numbering)
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
