"""VGG-19 as a judge of pictures: what its first layers see, with torchvision's weights from a file the user names."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from streamcolor.evaluation.backbones import fit, read_state

# Places of ReLU layers among torchvision's ``features``.
LAYERS = {"relu3_1": 11, "relu4_1": 20, "relu5_1": 29}

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Vgg19(nn.Module):
    """VGG-19 (Simonyan & Zisserman 2014, configuration E) up to a layer of ``LAYERS``; random until ``read_vgg19``."""

    def __init__(self, layer: str = "relu5_1") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, (width, count) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 1))):
            layers += [nn.MaxPool2d(2)] if number else []
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers[: LAYERS[layer] + 1])

    def forward(self, rgb: Tensor) -> Tensor:
        """R'G'B' in [0, 1] (B, 3, H, W) -> features (B, C, h, w); the statistics of ImageNet are taken off first."""
        mean, std = (rgb.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        seen: Tensor = self.features((rgb - mean) / std)
        return seen


def read_vgg19(path: Path, layer: str = "relu5_1") -> Vgg19:
    """The network with torchvision's weights, frozen. Raises InputError when the file does not hold them."""
    network = Vgg19(layer)
    fit(network, read_state(path), path, "VGG-19 with torchvision's names")
    return network
