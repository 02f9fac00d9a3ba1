"""``propagator`` as two graphs for hosts without Python: ONNX or TorchScript, of one working size.

``encoder`` looks at a picture, a reference as well as a frame; ``step`` colors a frame from what the encoder said of
it, of one reference, and of the frame before. The host keeps the memories, runs the optical flow and lets unsure colors
lean on ``prior4``, as ``colorizers/propagator/colorizer.py`` does; ``graphs.json`` beside the graphs says what goes in
and out.
"""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.prior.colorizer import look, told
from streamcolor.colorizers.prior.network import PriorNetwork
from streamcolor.colorizers.propagator.colorizer import RECENT_RADIUS, Propagator
from streamcolor.colorizers.propagator.encoder import Features
from streamcolor.colorizers.propagator.memory import Memory
from streamcolor.colorizers.propagator.motion import Motion, carry
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.errors import InputError
from streamcolor.media.atomic import replaced

KEYS = ("key4", "key8", "key16")
FEATURES = (*KEYS, "detail4", "context16", "light4", "claim16")
SEEN = (*FEATURES, "prior4")
MEMORY = (*KEYS, "value4", "light4")
REFERENCE = (*MEMORY, "moved8")
INPUTS = (*SEEN, *(f"reference_{n}" for n in REFERENCE), *(f"before_{n}" for n in MEMORY), "tracked", "flow", "moving8")
MEANING = {
    "lightness": "L* / 100 - 0.5",
    "light4": "the same averaged over 4 x 4",
    "value4": "a* / 110, b* / 110, trust in [0, 1]; of a reference its colors and opacity averaged over 4 x 4",
    "prior4": "a* / 110, b* / 110 of chroma-prior; of no use of a reference",
    "tracked": "colors followed to the reference: a* / 110, b* / 110, belief in [0, 1], |difference of L*| / 100",
    "flow": "to the frame before: x, y in cells of 4 pixels, belief in [0, 1], |difference of L*| / 100; zeros: none",
    "moving8": "how far each place moves by itself, not with the camera, in [0, 1]",
    "moved8": "that of the places of a reference, and how far it is known, in [0, 1] each; zeros: nothing is",
    "ab": "a*, b* at stride 4",
    "trust": "in [0, 1]",
}


class EncoderGraph(nn.Module):
    """(1, 1, h, w) lightness -> ``SEEN``."""

    def __init__(self, network: PropagatorNetwork, prior: PriorNetwork) -> None:
        super().__init__()
        self.network = network
        self.prior = prior

    def forward(self, lightness: Tensor) -> tuple[Tensor, ...]:
        seen = look(self.prior, lightness)
        features = self.network.encoder(lightness, seen)
        prior4 = told(self.prior, seen, features.light4)
        return (*(getattr(features, name) for name in FEATURES), prior4)


class StepGraph(nn.Module):
    """``INPUTS`` -> ab (1, 2, h/4, w/4) and trust (1, 1, h/4, w/4)."""

    def __init__(self, network: PropagatorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(INPUTS, inputs, strict=True))
        query = Features(**{name: given[name] for name in FEATURES})
        reference = Memory(**{name: given[f"reference_{name}"] for name in REFERENCE})  # type: ignore[arg-type]
        before = Memory(**{name: given[f"before_{name}"] for name in MEMORY})  # type: ignore[arg-type]
        motion = Motion(given["tracked"], carry(before.value4, given["flow"]))
        recent = [replace(before, radius=RECENT_RADIUS)]
        output = self.network(query, [reference], recent, motion, given["prior4"], given["moving8"])
        return output.ab4 * AB_SCALE, torch.sigmoid(output.trust_logit4)


def example(colorizer: Propagator, height: int, width: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Inputs of the two graphs, as random as a test wants them."""
    rng = torch.Generator().manual_seed(0)

    def cells(channels: int, stride: int = 4) -> Tensor:
        return torch.rand(1, channels, height // stride, width // stride, generator=rng)

    lightness = torch.rand(1, 1, height, width, generator=rng) - 0.5
    with torch.no_grad():
        seen = EncoderGraph(colorizer.network, colorizer.prior)(lightness)
    light4 = seen[SEEN.index("light4")]
    memory = (*seen[: len(KEYS)], cells(3), light4)
    motion = (cells(Motion.TRACKED), cells(4) - 0.5, cells(1, 8))
    return lightness, (*seen, *memory, cells(2, 8), *memory, *motion)


def export_graphs(colorizer: Propagator, folder: Path, kind: str, height: int, width: int) -> list[Path]:
    """Write ``encoder`` and ``step`` (``.onnx`` or ``.ts``) and ``graphs.json``; the files.

    height, width: working size, multiples of 16. kind: ``onnx`` (opset 18 or later) or ``torchscript``. Raises
    InputError where the exporter is not installed, OutputError where the folder cannot be written.
    """
    network = colorizer.network
    lightness, inputs = example(colorizer, height, width)
    graphs = (
        ("encoder", EncoderGraph(network, colorizer.prior).eval(), (lightness,), ("lightness",), SEEN),
        ("step", StepGraph(network).eval(), inputs, INPUTS, ("ab", "trust")),
    )
    description = {}
    written = []
    for name, module, arguments, ins, outs in graphs:
        path = folder / f"{name}.{'onnx' if kind == 'onnx' else 'ts'}"
        description[name] = write_graph(module, arguments, ins, outs, path)
        written.append(path)
    with replaced(folder / "graphs.json") as part:
        part.write_text(json.dumps({"model": colorizer.info.id, **description, "meaning": MEANING}, indent=1))
    return [*written, folder / "graphs.json"]


def write_graph(
    module: nn.Module, arguments: tuple[Tensor, ...], ins: tuple[str, ...], outs: tuple[str, ...], path: Path
) -> dict[str, object]:
    """Write a graph, ``.onnx`` or ``.ts`` by its name; its file and the shapes of what goes in and out."""
    with replaced(path) as part:
        if path.suffix == ".onnx":
            _onnx(module, arguments, ins, outs, part)
        else:
            _torchscript(module, arguments, part)
    with torch.no_grad():
        results = module(*arguments)
    results = (results,) if isinstance(results, Tensor) else results
    return {
        "file": path.name,
        "inputs": {n: list(t.shape) for n, t in zip(ins, arguments, strict=True)},
        "outputs": {n: list(t.shape) for n, t in zip(outs, results, strict=True)},
    }


def _torchscript(module: nn.Module, arguments: tuple[Tensor, ...], path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        # A trace is of one size; that is what the graphs are for, and graphs.json says which.
        warnings.simplefilter("ignore")
        torch.jit.trace(module, arguments, check_trace=False).save(str(path))  # type: ignore[no-untyped-call]


def _onnx(
    module: nn.Module, arguments: tuple[Tensor, ...], ins: tuple[str, ...], outs: tuple[str, ...], path: Path
) -> None:
    try:
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError("ONNX export needs onnxscript: pip install onnx onnxscript") from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, arguments, dynamo=True, verbose=False, input_names=list(ins), output_names=list(outs)
        )
    assert program is not None
    program.save(str(path))
