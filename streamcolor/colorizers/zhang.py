"""The feature blocks of Zhang et al. 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors".

Those of Zhang, Isola & Efros 2016, "Colorful Image Colorization", are the same up to the fourth.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class Block(nn.Sequential):
    """3 x 3 convolutions, each with ReLU, then batch normalization; ``after_relu``: begins with one, on a sum."""

    def __init__(self, *widths: int, dilation: int = 1, after_relu: bool = False) -> None:
        layers: list[nn.Module] = [nn.ReLU()] if after_relu else []
        for inward, outward in pairwise(widths):
            layers += [nn.Conv2d(inward, outward, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        super().__init__(*layers, nn.BatchNorm2d(widths[-1]))


def feature_blocks(inward: int, width: int) -> tuple[Block, Block, Block, Block, Block, Block]:
    """The first six, for pictures of ``inward`` channels; ``width``: channels of the first, 64 as published."""
    w, w2, w4, w8 = width, 2 * width, 4 * width, 8 * width
    return (
        Block(inward, w, w),
        Block(w, w2, w2),
        Block(w2, w4, w4, w4),
        Block(w4, w8, w8, w8),
        Block(w8, w8, w8, w8, dilation=2),
        Block(w8, w8, w8, w8, dilation=2),
    )


def features(blocks: Sequence[nn.Module], picture: Tensor) -> tuple[Tensor, ...]:
    """What each of the six sees: with strides of 1, 2, 4, 8, 8, 8; the sides of the picture are multiples of 8."""
    seen: list[Tensor] = []
    for number, block in enumerate(blocks):
        # The second, third and fourth see every other row and column of the one before.
        before = seen[-1] if seen else picture
        seen.append(block(before[:, :, ::2, ::2] if number in (1, 2, 3) else before))
    return tuple(seen)
