"""Pictures of two domains, drawn independently of each other, for cycle GANs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from streamcolor.train.ends import Bytes
from streamcolor.train.paired import Pair, PairBatches, as_rgb

ENLARGED = 286 / 256
"""What is cropped is enlarged by this first (Gao et al. 2020, section 4.2)."""


def jittered(picture: Bytes, rng: np.random.Generator) -> Bytes:
    """Enlarged (bicubic), cropped back to its size at a random place, and mirrored every other time: (s, s, 3)."""
    from PIL import Image

    size = picture.shape[0]
    side = round(size * ENLARGED)
    large = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
    top, left = rng.integers(side - size + 1, size=2)
    part = large[top : top + size, left : left + size]
    return np.ascontiguousarray(part[:, ::-1] if rng.random() < 0.5 else part)


class UnpairedBatches(PairBatches):
    """Endless batches of ``film`` and ``color``, both color pictures (B, 3, size, size) in [0, 1], unrelated.

    In an epoch every picture comes once in either, in two orders, jittered. Batch number n is a pure function of
    (seed, n), see ``PairBatches``.
    """

    def __init__(
        self, pictures: Sequence[Pair], batch: int, *, seed: int = 0, start: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(pictures, batch, as_rgb, seed=seed, start=start, rank=rank, world=world)

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        epoch, place = divmod(number, self.epoch)
        drawn = {}
        for domain, name in enumerate(("film", "color")):
            order = np.random.default_rng((self.seed, epoch, domain)).permutation(len(self.pairs))
            chosen = order[place * self.batch : (place + 1) * self.batch]
            rng = np.random.default_rng((self.seed, epoch, domain, place))
            drawn[name] = torch.stack([as_rgb(jittered(self.pairs[n].target, rng)) for n in chosen.tolist()])
        return drawn
