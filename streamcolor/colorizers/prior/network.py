"""The network of ``chroma-prior``: what color things mostly have, from lightness alone.

It sees the whole of a small picture: ``Body`` says what things are, and on the way back to stride 4 it tells for every
cell of 4 x 4 pixels a mean color and how color goes with lightness within the cell, so that edges finer than a cell
keep their sides (as the guided filter of He, Sun, Tang 2010 does). Trained on the mean it stays pale where things come
in many colors, which is what a film whose colors nobody knows should look like.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from streamcolor.colorizers.prior.body import CHANNELS, Body
from streamcolor.colorizers.residual import Residual, resize

STRIDE = 4
# Sides of what the network is given are multiples of this.
MULTIPLE = 32
# Bins of a* and of b*, ten units wide, the middle one around grey.
BINS = 21
BIN = 10.0


@dataclass(frozen=True, slots=True)
class Widths:
    """narrow: what the channels of the body are divided by. up: channels at strides 16, 8, 4 on the way back."""

    narrow: int = 1
    up: tuple[int, int, int] = (96, 64, 48)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the body says of a picture: features (B, c, h/s, w/s) at four strides s of the size that it was shown."""

    at4: Tensor
    at8: Tensor
    at16: Tensor
    at32: Tensor

    def __getitem__(self, rows: list[int]) -> Seen:
        return Seen(*(getattr(self, name)[rows] for name in self.__slots__))


class PriorNetwork(nn.Module):
    """Lightness (B, 1, h, w), L* / 100 - 0.5, sides multiples of 32 -> (B, 4, h/4, w/4): ab / 110 and its slopes."""

    def __init__(self, widths: Widths | None = None) -> None:
        super().__init__()
        widths = widths or Widths()
        c4, c8, c16, c32 = (channels // widths.narrow for channels in CHANNELS)
        u16, u8, u4 = widths.up
        self.body = Body(widths.narrow)
        self.scene = nn.Linear(c32, u16)
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
        return self.tell(self.see(lightness))

    def see(self, lightness: Tensor) -> Seen:
        """What things are; lightness as in the class."""
        return Seen(*self.body(lightness))

    def tell(self, seen: Seen) -> Tensor:
        """Which color they have, (B, 4, h/4, w/4)."""
        told: Tensor = self.out(self.features(seen))
        return told

    def features(self, seen: Seen) -> Tensor:
        """What colors are told from, (B, c, h/4, w/4)."""
        y32 = self.from32(seen.at32) + self.scene(seen.at32.mean((2, 3)))[..., None, None]
        y16 = self.merge16(resize(y32, seen.at16) + self.from16(seen.at16))
        y8 = self.merge8(resize(self.to8(y16), seen.at8) + self.from8(seen.at8))
        y4: Tensor = self.merge4(resize(self.to4(y8), seen.at4) + self.from4(seen.at4))
        return y4
