"""The two generators: their sizes, dropout, the attention gates."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.unet_gan import AttentionUnetGan, UnetGan
from streamcolor.colorizers.unet_gan.attention import AttentionGate, AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import SkipBlock, UnetGanNetwork

from scenes import pictures

KINDS = {"unet-gan": UnetGan, "attention-unet-gan": AttentionUnetGan}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def unsettled(network: nn.Module) -> nn.Module:
    """With batch statistics as after training, not those of the first moment."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.02, 0.1)
    return network.eval().requires_grad_(False)


def small(model_id: str) -> nn.Module:
    return unsettled(UnetGanNetwork(8, 5) if model_id == "unet-gan" else AttentionUnetGanNetwork(8))


def colorizer(model_id: str) -> FrameWise:
    return KINDS[model_id].around(small(model_id))


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@torch.no_grad()
def test_the_published_numbers_of_parameters_and_shapes_at_256() -> None:
    film = torch.rand(1, 1, 256, 256)
    network, attention = UnetGanNetwork().eval(), AttentionUnetGanNetwork().eval()
    assert count(network) == 54_409_858 and network.stride == 256
    assert count(attention) == 34_868_230
    assert sum(count(part) for part in attention.modules() if isinstance(part, AttentionGate)) == 349_124
    for one in (network, attention):
        colored = one(film)
        assert colored.shape == (1, 2, 256, 256) and colored.abs().max() < 1


def test_the_unet_is_that_of_pix2pix() -> None:
    """Widths, dropout in the three inner levels, normalization after all but the outermost and the innermost."""
    network = UnetGanNetwork(2)
    blocks = [part for part in network.modules() if isinstance(part, SkipBlock)]
    downs = [next(p for p in block.layers if isinstance(p, nn.Conv2d)) for block in blocks]
    assert [network.down.out_channels, *(d.out_channels for d in downs)] == [2, 4, 8, 16, 16, 16, 16, 16]
    ups = [next(p for p in block.layers if isinstance(p, nn.ConvTranspose2d)) for block in blocks]
    assert [up.in_channels for up in ups] == [8, 16, 32, 32, 32, 32, 16]
    kinds = [[type(part).__name__ for part in block.layers] for block in blocks]
    assert ["Dropout" in kind for kind in kinds] == [False, False, False, True, True, True, False]
    assert [kind.count("BatchNorm2d") for kind in kinds] == [2] * 6 + [1]
    assert [name for name, _ in network.named_parameters() if "bias" in name and ".layers." not in name] == [
        "up.1.bias"
    ]
    x = torch.rand(1, 16, 4, 4)
    assert torch.equal(blocks[-1].eval()(x)[:, :16], x)
    with pytest.raises(ValueError, match="at least 5 levels"):
        UnetGanNetwork(2, 4)


def test_dropout_is_the_noise_of_training_and_is_off_afterwards() -> None:
    network, film = UnetGanNetwork(4, 7), torch.rand(2, 1, 128, 128)
    assert not torch.equal(network.train()(film), network(film))
    network.eval()
    assert torch.equal(network(film), network(film))


def test_gates_let_through_between_nothing_and_all() -> None:
    gate = AttentionGate(16)
    skip, signal = torch.randn(2, 16, 12, 20), torch.randn(2, 16, 12, 20)
    alpha = gate.alpha(skip, signal)
    assert alpha.shape == (2, 1, 12, 20) and alpha.min() > 0 and alpha.max() < 1
    torch.testing.assert_close(gate(skip, signal), alpha * skip)
    # Equations 4 and 5, place by place.
    w_x, w_g, psi = (part.weight[..., 0, 0] for part in (gate.of_skip, gate.of_gate, gate.psi))
    x, g = skip[1, :, 3, 5], signal[1, :, 3, 5]
    q = psi @ torch.relu(w_x @ x + w_g @ g + gate.of_gate.bias) + gate.psi.bias
    torch.testing.assert_close(alpha[1, 0, 3, 5], torch.sigmoid(q)[0])


def test_open_gates_leave_a_plain_unet() -> None:
    network, film = small("attention-unet-gan"), torch.rand(1, 1, 48, 64) * 2 - 1
    gated = network(film)
    for up in network.ups:
        nn.init.zeros_(up.gate.psi.weight)
        nn.init.constant_(up.gate.psi.bias, 20.0)
    opened = network(film)
    for up in network.ups:
        skip = torch.randn(1, up.gate.psi.in_channels * 2, 8, 8)
        torch.testing.assert_close(up.gate.alpha(skip, skip), torch.ones(1, 1, 8, 8), atol=1e-6, rtol=0)
        up.gate = FirstOfTwo()
    torch.testing.assert_close(opened, network(film), atol=1e-5, rtol=0)
    assert (gated - opened).abs().max() > 1e-3


class FirstOfTwo(nn.Module):
    def forward(self, skip: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        return skip


@pytest.mark.parametrize("model_id", KINDS)
def test_films_go_in_and_colors_come_out_in_the_units_of_the_paper(model_id: str) -> None:
    made = colorizer(model_id)
    here = pictures(1)[0]
    assert torch.equal(made.color(here, []).ab, made.network(here / 50 - 1)[0] * 110)
