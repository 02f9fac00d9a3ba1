"""Networks that nothing guides: films of any size, references ignored, mixed precision, weights of any width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from streamcolor.colorizers.agin import Agin
from streamcolor.colorizers.agin.network import AginNetwork
from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.cnn import CnnClassifier, ResnetCnn
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork
from streamcolor.colorizers.cnn.resnet import ResnetCnnNetwork
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.initialization import kaiming
from streamcolor.colorizers.prior import ChromaPrior
from streamcolor.colorizers.prior.network import PriorNetwork, Widths
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.unet_gan import AttentionUnetGan, UnetGan
from streamcolor.colorizers.unet_gan.attention import AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import UnetGanNetwork
from streamcolor.errors import InputError

from scenes import color_any_size, pictures, reference, small_prior

KINDS = {
    "chroma-prior": ChromaPrior,
    "agin": Agin,
    "resnet-cnn": ResnetCnn,
    "cnn-classifier": CnnClassifier,
    "unet-gan": UnetGan,
    "attention-unet-gan": AttentionUnetGan,
}
SMALL: dict[str, Callable[[], nn.Module]] = {
    "chroma-prior": small_prior,
    "agin": lambda: AginNetwork(8),
    "resnet-cnn": lambda: ResnetCnnNetwork(width=8),
    "cnn-classifier": lambda: ClassifierNetwork(5, width=8, side=64),
    "unet-gan": lambda: UnetGanNetwork(8, 5),
    "attention-unet-gan": lambda: AttentionUnetGanNetwork(8),
}
# Variances of batch statistics with which colors are neither grey nor at the bounds; chroma-prior has none.
SPREAD = dict.fromkeys(KINDS, 1.0) | {"unet-gan": 0.06, "attention-unet-gan": 0.06}
# What the sides of a frame are to those of its chroma.
REDUCED = {"chroma-prior": 2}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def unsettled(network: nn.Module, spread: float) -> nn.Module:
    """With batch statistics as after training, not those of the first moment."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5 * spread, 1.5 * spread)
    return network.eval().requires_grad_(False)


def colorizer(model_id: str) -> FrameWise:
    return KINDS[model_id].around(unsettled(SMALL[model_id](), SPREAD[model_id]))


@pytest.mark.parametrize("model_id", KINDS)
@pytest.mark.parametrize("size", [(64, 96), (45, 71), (3, 40), (1, 1)])
def test_films_of_any_size(model_id: str, size: tuple[int, int]) -> None:
    color_any_size(colorizer(model_id), size, REDUCED.get(model_id, 1))


@pytest.mark.parametrize("model_id", KINDS)
def test_references_are_ignored_and_lightness_is_not(model_id: str) -> None:
    made = colorizer(model_id)
    here, there = pictures(2)
    warm = reference(here)
    cold = Reference(warm.lightness, -warm.ab, warm.opaque, 0)
    plain = made.color(here, []).ab
    assert all(torch.equal(made.color(here, [made.encode(guide)]).ab, plain) for guide in (warm, cold))
    assert not torch.equal(made.color(there, []).ab, plain)
    assert made.info.references is False and made.info.id == model_id


@pytest.mark.parametrize("model_id", KINDS)
def test_mixed_precision_is_near(model_id: str) -> None:
    here = pictures(1)[0]
    network = unsettled(SMALL[model_id](), SPREAD[model_id])
    exact, mixed = (KINDS[model_id].around(network, "cpu", precision) for precision in ("fp32", "bf16"))
    colors = [made.step(here, ReferenceCache(made.info.policy), 0)[0].ab for made in (exact, mixed)]
    assert colors[1].dtype == torch.float32
    assert 0 < (colors[0] - colors[1]).abs().mean() < 3


@pytest.mark.parametrize(
    ("model_id", "network"),
    [
        ("chroma-prior", small_prior),
        ("chroma-prior", lambda: PriorNetwork(Widths(2, (8, 32, 24)))),
        ("resnet-cnn", lambda: ResnetCnnNetwork(width=8)),
        ("resnet-cnn", lambda: ResnetCnnNetwork("deconv", 4)),
        ("cnn-classifier", lambda: ClassifierNetwork(1, width=4, side=32)),
        ("cnn-classifier", lambda: ClassifierNetwork(27, norm="none", width=8, side=96)),
        ("unet-gan", lambda: UnetGanNetwork(4, 5)),
        ("unet-gan", lambda: UnetGanNetwork(2, 8)),
        ("attention-unet-gan", lambda: AttentionUnetGanNetwork(4)),
    ],
)
def test_weights_come_from_a_file_of_any_width(model_id: str, network: Callable[[], nn.Module], tmp_path: Path) -> None:
    original = unsettled(network(), SPREAD[model_id])
    file = tmp_path / "w.safetensors"
    save_file(original.state_dict(), file)
    here = pictures(1)[0]
    made = KINDS[model_id](file)
    assert torch.equal(made.color(here, []).ab, KINDS[model_id].around(original).color(here, []).ab)
    assert not any(p.requires_grad for p in made.network.parameters())
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=f"does not hold the weights of {model_id}"):
        KINDS[model_id](file)


@pytest.mark.parametrize(("of", "other"), [("resnet-cnn", "cnn-classifier"), ("unet-gan", "attention-unet-gan")])
def test_weights_of_something_else_are_refused(of: str, other: str, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    for here, there in ((of, other), (other, of)):
        save_file(SMALL[here]().state_dict(), file)
        with pytest.raises(InputError, match=rf"does not hold the weights of {there}: \d+ do not fit"):
            KINDS[there](file)


@pytest.mark.parametrize("model_id", ["resnet-cnn", "cnn-classifier"])
def test_networks_of_relus_are_drawn_as_kaiming_says(model_id: str) -> None:
    """Of every layer, the one that gives the colors too: the variance is 2 over the number of inputs, biases are 0."""
    torch.manual_seed(1)
    network = ResnetCnnNetwork(width=32) if model_id == "resnet-cnn" else ClassifierNetwork(27, width=16, side=64)
    layers = [part for part in network.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    assert len(layers) > 10
    for part in layers:
        inputs = part.weight[0].numel()
        assert part.weight.var().item() * inputs == pytest.approx(2, rel=5 / part.weight.numel() ** 0.5)
        assert part.bias is None or not part.bias.any()
    turned = nn.ConvTranspose2d(64, 4, 4, 2, 1)
    kaiming(turned)
    assert turned.weight.var().item() == pytest.approx(2 / (64 * 16), rel=0.1)
