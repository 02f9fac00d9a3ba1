"""Class activation attention of Gao et al. 2020, section 3.1: an auxiliary classifier says which channels matter.

As in U-GAT-IT (Kim et al. 2020), on which the paper builds, but for median pooling in the place of maximum pooling.
The paper's sum over space is the mean times a number that depends on the size of the picture; it is the mean here, and
the sigmoid is in the loss.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pool = Literal["gap+median", "gap+max", "gap"]


class ClassActivation(nn.Module):
    """Weighs features by what they tell of the class, and mixes the weighted copies to as many channels.

    pool: what the classifiers see: the mean over space and the median, or the maximum, or nothing beside the mean. It
    makes a difference in training alone, for attention takes the weights of the classifiers, not what they say.
    """

    def __init__(self, channels: int, bend: nn.Module, *, pool: Pool = "gap+median") -> None:
        super().__init__()
        self.pool = pool
        self.gap_fc = nn.Linear(channels, 1, bias=False)
        self.mp_fc = None if pool == "gap" else nn.Linear(channels, 1, bias=False)
        copies = 1 if pool == "gap" else 2
        self.mix = nn.Sequential(nn.Conv2d(copies * channels, channels, 1), bend)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> features after attention (B, C, h, w), and logits of the class (B, 2; of ``gap`` B, 1)."""
        flat = features.flatten(2)
        weights = self.gap_fc.weight
        logits = [F.linear(flat.mean(2), weights)]
        copies = [features * weights[..., None, None]]
        if self.mp_fc is not None:
            weights = self.mp_fc.weight
            # The lower of the two in the middle, as torch's median is.
            pooled = flat.median(2).values if self.pool == "gap+median" else flat.amax(2)
            logits.append(F.linear(pooled, weights))
            copies.append(features * weights[..., None, None])
        attended: Tensor = self.mix(torch.cat(copies, 1))
        return attended, torch.cat(logits, 1)


def heat_map(attended: Tensor) -> Tensor:
    """Where attention lies: (B, C, h, w) -> (B, 1, h, w), the sum over channels."""
    return attended.sum(1, keepdim=True)
