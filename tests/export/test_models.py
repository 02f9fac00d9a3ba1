"""``streamcolor export`` takes every model with a network, and says why it does not take the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from streamcolor.colorizers.stable.network import AutoencoderNetwork, UnetBasicNetwork
from streamcolor.colorizers.stylization.network import StylizationNetwork
from streamcolor.commands import main
from streamcolor.errors import CallError


def saved(network: torch.nn.Module, path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return str(path)


def export(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["export", *words])
    return int(stopped.value.code or 0)


def torchscript(network: torch.nn.Module, model: str, folder: Path, *words: str) -> Path:
    """Where the graphs of a model with these weights are."""
    weights = saved(network, folder / "w.safetensors")
    assert export("torchscript", "--model", model, "--weights", weights, *words, "-o", str(folder / "out")) == 0
    return folder / "out"


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_a_model_that_colors_frame_by_frame(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = torchscript(UnetBasicNetwork().eval(), "unet-basic", tmp_path, "--film", "64x48")
    said = json.loads((folder / "graphs.json").read_text())
    assert said["model"] == "unet-basic"
    height, width = said["frame"]["inputs"]["lightness"][2:]
    made = torch.jit.load(str(folder / said["frame"]["file"]))(torch.rand(1, 1, height, width) * 100)
    assert made.shape == (1, 2, height, width)


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:DeprecationWarning")
def test_the_backbone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = AutoencoderNetwork().eval()
    folder = torchscript(network, "autoencoder", tmp_path, "--film", "96x64", "--size", "64")
    picture = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        made = torch.jit.load(str(folder / "autoencoder.ts"))(picture)
        torch.testing.assert_close(made, network(picture), atol=1e-3, rtol=0)


def test_what_cannot_be_exported_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "out"
    weights = saved(StylizationNetwork(4), tmp_path / "w.safetensors")
    for words, sentence in (
        (["onnx", "--model", "flow"], "flow has no network"),
        (["onnx", "--variant", "wct"], "propagator has no variants"),
        (["onnx", "--model", "stylization", "--variant", "gram"], "no variant 'gram'"),
        (
            ["onnx", "--model", "stylization", "--variant", "wct", "--weights", weights, "--film", "64x48"],
            "torchscript",
        ),
    ):
        assert export(*words, "-o", str(folder)) == CallError.exit_code, words
        assert sentence in capsys.readouterr().err
    assert not folder.exists() or not list(folder.iterdir())
