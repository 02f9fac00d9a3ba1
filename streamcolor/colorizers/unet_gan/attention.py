"""``attention-unet-gan``: a U-Net whose skips pass through attention gates, as a generator of chroma.

Efthymiadis et al., "Deep Learning Image Colorization", section 3.3.1, after Oktay et al. 2018, "Attention U-Net". The
gating signal is the upsampled output of the level below, as the paper says, not the coarser one of Oktay et al., and so
everything in a gate has one size and its 1 x 1 convolutions have stride 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 64
"""Channels after the first layer at the paper's size."""

STRIDE = 16
"""Sides of a picture are multiples of this."""


class AttentionGate(nn.Module):
    """How much of each place of a skip is let through: equations 4 and 5, without normalization inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        between = channels // 2
        self.of_skip = nn.Conv2d(channels, between, 1, bias=False)
        self.of_gate = nn.Conv2d(channels, between, 1)
        self.psi = nn.Conv2d(between, 1, 1)

    def alpha(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Attention coefficients (B, 1, H, W) in (0, 1), for x and g (B, C, H, W)."""
        return torch.sigmoid(self.psi(torch.relu(self.of_skip(skip) + self.of_gate(gate))))

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """The skip (B, C, H, W), weighted."""
        return skip * self.alpha(skip, gate)


def _convolution(inward: int, outward: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inward, outward, 3, 1, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU()


class DoubleConvolution(nn.Sequential):
    """Two 3 x 3 convolutions that keep the size, each with batch normalization and ReLU."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__(*_convolution(inward, outward), *_convolution(outward, outward))


class Up(nn.Module):
    """Twice the size and half the channels, beside the skip as far as the gate lets it through."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(nn.Upsample(scale_factor=2), *_convolution(2 * channels, channels))
        self.gate = AttentionGate(channels)
        self.merge = DoubleConvolution(2 * channels, channels)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        """(B, 2 C, H / 2, W / 2) and (B, C, H, W) -> (B, C, H, W)."""
        signal = self.enlarge(deep)
        merged: Tensor = self.merge(torch.cat([self.gate(skip, signal), signal], 1))
        return merged


class AttentionUnetGanNetwork(nn.Module):
    """The generator; at full size 34,868,230 parameters, 349,124 of them in the gates. No dropout."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.downs = nn.ModuleList(
            DoubleConvolution(inward, outward) for inward, outward in zip([1, *widths[:-1]], widths, strict=True)
        )
        self.ups = nn.ModuleList(Up(channels) for channels in reversed(widths[:-1]))
        self.pool = nn.MaxPool2d(2)
        self.out = nn.Sequential(nn.Conv2d(width, 2, 1), nn.Tanh())

    def forward(self, film: Tensor) -> Tensor:
        """L* / 50 - 1 (B, 1, H, W) -> a* / 110 and b* / 110 (B, 2, H, W) in (-1, 1)."""
        skips, deep = list[Tensor](), film
        for level, down in enumerate(self.downs):
            deep = down(self.pool(deep) if level else deep)
            skips.append(deep)
        for up, skip in zip(self.ups, reversed(skips[:-1]), strict=True):
            deep = up(deep, skip)
        colored: Tensor = self.out(deep)
        return colored
