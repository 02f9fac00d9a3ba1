"""Inception-v3 (Szegedy et al. 2015, 1512.00567) in the variant of the Fréchet Inception Distance.

The network of TensorFlow's 2015-12-05 graph as ported to PyTorch by pytorch-fid: torchvision's names, but averages
that do not count the padding, and a maximum instead of the last average.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from streamcolor.evaluation.backbones import fit, read_state

FILE = "pt_inception-2015-12-05-6726825d.pth"
FEATURES = 2048
SIDE = 299

# A convolution of a branch: name, channels, kernel height and width. Those of stride 2 have no padding.
Conv = tuple[str, int, int, int]


class BasicConv2d(nn.Module):
    """Convolution without bias, batch normalization, ReLU."""

    def __init__(self, channels: int, width: int, kernel: tuple[int, int], stride: int, pad: bool) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, width, h, w)."""
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches over one input, their outputs stacked in order.

    branches: their convolutions; those that begin alike share these. pool: "average" or "maximum" over 3 x 3 before the
    last branch; with ``reduce`` the last convolutions and the pool have stride 2, and the pool no convolution.
    """

    def __init__(self, channels: int, branches: Sequence[Sequence[Conv]], pool: str, *, reduce: bool = False) -> None:
        super().__init__()
        self.pool, self.reduce = pool, reduce
        self.paths = [[name for name, *_ in branch] for branch in branches]
        for branch in branches:
            width = channels
            for place, (name, out, *kernel) in enumerate(branch):
                stride = 2 if reduce and place == len(branch) - 1 else 1
                conv = BasicConv2d(width, out, (kernel[0], kernel[1]), stride, pad=stride == 1)
                self.add_module(name, conv)
                width = out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', h, w)."""
        done: dict[str, Tensor] = {}
        outputs = []
        for path in self.paths:
            y = self._pooled(x) if path == ["branch_pool"] else x
            for name in path:
                y = done[name] = done[name] if name in done else self.get_submodule(name)(y)
            outputs.append(y)
        return torch.cat([*outputs, self._pooled(x)] if self.reduce else outputs, 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.reduce:
            return F.max_pool2d(x, 3, 2)
        if self.pool == "maximum":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _block_a(channels: int, pooled: int) -> Mixed:
    double = [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)]
    five = [("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 5)]
    return Mixed(channels, [[("branch1x1", 64, 1, 1)], five, double, [("branch_pool", pooled, 1, 1)]], "average")


def _block_b(channels: int) -> Mixed:
    double = [("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 3), ("branch3x3dbl_3", 96, 3, 3)]
    return Mixed(channels, [[("branch3x3", 384, 3, 3)], double], "maximum", reduce=True)


def _block_c(channels: int, c: int) -> Mixed:
    seven = [("branch7x7_1", c, 1, 1), ("branch7x7_2", c, 1, 7), ("branch7x7_3", 192, 7, 1)]
    double = [(f"branch7x7dbl_{n}", c, *kernel) for n, kernel in ((1, (1, 1)), (2, (7, 1)), (3, (1, 7)), (4, (7, 1)))]
    double.append(("branch7x7dbl_5", 192, 1, 7))
    return Mixed(channels, [[("branch1x1", 192, 1, 1)], seven, double, [("branch_pool", 192, 1, 1)]], "average")


def _block_d(channels: int) -> Mixed:
    three = [("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 3)]
    seven = [("branch7x7x3_1", 192, 1, 1), ("branch7x7x3_2", 192, 1, 7), ("branch7x7x3_3", 192, 7, 1)]
    return Mixed(channels, [three, [*seven, ("branch7x7x3_4", 192, 3, 3)]], "maximum", reduce=True)


def _block_e(channels: int, pool: str) -> Mixed:
    first = ("branch3x3_1", 384, 1, 1)
    double = [("branch3x3dbl_1", 448, 1, 1), ("branch3x3dbl_2", 384, 3, 3)]
    branches: list[list[Conv]] = [
        [("branch1x1", 320, 1, 1)],
        *([first, ("branch3x3_2a", 384, 1, 3)], [first, ("branch3x3_2b", 384, 3, 1)]),
        *([*double, ("branch3x3dbl_3a", 384, 1, 3)], [*double, ("branch3x3dbl_3b", 384, 3, 1)]),
        [("branch_pool", 192, 1, 1)],
    ]
    return Mixed(channels, branches, pool)


class FidInception(nn.Module):
    """Pictures to the 2048 averages before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, (3, 3), 2, pad=False)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, (3, 3), 1, pad=False)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, (3, 3), 1, pad=True)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, (1, 1), 1, pad=False)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, (3, 3), 1, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _block_a(192, 32), _block_a(256, 64), _block_a(288, 64)
        self.Mixed_6a = _block_b(288)
        self.Mixed_6b, self.Mixed_6c = _block_c(768, 128), _block_c(768, 160)
        self.Mixed_6d, self.Mixed_6e = _block_c(768, 160), _block_c(768, 192)
        self.Mixed_7a = _block_d(768)
        self.Mixed_7b, self.Mixed_7c = _block_e(1280, "average"), _block_e(2048, "maximum")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) R'G'B' in [0, 1], any size (bilinear to 299 x 299), to (N, 2048)."""
        x = 2 * F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False) - 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return torch.as_tensor(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))).mean((2, 3))


def load_inception(path: Path) -> FidInception:
    """The network with the weights of pytorch-fid's file. Raises InputError for another file."""
    network = FidInception()
    fit(network, read_state(path), path, "pytorch-fid's Inception-v3")
    return network
