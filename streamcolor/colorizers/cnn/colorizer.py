"""``resnet-cnn`` and ``cnn-classifier`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry
from streamcolor.colorizers.cnn import classifier, resnet
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork, at_side
from streamcolor.colorizers.cnn.resnet import ResnetCnnNetwork
from streamcolor.colorizers.contract import ColorizerInfo, Precision
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.padding import at_multiples
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.frame import Chroma

# The networks say nothing of how sure they are, and nothing guides them.
GUESSED = 0.1


class ResnetCnn(FrameWise[ResnetCnnNetwork]):
    """Colors from what a ResNet-18 front and a decoder have learned; references are accepted and ignored."""

    info = ColorizerInfo(
        id="resnet-cnn",
        references=False,
        size=256,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of ``ResnetCnnNetwork``. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(resnet_for(tensors), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        film = lightness.to(self.device) / 100
        return chroma_from(at_multiples(self.network, film, resnet.STRIDE))


class CnnClassifier(FrameWise[ClassifierNetwork]):
    """Colors from what a network has learned that also learned to name classes; references are accepted and ignored.

    Every frame is colored at 224 x 224, whatever its shape, and its chroma enlarged to the working size.
    """

    info = ColorizerInfo(
        id="cnn-classifier",
        references=False,
        size=224,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of ``ClassifierNetwork``. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(classifier_for(tensors), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        return chroma_from(at_side(self.network, lightness.to(self.device) / 100))


def chroma_from(colored: Tensor) -> Chroma:
    """A network's (a* + 128) / 255 and (b* + 128) / 255, (1, 2, h, w), as chroma."""
    ab = (colored[0].float() * 255 - 128).clamp(-110, 110).cpu()
    return Chroma(ab, torch.full((1, *ab.shape[1:]), GUESSED))


def resnet_for(tensors: Mapping[str, Tensor]) -> ResnetCnnNetwork:
    """A network of the width and decoder that weights were trained with; of the paper's size when they tell neither."""
    kind: resnet.DecoderKind = "deconv" if "decoder.12.weight" in tensors else "upsample"
    return ResnetCnnNetwork(kind, _shape(tensors, "encoder.conv1.weight", (resnet.WIDTH,))[0])


def classifier_for(tensors: Mapping[str, Tensor]) -> ClassifierNetwork:
    """As above; the number of classes and the side of the pictures are those of the weights too."""
    width = _shape(tensors, "low.0.0.weight", (classifier.WIDTH,))[0]
    classes = _shape(tensors, "classification.2.bias", (classifier.CLASSES,))[0]
    connected = _shape(tensors, "whole.connected.0.weight", ())[1:]
    side = isqrt(connected[0] // (8 * width)) * classifier.DEEPEST if connected else classifier.SIDE
    norm: classifier.Norm = "batch" if "low.0.1.weight" in tensors or not tensors else "none"
    return ClassifierNetwork(classes, norm=norm, width=width, side=side)


def _shape(tensors: Mapping[str, Tensor], name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    found = tensors.get(name)
    return otherwise if found is None or not found.ndim else tuple(found.shape)
