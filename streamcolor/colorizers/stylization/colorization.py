"""The colorization sub-net: a U-Net that spreads hints of color, and without any colors by what it has learned.

Xu et al. 2020, section 3.2: ten blocks and an output, the network of Zhang et al. 2017 ("Real-Time User-Guided Image
Colorization with Learned Deep Priors") without its head for classes. The blocks have the names of the published code,
so that the first four can be taken from it, or from that of Zhang et al. 2016.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.initialization import kaiming
from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.zhang import Block, feature_blocks, features


class ColorizationNetwork(nn.Module):
    """width: channels of the first block, 64 in the paper."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w, w2, w4, w8 = (width * 2**level for level in range(4))
        blocks = feature_blocks(4, width)
        self.model1, self.model2, self.model3, self.model4, self.model5, self.model6 = blocks
        self.model7 = Block(w8, w8, w8, w8)
        self.model8up, self.model3short8 = nn.ConvTranspose2d(w8, w4, 4, 2, 1), nn.Conv2d(w4, w4, 3, padding=1)
        self.model8 = Block(w4, w4, w4, after_relu=True)
        self.model9up, self.model2short9 = nn.ConvTranspose2d(w4, w2, 4, 2, 1), nn.Conv2d(w2, w2, 3, padding=1)
        self.model9 = Block(w2, w2, after_relu=True)
        self.model10up, self.model1short10 = nn.ConvTranspose2d(w2, w2, 4, 2, 1), nn.Conv2d(w, w2, 3, padding=1)
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(w2, w2, 3, padding=1), nn.LeakyReLU(0.2))
        last = nn.Conv2d(w2, 2, 1)
        self.model_out = nn.Sequential(last, nn.Tanh())
        kaiming(self)
        # No ReLU follows.
        nn.init.kaiming_normal_(last.weight, nonlinearity="linear")

    def forward(self, lightness: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
        """Colors (B, 2, H, W): a* / 110 and b* / 110 in [-1, 1]; H and W multiples of 8.

        lightness: (B, 1, H, W), (L* - 50) / 100. ab: (B, 2, H, W), a* / 110 and b* / 110; seen only where ``mask``
        (B, 1, H, W) is 1, elsewhere it is 0.
        """
        blocks = (self.model1, self.model2, self.model3, self.model4, self.model5, self.model6)
        b1, b2, b3, *_, b6 = features(blocks, torch.cat([lightness, ab * mask, mask], 1))
        b8 = self.model8(self.model8up(self.model7(b6)) + self.model3short8(b3))
        b9 = self.model9(self.model9up(b8) + self.model2short9(b2))
        b10 = self.model10(self.model10up(b9) + self.model1short10(b1))
        colors: Tensor = self.model_out(b10)
        return colors


def hint_mask(height: int, width: int, density: float, seed: int = 0) -> Tensor:
    """Where hints are taken, (1, 1, H, W) of 0 and 1: each place with probability ``density``, by seed and size alone.

    So a film that stands still keeps its colors.
    """
    # While a graph is traced, sizes are tensors.
    height, width = int(height), int(width)
    drawn = np.random.default_rng((seed, height, width)).random((height, width), np.float32)
    return torch.from_numpy((drawn < density).astype(np.float32))[None, None]


def hint_loss(colors: Tensor, truth: Tensor, mask: Tensor, weight: float = 10.0) -> Tensor:
    """Equation 2: the Huber loss of (1 + weight M) F(x) and (1 + weight M) y, mean; it bends at one unit of a* or b*.

    colors, truth: (B, 2, H, W), / 110. mask: (B, 1, H, W). The paper's dot is an element-wise product; its delta is
    not given, that of Zhang et al. 2017 is taken.
    """
    heavier = 1 + weight * mask
    return F.smooth_l1_loss(heavier * colors, heavier * truth, beta=1 / AB_SCALE)
