"""VGG-19 (Simonyan & Zisserman 2014, configuration E), with torchvision's weights from a file that the user names."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from torch import Tensor, nn

from streamcolor.train.pretrained import read_tensors, take

# Channels and convolutions of each level; a level ends with pooling.
_LEVELS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
_LAYERS = list(chain(*([*(f"conv{n}_{m}" for m in range(1, c + 1)), "pool"] for n, (_, c) in enumerate(_LEVELS, 1))))

PLACES = {
    name: number + sum(layer != "pool" for layer in _LAYERS[:number])
    for number, name in enumerate(_LAYERS)
    if name != "pool"
}
"""Of the convolutions by name among torchvision's ``features``; each is followed by its ReLU."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg19(nn.Module):
    """Up to the ReLU ``layer``, as a judge of pictures; random until ``read_vgg19``."""

    def __init__(self, layer: str = "relu5_1") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, count in _LEVELS:
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[: PLACES[layer.replace("relu", "conv")] + 2])

    def forward(self, rgb: Tensor) -> Tensor:
        """R'G'B' in [0, 1] (B, 3, H, W) -> features (B, C, h, w); the statistics of ImageNet are taken off first."""
        mean, std = (rgb.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        seen: Tensor = self.features((rgb - mean) / std)
        return seen


def read_vgg19(path: Path, layer: str = "relu5_1") -> Vgg19:
    """The judge with the weights of a file, frozen. Raises InputError when the file does not hold them."""
    network = Vgg19(layer)
    take(network, {name: name for name in network.state_dict()}, read_tensors(path, "VGG-19"), path, "VGG-19")
    return network.eval().requires_grad_(False)


def take_vgg19(encoder: nn.ModuleDict, path: Path) -> None:
    """Put the weights of a file into convolutions called ``conv1_1`` and so on. Raises InputError as above."""
    theirs = {f"{layer}.{kind}": f"features.{PLACES[layer]}.{kind}" for layer in encoder for kind in ("weight", "bias")}
    take(encoder, theirs, read_tensors(path, "VGG-19"), path, "VGG-19")
