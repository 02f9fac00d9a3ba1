"""Adaptive group-instance normalization, equations 1 to 3 of Gao et al. 2020.

Printed, gamma and beta are applied twice, within the normalizations and outside; they are applied once here.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["agin", "gn", "in"]

GROUPS = 32
"""Of group normalization (Wu and He 2018); fewer where a group would be a single channel."""


class GroupInstanceNorm(nn.Module):
    """rho * group normalization + (1 - rho) * instance normalization, with a rho of each channel that is learned.

    rho: to start with. norm: ``gn`` and ``in`` fix it at 1 and 0.
    """

    rho: Tensor

    def __init__(self, channels: int, rho: float, norm: Norm = "agin") -> None:
        super().__init__()
        self.groups = min(GROUPS, max(channels // 2, 1))
        if norm == "agin":
            self.rho = nn.Parameter(torch.full((1, channels, 1, 1), rho))
        else:
            self.register_buffer("rho", torch.full((1, channels, 1, 1), float(norm == "gn")))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape, without gamma and beta."""
        return self.rho * F.group_norm(features, self.groups) + (1 - self.rho) * F.instance_norm(features)

    def clip(self) -> None:
        """Equation 3, after a step of the optimizer: rho into [0, 1]."""
        self.rho.clamp_(0, 1)


class AdaptiveNorm(GroupInstanceNorm):
    """AGIN: gamma and beta come from the picture. Starts near instance normalization, as U-GAT-IT does."""

    def __init__(self, channels: int, norm: Norm = "agin") -> None:
        super().__init__(channels, 0.1, norm)

    def forward(self, features: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """(B, C, h, w), with gamma and beta (B, C) -> (B, C, h, w)."""
        normal = super().forward(features)
        if gamma is None or beta is None:
            return normal
        return gamma[..., None, None] * normal + beta[..., None, None]


class LearnedNorm(GroupInstanceNorm):
    """The same with gamma and beta of the layer; starts at group normalization, where U-GAT-IT has that of layers."""

    def __init__(self, channels: int, norm: Norm = "agin") -> None:
        super().__init__(channels, 1.0, norm)
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return self.gamma * super().forward(features) + self.beta
