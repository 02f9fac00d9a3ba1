"""EfficientNet-Lite0 on grey pictures: what things are, at four strides.

Tan, Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", in the form without squeeze
and excitation and with ReLU6 that runs well on small processors (Google, 2020). Normalization is folded into the
convolutions; the last block and the classifier are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Stage(NamedTuple):
    """Blocks in a row; expansion, kernel, stride of the first, channels, number."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    blocks: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
)
# Stages that end at strides 4, 8, 16 and 32, and the channels that they end with.
TOLD = (1, 2, 4, 5)
CHANNELS = tuple(STAGES[n].channels for n in TOLD)


class Convolution(nn.Conv2d):
    """With ReLU6, if ``active``; padded as TensorFlow pads, more to the right and below where it halves."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
        self.uneven = ((kernel - 2) // 2, (kernel - 1) // 2) if stride == 2 else None
        self.active = active
        # Without normalization, what starts at random must keep its size through fifty layers (He et al. 2015).
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu" if active else "linear")
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        if self.uneven is not None:
            x = F.pad(x, self.uneven * 2)
        x = super().forward(x)
        return F.relu6(x) if self.active else x


class Block(nn.Module):
    """Inverted residual: wider, a convolution per channel, narrower (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = Convolution(inputs, wide, 1) if expansion > 1 else None
        self.depth = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, outputs, 1, active=False)
        self.added = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        wide = x if self.expand is None else self.expand(x)
        y: Tensor = self.project(self.depth(wide))
        return x + y if self.added else y


class Body(nn.Module):
    """Lightness (B, 1, h, w), L* / 100 - 0.5, sides multiples of 32 -> features at strides 4, 8, 16, 32."""

    def __init__(self, narrow: int = 1) -> None:
        """narrow: what every number of channels is divided by."""
        super().__init__()
        inputs = STEM // narrow
        self.stem = Convolution(1, inputs, 3, 2)
        blocks = list[Block]()
        self.ends = list[int]()
        for stage in STAGES:
            for number in range(stage.blocks):
                outputs, stride = stage.channels // narrow, stage.stride if number == 0 else 1
                blocks.append(Block(inputs, outputs, stage.expansion, stage.kernel, stride))
                inputs = outputs
            self.ends.append(len(blocks) - 1)
        self.ends = [self.ends[n] for n in TOLD]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, lightness: Tensor) -> tuple[Tensor, ...]:
        """(B, 24, h/4, w/4), (B, 40, h/8, w/8), (B, 112, h/16, w/16), (B, 192, h/32, w/32); see the class."""
        x = self.stem(lightness)
        told = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.ends:
                told.append(x)
        return tuple(told)
