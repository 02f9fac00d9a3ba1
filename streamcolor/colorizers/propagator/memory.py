"""A picture as the reads of the cache see it: keys, colors, and how these go with lightness.

What attention averages is not the color alone but its moments with lightness. From them follows how color goes with
lightness in the places that were matched, and so the color at the lightness that is here: local linear regression in
place of a local mean (Cleveland 1979; Levin, Lischinski, Weiss 2004 assume the same of a window).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.propagator.encoder import Features

# Channels of ``Memory.moments``.
MOMENTS = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """One picture as the reads see it: keys (B, k, h/s, w/s), values (B, 3, h/4, w/4): ab / 110 and trust in [0, 1].

    light4: (B, 1, h/4, w/4) L* / 100 - 0.5. radius: how far from a query, in cells of stride 8, its cells are looked
    at; 0 means everywhere. moved8: (B, 2, h/8, w/8) how far its places move by themselves and how far that is known, in
    [0, 1] each (see ``Movers``); None where nobody knows. It is not looked at where there is a radius.
    """

    key4: Tensor
    key8: Tensor
    key16: Tensor
    value4: Tensor
    light4: Tensor
    radius: int = 0
    moved8: Tensor | None = None

    @classmethod
    def of(cls, features: Features, ab4: Tensor, trust4: Tensor, radius: int = 0) -> Memory:
        """ab4: (B, 2, h/4, w/4) in units of 110; trust4: (B, 1, h/4, w/4)."""
        values = torch.cat([ab4, trust4], 1)
        return cls(features.key4, features.key8, features.key16, values, features.light4, radius)

    def trust(self, stride: int) -> Tensor:
        """(B, 1, h/s, w/s): the mean of each cell."""
        return F.avg_pool2d(self.value4[:, 2:], stride // 4, ceil_mode=True)

    def moved(self, stride: int) -> Tensor | None:
        """``moved8`` at stride 8 or 16, larger cells by what is known in them."""
        if self.moved8 is None or stride == 8:
            return self.moved8
        known = self.moved8[:, 1:]
        moving, known = (F.avg_pool2d(x, stride // 8, ceil_mode=True) for x in (self.moved8[:, :1] * known, known))
        return torch.cat([moving / known.clamp_min(1e-3), known], 1)

    def moments(self, stride: int) -> Tensor:
        """(B, 8, h/s, w/s) at stride 4, 8 or 16: ab, trust, l, l^2, l ab and |ab|^2 of color and lightness l.

        Larger cells hold the means over what is trusted in them.
        """
        ab, trust, light = self.value4[:, :2], self.value4[:, 2:], self.light4
        squared = ab.square().sum(1, keepdim=True)
        if stride == 4:
            return torch.cat([ab, trust, light, light.square(), light * ab, squared], 1)
        fields = torch.cat([ab, torch.ones_like(light), light, light.square(), light * ab, squared], 1) * trust
        pooled = F.avg_pool2d(fields, stride // 4, ceil_mode=True)
        share = pooled[:, 2:3]
        means = pooled / share.clamp_min(1e-3)
        return torch.cat([means[:, :2], share, means[:, 3:]], 1)


@dataclass(frozen=True, slots=True)
class Regressed:
    """Color at the lightness that is here. ab: (B, 2, ...); gap, deviation: (B, 1, ...).

    gap: difference in lightness from what was matched. deviation: of the colors there from the fitted line.
    """

    ab: Tensor
    gap: Tensor
    deviation: Tensor


def regressed(moments: Tensor, light: Tensor, ridge: Tensor) -> Regressed:
    """Linear regression of color on lightness from moments (B, 8, ...), evaluated at ``light`` (B, 1, ...).

    ridge: () > 0, a variance of lightness below which the slope fades.
    """
    ab, mean = moments[:, :2], moments[:, 3:4]
    variance = (moments[:, 4:5] - mean.square()).clamp_min(0)
    covariance = moments[:, 5:7] - ab * mean
    slope = covariance / (variance + ridge)
    left = moments[:, 7:8] - ab.square().sum(1, keepdim=True) - (slope * covariance).sum(1, keepdim=True)
    gap = light - mean
    return Regressed(ab + slope * gap, gap.abs(), left.clamp_min(1e-6).sqrt())


def tokens(x: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h w, c)."""
    return x.flatten(2).transpose(1, 2)
