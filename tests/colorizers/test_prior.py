"""``chroma-prior``: what is told of cells is laid out along the lightness, and every frame is seen at 192 lines."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from streamcolor.colorizers.prior import ChromaPrior
from streamcolor.colorizers.prior.colorizer import guess, widths_of
from streamcolor.colorizers.prior.network import STRIDE, PriorNetwork, Widths
from streamcolor.colorizers.registry import find
from streamcolor.colorizers.residual import laid_out
from streamcolor.colorizers.stabilization import GUESSED

from scenes import pictures, small_prior

CELLS = (3, 5)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def told(*values: float) -> torch.Tensor:
    """The same of every cell."""
    return torch.tensor(values)[None, :, None, None].expand(1, 4, *CELLS)


def textured(side: int = STRIDE) -> torch.Tensor:
    """Lightness 0.1, and in every cell of this side the same texture around it."""
    texture = torch.randn(side, side) * 0.1
    return 0.1 + (texture - texture.mean()).repeat(CELLS)[None, None]


@pytest.mark.parametrize("side", [2, STRIDE, 7])
def test_without_slopes_cells_of_one_color_are_a_plane_of_it(side: int) -> None:
    laid = laid_out(told(0.25, -0.5, 0, 0), textured(side))
    assert laid.shape == (1, 2, CELLS[0] * side, CELLS[1] * side)
    torch.testing.assert_close(laid, torch.tensor([0.25, -0.5])[None, :, None, None].expand_as(laid))


@pytest.mark.parametrize("side", [2, STRIDE])
def test_slopes_follow_lightness_and_keep_the_mean_of_a_cell(side: int) -> None:
    light = textured(side)
    laid = laid_out(told(0.25, -0.5, 2, -1), light)
    torch.testing.assert_close(laid[:, :1], 0.25 + 2 * (light - 0.1))
    torch.testing.assert_close(laid[:, 1:], -0.5 - (light - 0.1))
    torch.testing.assert_close(F.avg_pool2d(laid, side), told(0.25, -0.5, 2, -1)[:, :2])


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((240, 320), (192, 256)),
        ((320, 240), (256, 192)),
        ((480, 854), (192, 352)),
        ((64, 96), (64, 96)),
        ((3, 40), (32, 32)),
        ((1, 1), (32, 32)),
    ],
)
def test_a_frame_is_seen_at_192_lines_and_colored_at_any_size(size: tuple[int, int], seen: tuple[int, int]) -> None:
    network, given = small_prior(), list[torch.Size]()
    network.body.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].shape))
    light = torch.rand(1, 1, *size) - 0.5
    for at in (light, F.avg_pool2d(light, 2, ceil_mode=True)):
        made = guess(network, light, at)
        assert made.shape == (1, 2, *at.shape[-2:]) and torch.isfinite(made).all()
    assert given == [(1, 1, *seen)] * 2


@torch.no_grad()
def test_colors_hardly_depend_on_the_working_size() -> None:
    network = small_prior()
    small = F.interpolate(pictures(1)[0] / 100 - 0.5, size=(256, 384), mode="bicubic")
    large = F.interpolate(small, scale_factor=2, mode="bilinear")
    at = F.avg_pool2d(small, 4)
    made = guess(network, small, at)
    assert (guess(network, large, at) - made).abs().mean() < 0.05 * made.std()


@pytest.mark.parametrize("widths", [Widths(), Widths(4, (8, 32, 24))])
def test_weights_tell_their_widths(widths: Widths) -> None:
    tensors = PriorNetwork(widths).state_dict()
    assert widths_of(tensors) == widths
    del tensors["from8.weight"]
    assert widths_of(tensors) == Widths()


def test_a_fresh_network_leaves_everything_grey() -> None:
    network = PriorNetwork().eval()
    chroma = ChromaPrior.around(network).color(pictures(1)[0], [])
    assert not chroma.ab.any() and (chroma.confidence == torch.tensor(GUESSED)).all()
    assert sum(p.numel() for p in network.parameters()) == find("chroma-prior").parameters
