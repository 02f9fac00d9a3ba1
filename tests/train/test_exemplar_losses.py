"""The losses of attention-exemplar."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from streamcolor.train.exemplar_losses import critic_loss, generator_loss, histogram_loss, sparse_loss


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
