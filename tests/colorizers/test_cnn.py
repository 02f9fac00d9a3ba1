"""The two convolutional networks: their sizes, where gradients go, the units of their colors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from streamcolor.colorizers.cnn import CnnClassifier, ResnetCnn
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork
from streamcolor.colorizers.cnn.resnet import ResnetCnnNetwork, ResnetFront
from streamcolor.colorizers.stabilization import FrameWise

from scenes import pictures

KINDS = {"resnet-cnn": ResnetCnn, "cnn-classifier": CnnClassifier}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def unsettled(network: nn.Module) -> nn.Module:
    """With batch statistics as after training, not those of the first moment."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


def small(model_id: str) -> nn.Module:
    made = ResnetCnnNetwork(width=8) if model_id == "resnet-cnn" else ClassifierNetwork(5, width=8, side=64)
    return unsettled(made)


def colorizer(model_id: str) -> FrameWise:
    return KINDS[model_id].around(small(model_id))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_published_numbers_of_parameters() -> None:
    resnet = ResnetCnnNetwork()
    assert [count(part) for part in (resnet, resnet.encoder, resnet.decoder)] == [917_666, 676_800, 240_866]
    deconv = ResnetCnnNetwork("deconv")
    assert [count(part) for part in (deconv, deconv.decoder)] == [1_005_826, 329_026]
    network = ClassifierNetwork()
    assert count(network) == 42_317_501
    parts = {
        network.low: 2_290_176,
        network.mid: 3_541_248,
        network.whole.convolutions: 9_443_328,
        network.whole.connected: 26_215_936,
        network.whole_to_fusion: 131_328,
        network.classification: 138_267,
        network.fusion: 131_840,
        network.colorization: 425_378,
    }
    assert {part: count(part) for part in parts} == parts
    assert count(ClassifierNetwork(norm="none")) == 42_308_093


@torch.no_grad()
def test_shapes_at_224() -> None:
    film = torch.rand(1, 1, 224, 224)
    assert ResnetFront()(film).shape == (1, 128, 28, 28)
    for kind in ("upsample", "deconv"):
        assert ResnetCnnNetwork(kind).eval()(film).shape == (1, 2, 224, 224)
        assert ResnetCnnNetwork(kind, 8).eval()(torch.rand(2, 1, 256, 320)).shape == (2, 2, 256, 320)
    network = ClassifierNetwork().eval()
    low = network.low(film)
    assert low.shape == (1, 512, 28, 28)
    assert network.mid(low).shape == (1, 256, 28, 28)
    assert network.whole.convolutions(low).shape == (1, 512, 7, 7)
    colored, logits = network(film)
    assert colored.shape == (1, 2, 224, 224) and logits.shape == (1, 27)
    assert colored.min() >= 0 and colored.max() <= 1
    with pytest.raises(ValueError, match="no multiple of 32"):
        ClassifierNetwork(side=40)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_error_of_the_classes_reaches_three_networks_and_no_others(norm: str) -> None:
    """Section 3.2.3, on real gradients: what the cross-entropy does not reach has none, not even zeros."""
    network = ClassifierNetwork(5, norm=norm, width=8, side=64)
    film, truth, label = torch.rand(3, 1, 64, 64), torch.rand(3, 2, 64, 64), torch.tensor([0, 4, 2])

    def reached(of_classes: bool) -> set[str]:
        network.zero_grad(set_to_none=True)
        colored, logits = network(film)
        (F.cross_entropy(logits, label) if of_classes else F.l1_loss(colored, truth)).backward()
        reached = set()
        for name, part in network.named_children():
            gradients = [p.grad for p in part.parameters()]
            assert all(g is None for g in gradients) or all(g is not None for g in gradients), name
            if gradients[0] is not None:
                assert any(g.abs().max() > 0 for g in gradients if g is not None), name
                reached.add(name)
        return reached

    everything = {name for name, _ in network.named_children()}
    assert reached(of_classes=True) == {"low", "whole", "classification"}
    assert reached(of_classes=False) == everything - {"classification"}
    assert everything == {
        *("low", "mid", "whole", "whole_to_fusion", "classification", "fusion", "colorization"),
    }


def test_the_whole_picture_is_fused_into_every_place() -> None:
    """A far corner alone changes colors that no convolution on the way from there could."""
    network = small("cnn-classifier")
    film = torch.rand(1, 1, 64, 64)
    other = film.clone()
    other[..., 56:, 56:] = 0
    assert (network(film)[0] - network(other)[0])[..., :8, :8].abs().max() > 1e-6


def test_colors_come_out_in_the_units_of_the_paper() -> None:
    """(a* + 128) / 255: a network that says 0.5 everywhere means -0.5, one that says 1 is cut at 110."""
    network = small("resnet-cnn")
    nn.init.zeros_(network.decoder[11].weight)
    here = pictures(1)[0]
    for said, meant in ((0.5, -0.5), (1.0, 110.0), (0.0, -110.0), (128 / 255, 0.0)):
        nn.init.constant_(network.decoder[11].bias, said)
        ab = ResnetCnn.around(network).color(here, []).ab
        torch.testing.assert_close(ab, torch.full_like(ab, meant), atol=1e-4, rtol=0)


def test_the_classifier_colors_at_its_own_size_and_enlarges() -> None:
    made = colorizer("cnn-classifier")
    here = torch.rand(1, 1, 64, 64) * 100
    colored, _ = made.network(here / 100)
    assert torch.equal(made.color(here, []).ab, (colored[0] * 255 - 128).clamp(-110, 110))
    larger = F.interpolate(here, size=(128, 192), mode="nearest")
    near = F.interpolate(made.color(here, []).ab[None], size=(128, 192), mode="bilinear")[0]
    assert (made.color(larger, []).ab - near).abs().mean() < 0.25 * near.std()
