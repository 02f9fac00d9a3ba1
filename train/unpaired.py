"""Pictures of two domains, drawn independently of each other, for cycle GANs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from streamcolor.train.batches import ShuffledBatches
from streamcolor.train.ends import Bytes
from streamcolor.train.paired import Pair, as_rgb

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


class UnpairedBatches(ShuffledBatches[Pair]):
    """Endless batches of ``film`` and ``color``, both color pictures (B, 3, size, size) in [0, 1], unrelated.

    In an epoch every picture comes once in either, in two orders, jittered.
    """

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        drawn = {}
        for domain, name in enumerate(("film", "color")):
            epoch, chosen = self.shuffled(number, domain)
            rng = np.random.default_rng((self.seed, epoch, domain, number % self.epoch))
            drawn[name] = torch.stack([as_rgb(jittered(self.items[n].target, rng)) for n in chosen])
        return drawn
