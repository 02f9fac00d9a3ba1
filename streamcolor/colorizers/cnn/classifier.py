"""``cnn-classifier``: Efthymiadis et al., "Deep Learning Image Colorization", section 3.2.

What a picture shows, learned by naming its class, is fused into what its parts look like. The widths are those of
Iizuka et al. 2016, whom the paper follows; they agree with every shape that it prints ("521 channels" is 512). Batch
normalization, on which the paper is silent, is Iizuka's.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.initialization import kaiming

WIDTH, SIDE, CLASSES = 64, 224, 27
"""Of the paper: channels after the first layer, pixels of a square picture, classes of the training pictures."""

DEEPEST = 32
"""Sides of a picture are multiples of this: so much smaller is the picture before the fully connected layers."""

Norm = Literal["batch", "none"]


def layer(inward: int, outward: int, stride: int = 1, *, norm: Norm, kernel: int = 3) -> nn.Sequential:
    """Convolution that keeps the size (or divides it by ``stride``), normalization, ReLU."""
    normalization: nn.Module = nn.BatchNorm2d(outward) if norm == "batch" else nn.Identity()
    return nn.Sequential(nn.Conv2d(inward, outward, kernel, stride, kernel // 2), normalization, nn.ReLU())


class GlobalFeatures(nn.Module):
    """One vector for the whole picture: four convolutions and two fully connected layers."""

    def __init__(self, width: int, side: int, norm: Norm) -> None:
        super().__init__()
        wide = 8 * width
        self.convolutions = nn.Sequential(
            layer(wide, wide, 2, norm=norm),
            layer(wide, wide, norm=norm),
            layer(wide, wide, 2, norm=norm),
            layer(wide, wide, norm=norm),
        )
        self.connected = nn.Sequential(
            nn.Linear(wide * (side // DEEPEST) ** 2, 2 * wide), nn.ReLU(), nn.Linear(2 * wide, wide), nn.ReLU()
        )

    def forward(self, low: Tensor) -> Tensor:
        """(B, 8 width, side / 8, side / 8) -> (B, 8 width)."""
        vector: Tensor = self.connected(self.convolutions(low).flatten(1))
        return vector


class ClassifierNetwork(nn.Module):
    """Six sub-networks; at full size 42,317,501 parameters, without normalization 42,308,093.

    classes: 1 for a set without classes. width: channels after the first layer. side: of the square pictures.
    The error of the classification reaches the low-level, global and classification networks and no others, because the
    classification hangs on the second fully connected layer (section 3.2.3); nothing is detached.
    """

    def __init__(self, classes: int = CLASSES, *, norm: Norm = "batch", width: int = WIDTH, side: int = SIDE) -> None:
        """Raises ValueError for a side that is no multiple of 32."""
        super().__init__()
        if side % DEEPEST:
            raise ValueError(f"a side of {side} is no multiple of {DEEPEST}")
        self.side = side
        two, four, eight = 2 * width, 4 * width, 8 * width
        self.low = nn.Sequential(
            layer(1, width, 2, norm=norm),
            layer(width, two, norm=norm),
            layer(two, two, 2, norm=norm),
            layer(two, four, norm=norm),
            layer(four, four, 2, norm=norm),
            layer(four, eight, norm=norm),
        )
        self.mid = nn.Sequential(layer(eight, eight, norm=norm), layer(eight, four, norm=norm))
        self.whole = GlobalFeatures(width, side, norm)
        self.whole_to_fusion = nn.Sequential(nn.Linear(eight, four), nn.ReLU())
        self.classification = nn.Sequential(nn.Linear(eight, four), nn.ReLU(), nn.Linear(four, classes))
        self.fusion = layer(eight, four, norm=norm, kernel=1)
        self.colorization = nn.Sequential(
            *(layer(four, two, norm=norm), nn.Upsample(scale_factor=2)),
            *(layer(two, width, norm=norm), layer(width, width, norm=norm), nn.Upsample(scale_factor=2)),
            *(layer(width, width // 2, norm=norm), nn.Conv2d(width // 2, 2, 3, 1, 1), nn.Sigmoid()),
            nn.Upsample(scale_factor=2),
        )
        kaiming(self)

    def forward(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """L* / 100 (B, 1, side, side) -> colors and classes.

        colors: (a* + 128) / 255 and (b* + 128) / 255, (B, 2, side, side) in [0, 1]. classes: logits (B, classes).
        """
        low = self.low(film)
        mid, whole = self.mid(low), self.whole(low)
        everywhere = self.whole_to_fusion(whole)[..., None, None].expand(-1, -1, *mid.shape[-2:])
        fused = self.fusion(torch.cat([mid, everywhere], 1))
        return self.colorization(fused), self.classification(whole)


def at_side(network: ClassifierNetwork, film: Tensor) -> Tensor:
    """Colors (B, 2, H, W) for L* / 100 (B, 1, H, W) of any size: colored at the network's own, and enlarged."""
    size = film.shape[-2:]
    square = (network.side, network.side)
    if size != square:
        film = F.interpolate(film, size=square, mode="bilinear", align_corners=False, antialias=True)
    colored, _ = network(film)
    return F.interpolate(colored, size=size, mode="bilinear", align_corners=False) if size != square else colored
