"""What both color sources look at, and the way back to a picture: the feature extractor and the decoder.

Pictures are (B, C, H, W) with sides that are multiples of 8; lightness is (L* - 50) / 100.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.initialization import kaiming
from streamcolor.colorizers.zhang import feature_blocks, features

STRIDE = 8
"""Sides of a picture are multiples of this."""

WIDTH = 64
"""Channels of the first block at the paper's full size."""


class Features(nn.Module):
    """F: the first six blocks of Zhang et al., "Real-Time User-Guided Image Colorization", for lightness alone."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.b1, self.b2, self.b3, self.b4, self.b5, self.b6 = feature_blocks(1, width)
        kaiming(self)

    def forward(self, lightness: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, H, W) -> six maps with strides of 1, 2, 4, 8, 8, 8 and as many times ``width`` channels."""
        return features((self.b1, self.b2, self.b3, self.b4, self.b5, self.b6), lightness)


def described(features: Sequence[Tensor], lightness: Tensor, grid: tuple[int, int]) -> Tensor:
    """Queries or keys, (B, h w, 31 ``width`` + 1) of length 1: features and lightness at one ``grid`` (h, w)."""
    brought = torch.cat([at_grid(part, grid) for part in (*features, lightness)], 1)
    return F.normalize(brought.flatten(2).transpose(1, 2), dim=-1)


def at_grid(picture: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, C, H, W) at another size (h, w): area means downwards, bilinear upwards."""
    height, width = picture.shape[-2:]
    if (height, width) == grid:
        return picture
    if height % grid[0] == 0 and width % grid[1] == 0:
        # The same as "area" and, other than that, known to ONNX.
        return F.avg_pool2d(picture, (height // grid[0], width // grid[1]))
    if height >= grid[0] and width >= grid[1]:
        return F.interpolate(picture, size=grid, mode="area")
    return F.interpolate(picture, size=grid, mode="bilinear", align_corners=False)


class Convolved(nn.Sequential):
    """3 x 3 convolution without bias, batch normalization, gated linear unit (the blocks of StackGAN++)."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__(
            nn.Conv2d(inward, 2 * outward, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * outward), nn.GLU(dim=1)
        )


class Residual(nn.Module):
    """x + normalized convolution of ``Convolved``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            Convolved(channels, channels),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        result: Tensor = x + self.path(x)
        return result


class Up(nn.Sequential):
    """Twice the size (nearest), then ``Convolved``."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2, mode="nearest"), *Convolved(inward, outward))


class Decoder(nn.Module):
    """From features and the colors that were found to a* and b*; the blocks of StackGAN++ (Zhang et al. 2019)."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        w = width
        self.deep = nn.Sequential(Convolved(8 * w, 4 * w), Residual(4 * w), Residual(4 * w))
        self.up3 = Up(4 * w, 2 * w)
        self.at3 = nn.Sequential(Convolved(6 * w + 2, 2 * w), Residual(2 * w))
        self.up2 = Up(2 * w, w)
        self.at2 = Convolved(3 * w, w)
        self.up1 = Up(w, w // 2)
        self.at1 = Convolved(w // 2 + w + 1, w // 2)
        kaiming(self)
        # With PyTorch's smaller weights, so that training starts near grey.
        self.out = nn.Sequential(nn.Conv2d(w // 2, 2, 3, 1, 1), nn.Tanh())

    def forward(self, features: Sequence[Tensor], lightness: Tensor, colors: Tensor) -> Tensor:
        """colors: c' (B, 2, H / 4, W / 4), a* / 110 and b* / 110. -> (B, 2, H, W) in (-1, 1)."""
        b1, b2, b3, b6 = features[0], features[1], features[2], features[5]
        up = self.at3(torch.cat([self.up3(self.deep(b6)), b3, colors], 1))
        up = self.at2(torch.cat([self.up2(up), b2], 1))
        colored: Tensor = self.out(self.at1(torch.cat([self.up1(up), b1, lightness], 1)))
        return colored
