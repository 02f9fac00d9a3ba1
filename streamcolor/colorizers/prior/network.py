"""The network of ``chroma-prior``: what color things mostly have, from lightness alone.

A U-shaped network that sees the whole of a small picture. For every cell of 4 x 4 pixels it tells a mean color and how
color goes with lightness within the cell, so that edges finer than a cell keep their sides (as the guided filter of
He, Sun, Tang 2010 does). Trained on the mean it stays pale where things come in many colors, which is what a film
whose colors nobody knows should look like.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.residual import Residual, halve, resize

STRIDE = 4
# Sides of what the network is given are multiples of this.
MULTIPLE = 16
# Bins of a* and of b*, ten units wide, the middle one around grey.
BINS = 21
BIN = 10.0


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels. down: at strides 2, 4, 8, 16, 32; up: at strides 16, 8, 4 on the way back."""

    down: tuple[int, int, int, int, int] = (24, 48, 96, 144, 192)
    up: tuple[int, int, int] = (96, 96, 48)


class PriorNetwork(nn.Module):
    """Lightness (B, 1, h, w), L* / 100 - 0.5, sides multiples of 16 -> (B, 4, h/4, w/4): ab / 110 and its slopes."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        widths = widths or Widths()
        c2, c4, c8, c16, c32 = widths.down
        u16, u8, u4 = widths.up
        self.stage2 = halve(1, c2)
        self.stage4 = nn.Sequential(halve(c2, c4), Residual(c4))
        self.stage8 = nn.Sequential(halve(c4, c8), Residual(c8))
        self.stage16 = nn.Sequential(halve(c8, c16), Residual(c16), Residual(c16))
        self.stage32 = nn.Sequential(halve(c16, c32), Residual(c32))
        self.scene = nn.Linear(c32, c32)
        self.from32, self.from16 = nn.Conv2d(c32, u16, 1), nn.Conv2d(c16, u16, 1)
        self.merge16 = Residual(u16)
        self.to8, self.from8 = nn.Conv2d(u16, u8, 1), nn.Conv2d(c8, u8, 1)
        self.merge8 = Residual(u8)
        self.to4, self.from4 = nn.Conv2d(u8, u4, 1), nn.Conv2d(c4, u4, 1)
        self.merge4 = Residual(u4)
        self.out = nn.Conv2d(u4, 4, 1)
        # Only learned from, see ``train.prior``.
        self.bins = nn.Conv2d(u4, 2 * BINS, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, lightness: Tensor) -> Tensor:
        """See the class."""
        told: Tensor = self.out(self.features(lightness))
        return told

    def features(self, lightness: Tensor) -> Tensor:
        """What colors are told from, (B, c, h/4, w/4)."""
        x4 = self.stage4(self.stage2(lightness))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        x32 = F.relu(x32 + self.scene(x32.mean((2, 3)))[..., None, None])
        y16 = self.merge16(resize(self.from32(x32), x16) + self.from16(x16))
        y8 = self.merge8(resize(self.to8(y16), x8) + self.from8(x8))
        y4: Tensor = self.merge4(resize(self.to4(y8), x4) + self.from4(x4))
        return y4
