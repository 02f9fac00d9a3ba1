"""How well people would like a picture, as a network that others trained guesses; its weights are the user's file.

NIMA (Talebi & Milanfar 2018, "NIMA: Neural Image Assessment", section III) on VGG-16, with the names of its most used
PyTorch implementation. It predicts the votes of AVA, from 1 to 10, as does the network of Hosu et al. 2019 behind the
"aesthetics score" of published tables; the scale is the same, the network is not.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from streamcolor.evaluation.backbones import fit, read_state, vgg16
from streamcolor.evaluation.comparison import Figures, Pair
from streamcolor.evaluation.metrics import Picture

# The weights of that implementation, trained on AVA, under the name they are published by.
FILE = "epoch-82.pth"
SOURCE = "github.com/yunxiaoshi/Neural-IMage-Assessment"
# Neighboring frames are much alike: one in so many is looked at.
EVERY = 8
VOTES = 10
_SHORT_SIDE, _CROP = 256, 224


class Nima(nn.Module):
    """VGG-16 up to its last pooling, and one layer; random until ``load_nima``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = vgg16()
        self.classifier = nn.Sequential(nn.Dropout(0.75), nn.Linear(512 * 7 * 7, VOTES))

    def forward(self, rgb: Tensor) -> Tensor:
        """Shares of the votes 1 to 10, (N, 10), of R'G'B' (N, 3, 224, 224) in [0, 1]."""
        seen = torch.max_pool2d(self.features(rgb), 2).flatten(1)
        shares: Tensor = self.classifier(seen).softmax(1)
        return shares


def load_nima(path: Path) -> Nima:
    """The network with the weights of a file. Raises InputError when it does not hold them."""
    network = Nima()
    fit(network, read_state(path), path, "NIMA on VGG-16")
    return network


def middle(picture: Picture) -> Picture:
    """The middle 224 x 224 of a picture (H, W, 3) whose short side is scaled to 256; nothing is drawn at random."""
    height, width = picture.shape[:2]
    scale = _SHORT_SIDE / min(height, width)
    size = max(round(width * scale), _SHORT_SIDE), max(round(height * scale), _SHORT_SIDE)
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - _CROP) // 2, (size[1] - _CROP) // 2
    return np.asarray(scaled[top : top + _CROP, left : left + _CROP], np.uint8)


def aesthetics(network: Nima, picture: Picture) -> float:
    """The mean vote, from 1 to 10, that a picture (H, W, 3) of any size may expect."""
    device = next(network.parameters()).device
    rgb = torch.from_numpy(np.ascontiguousarray(middle(picture).transpose(2, 0, 1)))[None].to(device)
    with torch.inference_mode():
        shares = network(rgb.float() / 255)[0].double()
    return float((shares * torch.arange(1, VOTES + 1, device=device)).sum())


class AestheticsMeasure:
    """Mean vote for every eighth compared frame: for the output, and for the truth beside it."""

    columns = ("aesthetics", "aesthetics_gt")

    def __init__(self, network: Nima, device: str) -> None:
        self._network = network.to(device)
        self._compared = 0
        self._votes: list[tuple[float, float]] = []

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""
        if not pair.compared:
            return
        if self._compared % EVERY == 0:
            self._votes.append((aesthetics(self._network, pair.output), aesthetics(self._network, pair.truth)))
        self._compared += 1

    def end_clip(self) -> Figures:
        """aesthetics and aesthetics_gt; None for a clip without compared frames."""
        means = np.mean(self._votes, 0).tolist() if self._votes else (None, None)
        self._compared, self._votes = 0, []
        return dict(zip(self.columns, means, strict=True))

    def pooled(self) -> Figures:
        """Nothing: the mean over clips is the figure."""
        return {}
