"""Lightness to keys and features: what a picture is matched by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.prior.body import CHANNELS
from streamcolor.colorizers.prior.network import Seen
from streamcolor.colorizers.residual import Residual, halve, resize


@dataclass(frozen=True, slots=True)
class Features:
    """What the encoder says of a picture: keys (unit norm over channels), features, and the lightness, by stride.

    claim16: (B, 1, h/16, w/16) in [0, 1], how much a place holds it against one of a reference that another place is
    more like it, see ``Matcher``.
    """

    key4: Tensor
    key8: Tensor
    key16: Tensor
    detail4: Tensor
    context16: Tensor
    light4: Tensor
    claim16: Tensor

    def __getitem__(self, rows: slice) -> Features:
        return Features(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Size:
    """Widths of the network. encoder: channels at strides 2, 4, 8, 16, 32; deeper: more residual blocks at 16, 32.

    keys: channels of the keys at strides 4, 8, 16; sight: those added at strides 8 and 16 for what things are; context:
    of the features at stride 16; fusion: at stride 4, wide: at stride 8 inside it.
    """

    encoder: tuple[int, int, int, int, int]
    deeper: tuple[int, int]
    keys: tuple[int, int, int]
    sight: int
    context: int
    fusion: int
    wide: int


SMALL = Size((16, 32, 64, 96, 128), (2, 3), keys=(32, 64, 32), sight=32, context=64, fusion=48, wide=64)
BIG = Size((32, 64, 128, 192, 256), (3, 4), keys=(64, 128, 64), sight=64, context=128, fusion=96, wide=128)


class Neighborly(nn.Module):
    """Keys that know their neighborhood: unit vectors of every place, then a mixture of those around it.

    Two places match when what lies around them matches too, place by place: neighborhood consensus (Rocco et al. 2018)
    folded into the keys, so that it costs a convolution of each picture instead of one of every pair.
    """

    def __init__(self, inputs: int, local: int, keys: int, side: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(inputs, local, 1)
        self.around = nn.Conv2d(local, keys, side, padding=side // 2, padding_mode="replicate", bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, keys, h, w), unit norm over channels."""
        return F.normalize(self.around(F.normalize(self.local(x), dim=1)), dim=1)


class Sight(nn.Module):
    """What things are, of a network that has learned it from far more pictures, made a part of keys and context.

    Its features at three strides become unit vectors around their means, and mixtures of these parts of the keys: a
    figure that turns looks another way, but stays what it is.
    """

    def __init__(self, keys: int, context: int) -> None:
        super().__init__()
        self.keys, self.context = keys, context
        self.means = nn.ParameterList(torch.zeros(channels) for channels in CHANNELS[1:])
        self.mixtures = nn.ModuleList(
            nn.Conv2d(channels, 2 * keys + context, 1, bias=False) for channels in CHANNELS[1:]
        )
        for mixture in self.mixtures:
            nn.init.zeros_(mixture.weight[2 * keys :])  # type: ignore[index]

    def forward(self, seen: Seen, like8: Tensor, like16: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parts of the keys at strides 8 and 16, (B, keys, ...), and of the context at 16, at the sizes of these."""
        told8, told16 = list[Tensor](), list[Tensor]()
        for x, mean, mixture in zip((seen.at8, seen.at16, seen.at32), self.means, self.mixtures, strict=True):
            mixed = mixture(F.normalize(x - mean[:, None, None], dim=1))
            told8.append(resize(mixed[:, : self.keys], like8))
            told16.append(resize(mixed[:, self.keys :], like16))
        at16 = told16[0] + told16[1] + told16[2]
        return told8[0] + told8[1] + told8[2], at16[:, : self.keys], at16[:, self.keys :]


class Encoder(nn.Module):
    """Lightness to keys and features; strides 2 to 32 and a small top-down path, beside what ``Sight`` adds."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        c2, c4, c8, c16, c32 = size.encoder
        keys4, keys8, keys16 = size.keys
        context = size.context
        self.stage2 = halve(1, c2)
        self.stage4 = nn.Sequential(halve(c2, c4), Residual(c4))
        self.stage8 = nn.Sequential(halve(c4, c8), Residual(c8))
        self.stage16 = nn.Sequential(halve(c8, c16), Residual(c16), *_deeper(c16, size.deeper[0]))
        self.stage32 = nn.Sequential(halve(c16, c32), Residual(c32), *_deeper(c32, size.deeper[1]))
        self.lateral32 = nn.Conv2d(c32, context, 1)
        self.lateral16c = nn.Conv2d(c16, context, 1)
        self.merge16 = Residual(context)
        self.key16 = nn.Conv2d(context, keys16, 1)
        self.lateral16 = nn.Conv2d(c16, c8, 1)
        self.merge8 = nn.Conv2d(c8, c8, 3, 1, 1)
        self.lateral8 = nn.Conv2d(c8, c4, 1)
        self.merge4 = nn.Conv2d(c4, c4, 3, 1, 1)
        self.key8 = Neighborly(c8, keys4, keys8, 5)
        self.key4 = Neighborly(c4, keys4, keys4, 3)
        self.sight = Sight(size.sight, context)
        self.claim = nn.Conv2d(context, 1, 1)
        nn.init.zeros_(self.claim.weight)
        nn.init.zeros_(self.claim.bias)  # type: ignore[arg-type]

    def forward(self, lightness: Tensor, seen: Seen) -> Features:
        """lightness: (B, 1, h, w), L* / 100 - 0.5, h and w multiples of 16; seen: of the same pictures."""
        x4 = self.stage4(self.stage2(lightness))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        context16 = self.merge16(self.lateral16c(x16) + resize(self.lateral32(x32), x16))
        p8 = F.relu(x8 + self.merge8(resize(self.lateral16(x16), x8)), inplace=True)
        p4 = F.relu(x4 + self.merge4(resize(self.lateral8(p8), x4)), inplace=True)
        sight8, sight16, context = self.sight(seen, x8, x16)
        alike16 = F.normalize(self.key16(context16), dim=1)
        context16 = context16 + context
        return Features(
            key4=self.key4(p4),
            key8=F.normalize(torch.cat([self.key8(p8), sight8], 1), dim=1),
            key16=F.normalize(torch.cat([alike16, sight16], 1), dim=1),
            detail4=p4,
            context16=context16,
            light4=F.avg_pool2d(lightness, 4),
            claim16=torch.sigmoid(self.claim(context16)),
        )


def _deeper(channels: int, blocks: int) -> list[Residual]:
    return [Residual(channels, silent=True) for _ in range(blocks)]
