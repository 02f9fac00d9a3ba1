"""Discriminators: their published sizes, what their scores are of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from streamcolor.train.discriminators import AttentionDiscriminator, PatchDiscriminator, receptive_field


def test_patches_of_seventy() -> None:
    network = PatchDiscriminator()
    assert sum(p.numel() for p in network.parameters()) == 2_765_633
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    assert receptive_field(network) == 70


def test_a_score_depends_on_its_patch_alone() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(width=4).eval()
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.uniform_(part.weight, 0.01, 0.1)
    picture = torch.rand(1, 3, 128, 128, requires_grad=True)
    scores = network(picture)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    assert picture.grad is not None
    touched = picture.grad[0].abs().sum(0) > 0
    assert touched.any(0).sum() == touched.any(1).sum() == 70


@pytest.mark.parametrize(("halvings", "total", "side", "patch"), [(3, 3_290_560, 30, 70), (5, 53_130_176, 6, 286)])
def test_two_scales_of_attention_discriminators(halvings: int, total: int, side: int, patch: int) -> None:
    with torch.device("meta"):
        network = AttentionDiscriminator(halvings)
        scores, logits = network(torch.zeros(2, 3, 256, 256))
    assert sum(p.numel() for p in network.parameters()) == total
    assert scores.shape == (2, 1, side, side)
    assert logits is not None and logits.shape == (2, 2)
    assert receptive_field(network) == patch


@pytest.mark.parametrize(("halvings", "size", "patch"), [(3, 128, 70), (5, 512, 286)])
def test_patches_of_either_scale(halvings: int, size: int, patch: int) -> None:
    """By the gradient of one score in the middle; without attention, which sees the whole picture for the logits."""
    torch.manual_seed(0)
    network = AttentionDiscriminator(halvings, 2, cam=False).eval().double()
    picture = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    scores, logits = network(picture)
    assert logits is None
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert picture.grad is not None
    touched = picture.grad[0].abs().sum(0) > 0
    assert touched.any(0).sum() == touched.any(1).sum() == patch


def test_all_but_the_mixture_of_attention_is_spectrally_normalized() -> None:
    torch.manual_seed(0)
    network = AttentionDiscriminator(3, 4)
    network(torch.rand(1, 3, 32, 32))
    network.eval()
    layers = {n: m for n, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    bounded = {n: hasattr(m, "parametrizations") for n, m in layers.items()}
    assert [n for n, holds in bounded.items() if not holds] == ["attention.mix.0"]
    for name, layer in layers.items():
        if bounded[name]:
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("halvings", "least"), [(3, 24), (5, 96)])
def test_the_smallest_picture_has_one_patch(halvings: int, least: int) -> None:
    network = AttentionDiscriminator(halvings, 2)
    assert network(torch.rand(1, 3, least, least))[0].numel() == 1
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, least - 4, least - 4))
