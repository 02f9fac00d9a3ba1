"""``resnet-cnn`` and ``cnn-classifier`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt

from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.cnn import classifier, resnet
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork, at_side
from streamcolor.colorizers.cnn.resnet import ResnetCnnNetwork
from streamcolor.colorizers.padding import at_multiples
from streamcolor.colorizers.stabilization import GUESSED, FrameWise, evenly, frame_wise
from streamcolor.frame import Chroma


class ResnetCnn(FrameWise[ResnetCnnNetwork]):
    """Colors from what a ResNet-18 front and a decoder have learned; references are accepted and ignored."""

    info = frame_wise("resnet-cnn", references=False)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> ResnetCnnNetwork:
        """See ``FrameWise.network_for``."""
        kind: resnet.DecoderKind = "deconv" if "decoder.12.weight" in tensors else "upsample"
        return ResnetCnnNetwork(kind, shape_of(tensors, "encoder.conv1.weight", (resnet.WIDTH,))[0])

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        film = lightness.to(self.device) / 100
        return evenly(ab_of(at_multiples(self.network, film, resnet.STRIDE)), GUESSED)


class CnnClassifier(FrameWise[ClassifierNetwork]):
    """Colors from what a network has learned that also learned to name classes; references are accepted and ignored.

    Every frame is colored at 224 x 224, whatever its shape, and its chroma enlarged to the working size.
    """

    info = frame_wise("cnn-classifier", references=False, size=224)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> ClassifierNetwork:
        """See ``FrameWise.network_for``."""
        width = shape_of(tensors, "low.0.0.weight", (classifier.WIDTH,))[0]
        classes = shape_of(tensors, "classification.2.bias", (classifier.CLASSES,))[0]
        connected = shape_of(tensors, "whole.connected.0.weight", ())[1:]
        side = isqrt(connected[0] // (8 * width)) * classifier.DEEPEST if connected else classifier.SIDE
        norm: classifier.Norm = "batch" if "low.0.1.weight" in tensors or not tensors else "none"
        return ClassifierNetwork(classes, norm=norm, width=width, side=side)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        return evenly(ab_of(at_side(self.network, lightness.to(self.device) / 100)), GUESSED)


def ab_of(signal: Tensor) -> Tensor:
    """A network's (a* + 128) / 255 and (b* + 128) / 255 (1, 2, h, w) as a* and b* (2, h, w)."""
    return signal[0].float() * 255 - 128


def shape_of(tensors: Mapping[str, Tensor], name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a weight, ``otherwise`` where there is none."""
    found = tensors.get(name)
    return otherwise if found is None or not found.ndim else tuple(found.shape)
