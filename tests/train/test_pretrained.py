"""Weights of others come by their names out of files, and files that hold something else are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from streamcolor.colorizers.attention_exemplar.features import Features
from streamcolor.colorizers.cnn.resnet import ResnetFront
from streamcolor.colorizers.stylization.colorization import ColorizationNetwork
from streamcolor.colorizers.stylization.transfer import TransferNetwork
from streamcolor.errors import InputError
from streamcolor.train.pretrained import take_resnet18, take_zhang
from streamcolor.train.vgg19 import PLACES, Vgg19, read_vgg19, take_vgg19

WIDTH = 4


def test_vgg19_is_read_from_torchvisions_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "vgg19.pth"
    torch.manual_seed(0)
    state = Vgg19("relu3_1").state_dict() | {"features.14.weight": torch.zeros(1), "classifier.0.bias": torch.zeros(3)}
    torch.save(state, file)
    network = read_vgg19(file, "relu3_1")
    assert not any(p.requires_grad for p in network.parameters())
    assert torch.equal(network.features[10].weight, state["features.10.weight"])
    seen = network(torch.rand(1, 3, 32, 48))
    assert seen.shape == (1, 256, 8, 12) and seen.min() >= 0
    with pytest.raises(InputError, match=r"vgg19\.pth does not hold the weights of VGG-19"):
        read_vgg19(file, "relu5_1")
    # Places of the ReLU layers among torchvision's features: conv5_1 is the thirteenth convolution, at 28.
    whole = Vgg19("relu5_1").features
    assert isinstance(whole[PLACES["conv5_1"] + 1], torch.nn.ReLU) and len(whole) == 30
    assert [n for n, part in enumerate(whole) if isinstance(part, torch.nn.MaxPool2d)] == [4, 9, 18, 27]
    assert whole[28].weight.shape == (512, 512, 3, 3)


def test_vgg19_comes_by_torchvisions_names(tmp_path: Path) -> None:
    torch.manual_seed(3)
    encoder = TransferNetwork(WIDTH).encoder
    state = {f"features.{PLACES[n]}.{k}": v.detach() for n in encoder for k, v in encoder[n].named_parameters()}
    vgg19 = tmp_path / "vgg19.pth"
    # What lies beyond is not needed.
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, vgg19)
    network = TransferNetwork(WIDTH)
    take_vgg19(network.encoder, vgg19)
    assert torch.equal(network.encoder["conv1_2"].weight, state["features.2.weight"])
    assert torch.equal(network.encoder["conv3_4"].bias, state["features.16.bias"])
    assert torch.equal(network.encoder["conv4_1"].weight, state["features.19.weight"])
    safe = tmp_path / "vgg19.safetensors"
    save_file(state, safe)
    take_vgg19(network.encoder, safe)
    with pytest.raises(InputError, match=r"not hold the weights of VGG-19: it has in shape .* features.0.weight"):
        take_vgg19(TransferNetwork(8).encoder, vgg19)
    del state["features.7.bias"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"it lacks features.7.bias"):
        take_vgg19(network.encoder, tmp_path / "less.pth")


@pytest.mark.parametrize("inward", [1, 4])
def test_the_first_blocks_come_from_zhang(inward: int, tmp_path: Path) -> None:
    """The network of 2016 sees lightness alone: with its weights, hints and mask change nothing at first."""
    torch.manual_seed(5)
    state = {n: v.clone() for n, v in ColorizationNetwork(WIDTH).state_dict().items() if not n.startswith("model10")}
    state["model1.0.weight"] = state["model1.0.weight"][:, :inward].clone()
    state = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "zhang.pth")
    torch.manual_seed(6)
    network = ColorizationNetwork(WIDTH)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    take_zhang(network, tmp_path / "zhang.pth", "model", 4)
    after = network.state_dict()
    moved = {n.partition(".")[0] for n in after if not torch.equal(before[n], after[n])}
    assert moved == {"model1", "model2", "model3", "model4"}
    assert torch.equal(after["model1.0.weight"][:, :inward], state["model1.0.weight"])
    assert (after["model1.0.weight"][:, inward:] == 0).all()
    assert torch.equal(after["model4.6.running_var"], state["model4.6.running_var"])
    del state["model3.2.weight"]
    torch.save(state, tmp_path / "zhang.pth")
    with pytest.raises(InputError, match=r"Zhang et al. 2016 or 2017: it lacks model3.2.weight"):
        take_zhang(network, tmp_path / "zhang.pth", "model", 4)


def test_all_six_blocks_come_from_zhang(tmp_path: Path) -> None:
    features = Features(8)
    tensors = {name.replace("b", "model", 1): torch.randn(value.shape) for name, value in features.state_dict().items()}
    tensors["model1.0.weight"] = torch.randn(8, 4, 3, 3)
    tensors["model7.0.weight"] = torch.randn(3)
    # As in the published file, which does not count batches.
    tensors = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "siggraph17.pth")
    take_zhang(features, tmp_path / "siggraph17.pth", "b", 6)
    assert torch.equal(features.b1[0].weight, tensors["model1.0.weight"][:, :1])
    assert torch.equal(features.b6[6].running_var, tensors["model6.6.running_var"])
    del tensors["model4.2.bias"]
    torch.save(tensors, tmp_path / "siggraph17.pth")
    with pytest.raises(InputError, match=r"siggraph17\.pth does not hold .* model4\.2\.bias"):
        take_zhang(features, tmp_path / "siggraph17.pth", "b", 6)
    torch.save(tensors | {"model4.2.bias": torch.full((64,), torch.nan)}, tmp_path / "siggraph17.pth")
    with pytest.raises(InputError, match=r"it has not finite model4\.2\.bias"):
        take_zhang(features, tmp_path / "siggraph17.pth", "b", 6)


def resnet18(width: int = 8) -> dict[str, torch.Tensor]:
    """Tensors with the names of torchvision's ResNet-18, as far as they matter here, and some that do not."""
    state = {name: torch.rand_like(value.float()) for name, value in ResnetFront(width).state_dict().items()}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert {"bn1.running_var", "layer1.1.conv2.weight", "layer2.0.downsample.1.bias"} < state.keys()
    return state | {
        "conv1.weight": torch.rand(width, 3, 7, 7),
        "layer3.0.conv1.weight": torch.rand(4, 4, 3, 3),
        "fc.weight": torch.rand(10, 4),
    }


def test_a_resnet_18_is_taken_from_a_file(tmp_path: Path) -> None:
    state = resnet18()
    for file in (tmp_path / "resnet18.pth", tmp_path / "resnet18.safetensors"):
        torch.save(state, file) if file.suffix == ".pth" else save_file(state, file)
        front = ResnetFront(8)
        take_resnet18(front, file)
        taken = front.state_dict()
        torch.testing.assert_close(taken["conv1.weight"], state["conv1.weight"].sum(1, keepdim=True))
        assert torch.equal(taken["layer2.0.downsample.0.weight"], state["layer2.0.downsample.0.weight"])
        assert torch.equal(taken["bn1.running_mean"], state["bn1.running_mean"])
        assert all(p.requires_grad for p in front.parameters())
    # Grey in three equal channels gives the same first features.
    film = torch.rand(1, 1, 32, 32)
    colored = F.conv2d(film.expand(-1, 3, -1, -1), state["conv1.weight"], None, 2, 3)
    torch.testing.assert_close(front.conv1(film), colored, atol=1e-4, rtol=1e-4)

    del state["layer2.1.bn2.weight"]
    torch.save(state, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"does not hold the weights of ResNet-18: it lacks layer2\.1\.bn2\.weight"):
        take_resnet18(front, tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match=r"it has in shape \(8, 1, 7, 7\), not \(16, 1, 7, 7\), conv1\.weight"):
        take_resnet18(ResnetFront(16), tmp_path / "resnet18.pth")
    with pytest.raises(InputError, match="there is no file"):
        take_resnet18(front, tmp_path / "none.pth")
