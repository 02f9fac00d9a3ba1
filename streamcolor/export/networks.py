"""A model that colors every frame for itself as one graph for hosts without Python: ONNX or TorchScript, of one size.

``frame`` takes the film's L* and, if references guide the model, one reference as R'G'B', and gives a* and b*; what
``colorizer.py`` of the model does in between is in the graph. The host enlarges the chroma and, if it wants to,
steadies it along the motion; ``graphs.json`` beside the graph says what goes in and out.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from streamcolor.color.convert import SRGB
from streamcolor.color.standards import luma_coefficients
from streamcolor.colorizers.agin import Agin
from streamcolor.colorizers.agin.network import LEAST
from streamcolor.colorizers.agin.network import STRIDE as AGIN_STRIDE
from streamcolor.colorizers.attention_exemplar import AttentionExemplar
from streamcolor.colorizers.attention_exemplar.bins import soft_histogram
from streamcolor.colorizers.attention_exemplar.features import STRIDE as EXEMPLAR_STRIDE
from streamcolor.colorizers.attention_exemplar.network import AB
from streamcolor.colorizers.cnn import CnnClassifier, ResnetCnn
from streamcolor.colorizers.cnn.classifier import at_side
from streamcolor.colorizers.cnn.resnet import STRIDE as CNN_STRIDE
from streamcolor.colorizers.lab import rgb_to_lab
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.prior import ChromaPrior
from streamcolor.colorizers.prior.colorizer import colored
from streamcolor.colorizers.rgb import grey_picture
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.stable import StableColorizer, UnetBasic
from streamcolor.colorizers.stable.network import STRIDE as STABLE_STRIDE
from streamcolor.colorizers.stable.network import AutoencoderNetwork
from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.colorizer import multiple_for
from streamcolor.colorizers.unet_gan import AttentionUnetGan, UnetGan
from streamcolor.colorizers.unet_gan.attention import STRIDE as GATED_STRIDE
from streamcolor.errors import CallError
from streamcolor.export.graphs import write_graph
from streamcolor.media.atomic import replaced

MEANING = {
    "lightness": "L* of the film",
    "reference": "R'G'B' in [0, 1]",
    "ab": "a*, b*",
    "picture": "R'G'B' in [0, 1]",
    "rebuilt": "R'G'B', not clipped",
}


class FrameGraph(nn.Module):
    """(1, 1, h, w) L* and, of a model with references, (1, 3, h, w) R'G'B' -> (1, 2, h, w) a* and b*.

    Those of ``chroma-prior`` have half the height and width, rounded up.
    """

    def __init__(self, colorizer: FrameWise[Any]) -> None:
        """Raises CallError for a model that is not known here."""
        super().__init__()
        self.network: nn.Module = colorizer.network
        for kind, way in _WAYS:
            if isinstance(colorizer, kind):
                self.way = way
                return
        raise CallError(f"{colorizer.info.id} has no graph to export")

    def forward(self, *pictures: Tensor) -> Tensor:
        return self.way(self.network, *pictures).clamp(-AB, AB)


def parts_of(reference: Tensor) -> tuple[Tensor, Tensor]:
    """R'G'B' (B, 3, h, w) -> L* of its luma (B, 1, h, w), as a film of it would have it, and a*, b* (B, 2, h, w)."""
    kr, kb = luma_coefficients(SRGB.matrix)
    red, green, blue = reference[:, :1], reference[:, 1:2], reference[:, 2:]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    return rgb_to_lab(luma.expand(-1, 3, -1, -1))[:, :1], rgb_to_lab(reference)[:, 1:]


def _prior(network: Any, lightness: Tensor) -> Tensor:
    return colored(network, lightness)


def _unet_basic(network: Any, lightness: Tensor) -> Tensor:
    return _of_stable(network, at_multiples(network, _film(network, lightness), STABLE_STRIDE))


def _stable(network: Any, lightness: Tensor, reference: Tensor) -> Tensor:
    if network.space == "lab":
        own, ab = parts_of(reference)
        reference = torch.cat([own / 100, ab / AB], 1)
    tokens = network.tokens(padded(reference, STABLE_STRIDE))
    colored = at_multiples(partial(network.color, tokens=tokens), _film(network, lightness), STABLE_STRIDE)
    return _of_stable(network, colored)


def _film(network: Any, lightness: Tensor) -> Tensor:
    return lightness / 100 if network.space == "lab" else grey_picture(lightness)


def _of_stable(network: Any, colored: Tensor) -> Tensor:
    return colored * AB if network.space == "lab" else rgb_to_lab(colored)[:, 1:]


def _agin(network: nn.Module, lightness: Tensor) -> Tensor:
    multiple = AGIN_STRIDE if min(lightness.shape[-2:]) >= LEAST else LEAST
    return rgb_to_lab((at_multiples(network, grey_picture(lightness) * 2 - 1, multiple) + 1) / 2)[:, 1:]


def _resnet_cnn(network: nn.Module, lightness: Tensor) -> Tensor:
    return at_multiples(network, lightness / 100, CNN_STRIDE) * 255 - 128


def _cnn_classifier(network: Any, lightness: Tensor) -> Tensor:
    return at_side(network, lightness / 100) * 255 - 128


def _unet_gan(network: Any, lightness: Tensor) -> Tensor:
    return at_multiples(network, lightness / 50 - 1, network.stride) * AB


def _attention_unet_gan(network: nn.Module, lightness: Tensor) -> Tensor:
    return at_multiples(network, lightness / 50 - 1, GATED_STRIDE) * AB


def _attention_exemplar(network: Any, lightness: Tensor, reference: Tensor) -> Tensor:
    own, ab = (padded(part, EXEMPLAR_STRIDE) for part in parts_of(reference))
    tokens = network.tokens((own - 50) / 100, ab / AB)
    histogram = soft_histogram(ab, network.database.centers)

    def colored(film: Tensor) -> Tensor:
        made: Tensor = network.color(film, *tokens, histogram).ab
        return made

    return at_multiples(colored, (lightness - 50) / 100, EXEMPLAR_STRIDE) * AB


def _stylization(network: Any, lightness: Tensor, reference: Tensor) -> Tensor:
    style = network.transfer.style(padded(reference, multiple_for(reference)), network.switches.variant)
    return at_multiples(partial(network.color, style=style), lightness, multiple_for(lightness))


_WAYS = (
    (ChromaPrior, _prior),
    (UnetBasic, _unet_basic),
    (StableColorizer, _stable),
    (Agin, _agin),
    (ResnetCnn, _resnet_cnn),
    (CnnClassifier, _cnn_classifier),
    (UnetGan, _unet_gan),
    (AttentionUnetGan, _attention_unet_gan),
    (AttentionExemplar, _attention_exemplar),
    (Stylization, _stylization),
)


def export_autoencoder(weights: Path, folder: Path, kind: str, height: int, width: int) -> list[Path]:
    """Write ``autoencoder.onnx`` or ``.ts``, R'G'B' (1, 3, h, w) to the same, and ``graphs.json``.

    height, width: multiples of 16. Raises as ``export_network`` does, and InputError for weights that do not fit.
    """
    network = loaded(AutoencoderNetwork(), read_weights(weights, "autoencoder"), weights, "autoencoder")
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    path = folder / f"autoencoder.{'onnx' if kind == 'onnx' else 'ts'}"
    description = write_graph(network, (picture,), ("picture",), ("rebuilt",), path)
    with replaced(folder / "graphs.json") as part:
        part.write_text(json.dumps({"model": "autoencoder", "autoencoder": description, "meaning": MEANING}, indent=1))
    return [path, folder / "graphs.json"]


def example(colorizer: FrameWise[Any], height: int, width: int) -> tuple[Tensor, ...]:
    """Inputs of the graph, as random as a test wants them."""
    rng = torch.Generator().manual_seed(0)
    pictures = [torch.rand(1, 1, height, width, generator=rng) * 100]
    if colorizer.info.references:
        pictures.append(torch.rand(1, 3, height, width, generator=rng))
    return tuple(pictures)


def export_network(colorizer: FrameWise[Any], folder: Path, kind: str, height: int, width: int) -> list[Path]:
    """Write ``frame.onnx`` or ``frame.ts`` and ``graphs.json``; the files.

    height, width: working size. kind: ``onnx`` (opset 18 or later) or ``torchscript``. Raises CallError for what ONNX
    cannot say, InputError where the exporter is not installed, OutputError where the folder cannot be written.
    """
    if kind == "onnx" and isinstance(colorizer, Stylization) and colorizer.network.switches.variant == "wct":
        raise CallError("ONNX has no eigenvalues of matrices, which stylization:wct needs: export it as torchscript")
    arguments = example(colorizer, height, width)
    names = ("lightness", "reference")[: len(arguments)]
    path = folder / f"frame.{'onnx' if kind == 'onnx' else 'ts'}"
    description = write_graph(FrameGraph(colorizer).eval(), arguments, names, ("ab",), path)
    with replaced(folder / "graphs.json") as part:
        part.write_text(json.dumps({"model": colorizer.info.id, "frame": description, "meaning": MEANING}, indent=1))
    return [path, folder / "graphs.json"]
