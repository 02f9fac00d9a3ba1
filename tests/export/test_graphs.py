"""The exported graphs compute what the network computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from streamcolor.colorizers.prior import shipped_network
from streamcolor.colorizers.propagator import Propagator
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.commands import main
from streamcolor.export.graphs import INPUTS, EncoderGraph, StepGraph, example, export_graphs

SIZE = (64, 96)


@pytest.fixture(scope="module")
def colorizer() -> Propagator:
    """Random weights, every tensor moved: zeros that training would fill must not hide a wrong wire."""
    torch.manual_seed(3)
    network = PropagatorNetwork().eval().requires_grad_(False)
    for tensor in network.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.05)
    return Propagator.around(network, shipped_network())


def results(colorizer: Propagator) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    lightness, inputs = example(colorizer, *SIZE)
    with torch.no_grad():
        return list(EncoderGraph(colorizer.network, colorizer.prior)(lightness)), list(
            StepGraph(colorizer.network)(*inputs)
        )


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_torchscript_agrees(colorizer: Propagator, tmp_path: Path) -> None:
    encoder, step, _ = export_graphs(colorizer, tmp_path, "torchscript", *SIZE)
    lightness, inputs = example(colorizer, *SIZE)
    features, colors = results(colorizer)
    for mine, theirs in zip(features, torch.jit.load(str(encoder))(lightness), strict=True):
        torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=0)
    for mine, theirs in zip(colors, torch.jit.load(str(step))(*inputs), strict=True):
        torch.testing.assert_close(theirs, mine, atol=1e-3, rtol=0)


def test_onnx_agrees(colorizer: Propagator, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    encoder, step, description = export_graphs(colorizer, tmp_path, "onnx", *SIZE)
    lightness, inputs = example(colorizer, *SIZE)
    features, colors = results(colorizer)
    said = json.loads(description.read_text())
    for path, names, arguments, mine in (
        (encoder, ("lightness",), (lightness,), features),
        (step, INPUTS, inputs, colors),
    ):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == list(names) == list(said[path.stem]["inputs"])
        theirs = session.run(None, {n: a.numpy() for n, a in zip(names, arguments, strict=True)})
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(b, a.numpy(), atol=1e-3)


def test_what_is_not_a_graph_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cases = (
        (["torchscript", "--model", "flow"], "no graph to export", 2),
        (["tflite"], "choose onnx or torchscript", 2),
        (["onnx", "--film", "1920"], "not a size", 2),
        (["onnx", "--output", "/proc/graphs"], "cannot be made", 4),
    )
    for words, sentence, code in cases:
        with pytest.raises(SystemExit) as end:
            main(["export", *(["--output", str(tmp_path)] if "--output" not in words else []), *words])
        assert end.value.code == code, words
        said = capfd.readouterr().err
        assert sentence in said and said.count("\n") == 1
