"""Generator of Gao et al. 2020, "Attentional Colorization Networks with Adaptive Group-Instance Normalization", 3.1.1.

The base is U-GAT-IT's generator (Kim et al. 2020) with four residual blocks on either side, in its light variant, whose
gamma and beta come from the mean over space: the number of weights does not depend on the size of the picture.
Pictures are (B, 3, H, W) R'G'B' in [-1, 1], with sides that are multiples of 4 and at least 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from streamcolor.colorizers.agin.attention import ClassActivation, Pool, heat_map
from streamcolor.colorizers.agin.normalization import AdaptiveNorm, GroupInstanceNorm, LearnedNorm, Norm

STRIDE = 4
"""Sides of a picture are multiples of this."""

LEAST = 8
"""The features of a smaller picture could not be mirrored at their borders."""

BLOCKS = 4


def convolution(inward: int, outward: int, side: int, stride: int = 1) -> list[nn.Module]:
    """Mirrored borders and a convolution without bias."""
    return [nn.ReflectionPad2d(side // 2), nn.Conv2d(inward, outward, side, stride, bias=False)]


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions with instance normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            *convolution(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + cast(Tensor, self.layers(features))


class AdaptiveBlock(nn.Module):
    """x + two 3 x 3 convolutions with adaptive group-instance normalization."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.first = nn.Sequential(*convolution(channels, channels, 3))
        self.first_norm = AdaptiveNorm(channels, norm)
        self.second = nn.Sequential(*convolution(channels, channels, 3))
        self.second_norm = AdaptiveNorm(channels, norm)

    def forward(self, features: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        inner: Tensor = self.first_norm(self.first(features), gamma, beta).relu()
        outer: Tensor = self.second_norm(self.second(inner), gamma, beta)
        return features + outer


class Affine(nn.Module):
    """gamma and beta (B, C) of all adaptive blocks, from features (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [nn.Linear(channels, channels, bias=False) for _ in range(2)]
        self.layers = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())
        self.gamma = nn.Linear(channels, channels, bias=False)
        self.beta = nn.Linear(channels, channels, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        told = self.layers(features.mean((2, 3)))
        return self.gamma(told), self.beta(told)


class AginNetwork(nn.Module):
    """Grey to color, or color to grey: the two generators of the cycle are alike.

    width: of the first layer (64 as published); four times as many channels at the deepest. cam: class activation
    attention. pool: see ``ClassActivation``. norm: in the decoder, ``agin``, or ``gn`` or ``in`` alone.
    """

    def __init__(
        self, width: int = 64, *, cam: bool = True, pool: Pool = "gap+median", norm: Norm = "agin", blocks: int = BLOCKS
    ) -> None:
        super().__init__()
        deepest = 4 * width
        layers = [*convolution(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
        for inward in (width, 2 * width):
            layers += [*convolution(inward, 2 * inward, 3, 2), nn.InstanceNorm2d(2 * inward), nn.ReLU()]
        self.encoder = nn.Sequential(*layers, *(ResidualBlock(deepest) for _ in range(blocks)))
        self.attention = ClassActivation(deepest, nn.ReLU(), pool=pool) if cam else None
        self.affine = Affine(deepest)
        self.decoder = nn.ModuleList(AdaptiveBlock(deepest, norm) for _ in range(blocks))
        layers = []
        for inward in (deepest, 2 * width):
            layers += [nn.Upsample(scale_factor=2), *convolution(inward, inward // 2, 3)]
            layers += [LearnedNorm(inward // 2, norm), nn.ReLU()]
        self.up = nn.Sequential(*layers, *convolution(width, 3, 7), nn.Tanh())

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 3, H, W) in [-1, 1]."""
        return self.explained(picture)[0]

    def explained(self, picture: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """What comes out, the logits (B, 2) of "this is of the domain I start from", and where attention lies.

        The heat map (B, 1, H / 4, W / 4) is unbounded. Without ``cam`` there are no logits.
        """
        features = self.encoder(picture)
        logits = None
        if self.attention is not None:
            features, logits = self.attention(features)
        gamma, beta = self.affine(features)
        decoded = features
        for block in self.decoder:
            decoded = block(decoded, gamma, beta)
        return self.up(decoded), logits, heat_map(features)

    def norms(self) -> list[GroupInstanceNorm]:
        """Every layer that has a rho."""
        return [part for part in self.modules() if isinstance(part, GroupInstanceNorm)]

    @classmethod
    def like(cls, tensors: Mapping[str, Tensor]) -> AginNetwork:
        """A network that weights from a file fit in, whatever they were trained with.

        ``gn`` and ``in`` are a rho of 1 and 0, and pooling matters in training alone; width, blocks and attention show
        in the names and shapes. Where those make no sense it is the published network.
        """
        first = tensors.get("encoder.1.weight")
        width = 64 if first is None or first.ndim != 4 else first.shape[0]
        blocks = len({name.split(".")[1] for name in tensors if name.startswith("decoder.")})
        cam = any(name.startswith("attention.") for name in tensors) or not tensors
        pool: Pool = "gap+median" if "attention.mp_fc.weight" in tensors else "gap"
        return cls(width, cam=cam, pool=pool, blocks=blocks or BLOCKS)
