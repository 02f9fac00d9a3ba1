"""``unet-gan``: the U-Net of pix2pix as a generator of chroma.

"Baseline UGAN" of Efthymiadis et al., "Deep Learning Image Colorization", is the network of Shariatnia's tutorial, and
that is the U-Net of Isola et al. 2017, section 6.1.1. The noise z of its losses comes in as dropout alone, in training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH, DEPTH = 64, 8
"""Of the paper: channels after the first layer; how often the size is halved."""


class SkipBlock(nn.Module):
    """One level of the U-Net around the next deeper one: half the size, ``inner``, twice the size, beside the input.

    outward: channels of the input and of what is put beside it. inward: channels at half the size. inner: the deeper
    level, which gives twice ``inward`` channels, or None at the bottom.
    """

    def __init__(self, outward: int, inward: int, inner: nn.Module | None, *, dropout: bool = False) -> None:
        super().__init__()
        down: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Conv2d(outward, inward, 4, 2, 1, bias=False)]
        if inner is not None:
            down += [nn.BatchNorm2d(inward), inner]
        deep = inward if inner is None else 2 * inward
        up = [nn.ReLU(), nn.ConvTranspose2d(deep, outward, 4, 2, 1, bias=False), nn.BatchNorm2d(outward)]
        self.layers = nn.Sequential(*down, *up, *([nn.Dropout(0.5)] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        """(B, outward, H, W) -> (B, 2 outward, H, W)."""
        return torch.cat([x, self.layers(x)], 1)


class UnetGanNetwork(nn.Module):
    """The generator; at full size 54,409,858 parameters. Sides of a picture are multiples of ``stride``.

    width: channels after the first layer; they double up to 8 width. depth: how often the size is halved, 5 or more.
    """

    def __init__(self, width: int = WIDTH, depth: int = DEPTH) -> None:
        """Raises ValueError for a depth below 5."""
        super().__init__()
        if depth < 5:
            raise ValueError(f"the U-Net has at least 5 levels, not {depth}")
        self.stride = 2**depth
        inner = SkipBlock(8 * width, 8 * width, None)
        for _ in range(depth - 5):
            inner = SkipBlock(8 * width, 8 * width, inner, dropout=True)
        for factor in (4, 2, 1):
            inner = SkipBlock(factor * width, 2 * factor * width, inner)
        self.down = nn.Conv2d(1, width, 4, 2, 1, bias=False)
        self.inner = inner
        self.up = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, 2, 4, 2, 1), nn.Tanh())

    def forward(self, film: Tensor) -> Tensor:
        """L* / 50 - 1 (B, 1, H, W) -> a* / 110 and b* / 110 (B, 2, H, W) in (-1, 1)."""
        colored: Tensor = self.up(self.inner(self.down(film)))
        return colored
