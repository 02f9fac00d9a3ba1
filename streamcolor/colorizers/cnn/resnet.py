"""``resnet-cnn``: Efthymiadis et al., "Deep Learning Image Colorization", section 3.1.

The front of a ResNet-18 (He et al. 2016) down to an eighth of the size, and a decoder back up, after Melas-Kyriazi
2018, whom the paper cites for its figure. The paper says "deconvolutional"; there it is convolution and nearest
enlargement, and so it is here unless ``decoder_kind`` is "deconv".
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.initialization import kaiming

STRIDE = 8
"""Sides of a picture are multiples of this."""

WIDTH = 64
"""Channels after the first layer at the paper's size."""

DecoderKind = Literal["upsample", "deconv"]


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; names as in torchvision's ResNet, so that its files load."""

    def __init__(self, inward: int, outward: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inward, outward, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outward)
        self.conv2 = nn.Conv2d(outward, outward, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outward)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inward, H, W) -> (B, outward, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(inner + self.downsample(x))


class ResnetFront(nn.Module):
    """The first six children of a ResNet-18, for one channel."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width), BasicBlock(width, width))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width))

    def forward(self, film: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 2 width, H / 8, W / 8)."""
        first = F.max_pool2d(F.relu(self.bn1(self.conv1(film))), 3, 2, 1)
        features: Tensor = self.layer2(self.layer1(first))
        return features


def _convolved(inward: int, outward: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inward, outward, 3, 1, 1), nn.BatchNorm2d(outward), nn.ReLU()


def _enlarged(inward: int, outward: int) -> tuple[nn.Module, ...]:
    return nn.ConvTranspose2d(inward, outward, 4, 2, 1), nn.BatchNorm2d(outward), nn.ReLU()


def decoder(kind: DecoderKind, width: int = WIDTH) -> nn.Sequential:
    """(B, 2 width, H / 8, W / 8) -> (B, 2, H, W); without an activation at the end."""
    wide, half = 2 * width, width // 2
    if kind == "deconv":
        return nn.Sequential(
            *_convolved(wide, wide),
            *_enlarged(wide, width),
            *_enlarged(width, half),
            *_enlarged(half, half),
            nn.Conv2d(half, 2, 3, 1, 1),
        )
    return nn.Sequential(
        *(*_convolved(wide, wide), nn.Upsample(scale_factor=2)),
        *(*_convolved(wide, width), nn.Upsample(scale_factor=2)),
        *_convolved(width, half),
        *(nn.Conv2d(half, 2, 3, 1, 1), nn.Upsample(scale_factor=2)),
    )


class ResnetCnnNetwork(nn.Module):
    """Encoder and decoder; at full size 917,666 parameters, with "deconv" 1,005,826."""

    def __init__(self, decoder_kind: DecoderKind = "upsample", width: int = WIDTH) -> None:
        super().__init__()
        self.encoder = ResnetFront(width)
        self.decoder = decoder(decoder_kind, width)
        kaiming(self)

    def forward(self, film: Tensor) -> Tensor:
        """L* / 100 (B, 1, H, W) -> (a* + 128) / 255 and (b* + 128) / 255 (B, 2, H, W), unbounded."""
        colored: Tensor = self.decoder(self.encoder(film))
        return colored
