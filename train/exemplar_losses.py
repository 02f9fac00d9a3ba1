"""Losses of Yin et al., "Yes, Attention Is All You Need, for Exemplar based Colorization", section 3.3.

Equation 9 is misprinted: its gradient would make fakes look fake. It is that of least squares GANs (Mao et al. 2017).
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-8


def generator_loss(fake: Tensor) -> Tensor:
    """Equation 9 as meant: (D(fake) - 1)^2 / 2, mean over the patches."""
    return (fake - 1).square().mean() / 2


def critic_loss(fake: Tensor, real: Tensor) -> Tensor:
    """Equation 10: D(fake)^2 / 2 + (D(real) - 1)^2 / 2, means over the patches."""
    return fake.square().mean() / 2 + (real - 1).square().mean() / 2


def sparse_loss(gate: Tensor) -> Tensor:
    """Equation 11: entropy in nats of the weights alpha (B, 2, h, w) of the sources, mean over the places."""
    return -(gate * torch.log(gate + _TINY)).sum(1).mean()


def histogram_loss(colored: Tensor, wanted: Tensor) -> Tensor:
    """Of Gray2ColorNet: symmetric chi-square distance of histograms (B, N) with the sum 1; from 0 to 4.

    2 sum_i (h_i - r_i)^2 / (h_i + r_i), mean over the pictures.
    """
    return 2 * ((colored - wanted).square() / (colored + wanted + _TINY)).sum(1).mean()
