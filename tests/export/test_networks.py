"""The graph of every model that colors frame by frame computes what the model computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streamcolor.colorizers.agin import Agin
from streamcolor.colorizers.agin.network import AginNetwork
from streamcolor.colorizers.attention_exemplar import AttentionExemplar
from streamcolor.colorizers.attention_exemplar.network import AttentionExemplarNetwork
from streamcolor.colorizers.cnn import CnnClassifier, ResnetCnn
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork
from streamcolor.colorizers.cnn.resnet import ResnetCnnNetwork
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.prior import ChromaPrior
from streamcolor.colorizers.rgb import color_picture
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.stable import StableColorizer, UnetBasic
from streamcolor.colorizers.stable.network import StableColorizerNetwork, UnetBasicNetwork
from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.network import StylizationNetwork, Switches
from streamcolor.colorizers.unet_gan import AttentionUnetGan, UnetGan
from streamcolor.colorizers.unet_gan.attention import AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import UnetGanNetwork
from streamcolor.errors import CallError
from streamcolor.export.networks import FrameGraph, example, export_network

from scenes import small_prior

# No multiple of anything: padding is in the graph.
SIZE = (45, 70)
# What the sides of a frame are to those of its chroma.
REDUCED = {"chroma-prior": 2}
KINDS: dict[str, Callable[[], FrameWise[Any]]] = {
    "chroma-prior": lambda: ChromaPrior.around(small_prior()),
    "unet-basic": lambda: UnetBasic.around(UnetBasicNetwork().eval()),
    "unet-basic in Lab": lambda: UnetBasic.around(UnetBasicNetwork("lab").eval()),
    "stable-colorizer": lambda: StableColorizer.around(StableColorizerNetwork().eval()),
    "stable-colorizer in Lab": lambda: StableColorizer.around(StableColorizerNetwork("lab").eval()),
    "agin": lambda: Agin.around(AginNetwork(8).eval()),
    "resnet-cnn": lambda: ResnetCnn.around(ResnetCnnNetwork(width=8).eval()),
    "cnn-classifier": lambda: CnnClassifier.around(ClassifierNetwork(width=8, side=64).eval()),
    "unet-gan": lambda: UnetGan.around(UnetGanNetwork(width=8, depth=5).eval()),
    "attention-unet-gan": lambda: AttentionUnetGan.around(AttentionUnetGanNetwork(width=8).eval()),
    "attention-exemplar": lambda: AttentionExemplar.around(AttentionExemplarNetwork(8).eval()),
    "stylization": lambda: Stylization.around(StylizationNetwork(4).eval()),
    "stylization:wct": lambda: Stylization.around(StylizationNetwork(4, Switches(variant="wct")).eval()),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_the_graph_is_the_model(name: str) -> None:
    colorizer = KINDS[name]()
    lightness = torch.rand(1, 1, *SIZE) * 100
    ab = torch.rand(1, 2, *SIZE) * 30 - 15
    reference = Reference(torch.rand(1, 1, *SIZE) * 60 + 20, ab, torch.ones(1, 1, *SIZE))
    guides = [color_picture(reference.lightness, ab)] if colorizer.info.references else []
    made = FrameGraph(colorizer)(lightness, *guides)[0]
    entries = [colorizer.encode(reference)] if colorizer.info.references else []
    assert made.abs().max() > 0.05
    torch.testing.assert_close(made, colorizer.color(lightness, entries).ab, atol=0.05, rtol=0)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", KINDS)
def test_torchscript_agrees(name: str, tmp_path: Path) -> None:
    colorizer = KINDS[name]()
    path, _ = export_network(colorizer, tmp_path, "torchscript", *SIZE)
    given = example(colorizer, *SIZE)
    made = torch.jit.load(str(path))(*given)
    torch.testing.assert_close(made, FrameGraph(colorizer)(*given), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "name", [n if n == "unet-basic" else pytest.param(n, marks=pytest.mark.slow) for n in KINDS if "wct" not in n]
)
def test_onnx_agrees(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    colorizer = KINDS[name]()
    path, description = export_network(colorizer, tmp_path, "onnx", *SIZE)
    given = example(colorizer, *SIZE)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    said = json.loads(description.read_text())["frame"]
    assert [value.name for value in session.get_inputs()] == list(said["inputs"])
    made = session.run(None, {n: t.numpy() for n, t in zip(said["inputs"], given, strict=True)})[0]
    with torch.no_grad():
        np.testing.assert_allclose(made, FrameGraph(colorizer)(*given).numpy(), atol=1e-3 * 110)
    size = [-(-side // REDUCED.get(name, 1)) for side in SIZE]
    assert list(made.shape) == said["outputs"]["ab"] == [1, 2, *size]


def test_what_onnx_cannot_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"ONNX has no eigenvalues .* export it as torchscript"):
        export_network(KINDS["stylization:wct"](), tmp_path, "onnx", *SIZE)
    assert not list(tmp_path.iterdir())
