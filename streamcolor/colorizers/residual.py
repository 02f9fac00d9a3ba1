"""Blocks of the networks of our own: residual pairs of convolutions with GroupNorm, halving, resizing, cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3 x 3 convolutions with GroupNorm around an identity; (B, c, h, w) -> the same.

    silent: starts as the identity, so that a trained network can be deepened (Goyal et al. 2017, section 5.1).
    """

    def __init__(self, channels: int, *, silent: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)
        if silent:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(x + self.norm2(self.conv2(y)), inplace=True)


def halve(inputs: int, outputs: int) -> nn.Sequential:
    """Stride-2 convolution; (B, inputs, h, w) -> (B, outputs, ceil(h / 2), ceil(w / 2))."""
    convolution = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, outputs), nn.ReLU(inplace=True))


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the height and width of ``like``.

    With the channels last inside, whatever comes in and goes out: four times as fast on a processor.
    """
    planes = x.is_contiguous()
    last = x.contiguous(memory_format=torch.channels_last)
    resized = F.interpolate(last, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return resized.contiguous() if planes else resized


def laid_out(told: Tensor, lightness: Tensor) -> Tensor:
    """ab (B, 2, h, w) at the size of ``lightness`` (B, 1, h, w) from what is told of cells, (B, 4, h / s, w / s).

    told: mean ab of a cell and its slopes over lightness, as a guided filter has them (He, Sun, Tang 2010).
    """
    mean = F.adaptive_avg_pool2d(lightness, (told.shape[-2], told.shape[-1]))
    up = resize(torch.cat([told, mean], 1), lightness)
    return up[:, :2] + up[:, 2:4] * (lightness - up[:, 4:])
