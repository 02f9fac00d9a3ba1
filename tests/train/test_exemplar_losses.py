"""The losses of attention-exemplar, and what they look through: Lab as R'G'B', VGG-19."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb

from streamcolor.errors import InputError
from streamcolor.train.exemplar_losses import critic_loss, generator_loss, histogram_loss, sparse_loss
from streamcolor.train.lab import lab_to_rgb
from streamcolor.train.vgg19 import LAYERS, Vgg19, read_vgg19


def test_the_sparse_loss_is_the_entropy_of_the_gate() -> None:
    gate = torch.softmax(torch.randn(2, 2, 5, 7, generator=torch.Generator().manual_seed(0)), 1)
    entropy = torch.distributions.Categorical(gate.movedim(1, -1)).entropy().mean()
    torch.testing.assert_close(sparse_loss(gate), entropy, atol=1e-6, rtol=0)
    assert sparse_loss(torch.full((1, 2, 3, 3), 0.5)).item() == pytest.approx(math.log(2), abs=1e-6)
    certain = torch.zeros(1, 2, 3, 3)
    certain[:, 0] = 1
    assert sparse_loss(certain).item() == pytest.approx(0, abs=1e-7)


def test_fakes_are_pushed_towards_real_and_back() -> None:
    """Equation 9 as printed has no gradient at 0; as meant, the generator raises D(fake) and the critic lowers it."""
    for loss, slope in ((generator_loss, -1.0), (lambda fake: critic_loss(fake + 0.5, torch.ones(1)), 0.5)):
        fake = torch.zeros(1, requires_grad=True)
        loss(fake).backward()
        assert fake.grad is not None and fake.grad.item() == pytest.approx(slope)
    assert critic_loss(torch.zeros(4), torch.ones(4)) == generator_loss(torch.ones(4)) == 0
    assert critic_loss(torch.ones(4), torch.zeros(4)) == 1


def test_the_histogram_loss_is_the_symmetric_chi_square_distance() -> None:
    rng = np.random.default_rng(0)
    one, other = (p / p.sum(1, keepdims=True) for p in rng.random((2, 3, 6)))
    expected = np.mean([2 * sum((one[n] - other[n]) ** 2 / (one[n] + other[n])) for n in range(3)])
    given = torch.from_numpy(one), torch.from_numpy(other)
    assert histogram_loss(*given).item() == pytest.approx(expected, abs=1e-6)
    assert histogram_loss(given[0], given[0]) == 0
    assert histogram_loss(torch.eye(2)[:1], torch.eye(2)[1:]).item() == pytest.approx(4)


def test_lab_becomes_rgb_as_elsewhere() -> None:
    rng = np.random.default_rng(0)
    lab = np.concatenate([rng.uniform(0, 100, (2, 1, 9, 9)), rng.uniform(-40, 40, (2, 2, 9, 9))], 1)
    # Darker than this, no such chroma exists: both clip, at slightly different primaries.
    lab[:, 1:] *= np.clip(lab[:, :1] / 40, 0, 1) * np.clip((100 - lab[:, :1]) / 40, 0, 1)
    given = torch.from_numpy(lab).float()
    rgb = lab_to_rgb(given[:, :1], given[:, 1:])
    expected = lab2rgb(lab.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    torch.testing.assert_close(rgb, torch.from_numpy(expected).float(), atol=2e-3, rtol=0)


def test_lab_has_gradients_everywhere() -> None:
    lightness = torch.tensor([0.0, 5.0, 50.0, 100.0])[None, None, :, None]
    ab = torch.zeros(1, 2, 4, 3)
    ab[..., 1], ab[..., 2] = 100, -100
    ab.requires_grad_()
    rgb = lab_to_rgb(lightness.expand(1, 1, 4, 3), ab)
    assert rgb.min() >= 0 and rgb.max() <= 1
    rgb.sum().backward()
    assert ab.grad is not None and torch.isfinite(ab.grad).all() and ab.grad[:, :, 2, 0].abs().min() > 0


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
    assert isinstance(whole[LAYERS["relu5_1"]], torch.nn.ReLU) and len(whole) == 30
    assert [n for n, part in enumerate(whole) if isinstance(part, torch.nn.MaxPool2d)] == [4, 9, 18, 27]
    assert whole[28].weight.shape == (512, 512, 3, 3)
