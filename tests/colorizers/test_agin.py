"""AGIN: sizes of its parts, what its normalization is between, attention, films of any size, export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from streamcolor.colorizers.agin import Agin
from streamcolor.colorizers.agin.attention import ClassActivation, heat_map
from streamcolor.colorizers.agin.network import AginNetwork
from streamcolor.colorizers.agin.normalization import AdaptiveNorm, GroupInstanceNorm, LearnedNorm
from streamcolor.errors import InputError

from scenes import pictures


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def small(**changes) -> AginNetwork:
    """Narrow, with every rho somewhere between, as after training."""
    network = AginNetwork(8, **changes).eval().requires_grad_(False)
    for norm in network.norms():
        if isinstance(norm.rho, nn.Parameter):
            norm.rho.uniform_(0, 1)
    return network


def count(network: nn.Module | None) -> int:
    return 0 if network is None else sum(p.numel() for p in network.parameters())


def test_sizes_of_the_full_network() -> None:
    network = AginNetwork()
    assert count(network) == 10_589_888
    assert count(network.encoder) == 5_096_640
    assert count(network.attention) == 131_840
    assert count(network.affine) == 262_144
    assert count(network.decoder) == 4_720_640
    assert count(network.up) == 378_624
    assert count(AginNetwork(cam=False)) == 10_589_888 - 131_840
    # Without the second classifier and its half of the mixture; without the rho of eight layers and of two.
    assert count(AginNetwork(pool="gap")) == 10_589_888 - 256 - 256 * 256
    assert count(AginNetwork(norm="gn")) == count(AginNetwork(norm="in")) == 10_589_888 - 8 * 256 - 192
    assert [norm.rho.mean().item() for norm in network.norms()] == pytest.approx([0.1] * 8 + [1.0] * 2)
    assert {norm.groups for norm in network.norms()} == {32}


@pytest.mark.parametrize("size", [(256, 256), (64, 100), (8, 12)])
@torch.no_grad()
def test_shapes_and_ranges(size: tuple[int, int]) -> None:
    network = small()
    picture = torch.rand(2, 3, *size) * 2 - 1
    colored, logits, heat = network.explained(picture)
    assert colored.shape == picture.shape and colored.abs().max() <= 1
    assert logits is not None and logits.shape == (2, 2)
    assert heat.shape == (2, 1, size[0] // 4, size[1] // 4)
    assert torch.equal(network(picture), colored)


def test_rho_lies_between_the_two_normalizations() -> None:
    features, gamma, beta = torch.randn(2, 64, 9, 7) * 3 + 1, torch.randn(2, 64), torch.randn(2, 64)
    norm = AdaptiveNorm(64).requires_grad_(False)
    assert norm.rho.unique().tolist() == pytest.approx([0.1])
    group, instance = nn.GroupNorm(32, 64, affine=False), nn.InstanceNorm2d(64)
    for rho, alone in ((0.0, instance), (1.0, group)):
        norm.rho.fill_(rho)
        expected = gamma[..., None, None] * alone(features) + beta[..., None, None]
        assert torch.equal(norm(features, gamma, beta), expected)
        assert torch.equal(AdaptiveNorm(64, "gn" if rho else "in")(features, gamma, beta), expected)
    norm.rho.fill_(0.25)
    torch.testing.assert_close(norm(features), 0.25 * group(features) + 0.75 * instance(features))


def test_the_formula_of_the_normalization() -> None:
    """Equations 1 and 2 in float64, gamma and beta applied once; groups of two channels, biased variances."""
    features = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    norm = LearnedNorm(8).double().requires_grad_(False)
    assert norm.groups == 4 and norm.rho.unique().tolist() == [1.0]
    norm.rho.uniform_(0, 1)
    norm.gamma.normal_()
    norm.beta.normal_()
    expected = torch.empty_like(features)
    for b in range(2):
        for c in range(8):
            group, own = features[b, c // 2 * 2 : c // 2 * 2 + 2], features[b, c]
            by_group, by_own = ((own - part.mean()) / (part.var(unbiased=False) + 1e-5).sqrt() for part in (group, own))
            rho = norm.rho[0, c]
            expected[b, c] = norm.gamma[0, c] * (rho * by_group + (1 - rho) * by_own) + norm.beta[0, c]
    torch.testing.assert_close(norm(features), expected)


def test_rho_is_clipped() -> None:
    norm = GroupInstanceNorm(8, 0.5)
    with torch.no_grad():
        norm.rho.copy_(torch.linspace(-1, 2, 8).view(1, 8, 1, 1))
        norm.clip()
    assert norm.rho.flatten().tolist() == pytest.approx([0, 0, 0, 2 / 7, 5 / 7, 1, 1, 1])


@pytest.mark.parametrize("pool", ["gap+median", "gap+max", "gap"])
@torch.no_grad()
def test_attention_weighs_channels_by_what_the_classifiers_weigh_them(pool: str) -> None:
    attention = ClassActivation(6, nn.ReLU(), pool=pool)
    features = torch.randn(2, 6, 4, 4)
    attended, logits = attention(features)
    flat = features.flatten(2)
    seen = [(flat.mean(2), attention.gap_fc.weight[0])]
    if pool != "gap":
        other = flat.sort(2).values[..., 7] if pool == "gap+median" else flat.max(2).values
        seen.append((other, attention.mp_fc.weight[0]))
    torch.testing.assert_close(logits, torch.stack([pooled @ weights for pooled, weights in seen], 1))
    weighed = torch.cat([features * weights.view(1, 6, 1, 1) for _, weights in seen], 1)
    expected = F.conv2d(weighed, attention.mix[0].weight, attention.mix[0].bias).relu()
    torch.testing.assert_close(attended, expected)
    torch.testing.assert_close(heat_map(attended)[:, 0], expected.sum(1))


def test_without_attention_features_go_on_as_they_are() -> None:
    network = small(cam=False)
    colored, logits, _ = network.explained(torch.rand(1, 3, 16, 16))
    assert logits is None and colored.shape == (1, 3, 16, 16)


def test_colors_are_those_of_the_picture_that_the_network_emits() -> None:
    class Orange(nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            assert picture.min() >= -1 and picture.max() <= 1 and torch.equal(picture[:, 0], picture[:, 2])
            return torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand_as(picture)

    chroma = Agin.around(Orange()).color(torch.tensor([0.0, 50.0, 100.0]).expand(1, 1, 9, 3), [])
    # sRGB (1, 0.5, 0) in CIELAB by skimage.color.rgb2lab.
    torch.testing.assert_close(chroma.ab.mean((1, 2)), torch.tensor([43.14, 73.93]), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    "switches",
    [{}, {"cam": False}, {"pool": "gap"}, {"pool": "gap+max"}, {"norm": "gn"}, {"norm": "in"}, {"blocks": 2}],
)
def test_weights_come_from_a_file_whatever_they_were_trained_with(tmp_path: Path, switches: dict) -> None:
    network, file, here = small(**switches), tmp_path / "w.safetensors", pictures(1)[0]
    save_file(network.state_dict(), file)
    made = Agin(file)
    assert torch.equal(made.color(here, []).ab, Agin.around(network).color(here, []).ab)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"encoder.1.weight": torch.zeros(8, 3, 7, 7)}, file)
    with pytest.raises(InputError, match="does not hold the weights of agin"):
        Agin(file)
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="does not hold the weights of agin"):
        Agin(file)
    file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="does not hold the weights of agin"):
        Agin(file)
