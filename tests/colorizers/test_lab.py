"""Lab as tensors: the conversions of the film and of scikit-image, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import lab2rgb
from torch import Tensor

from streamcolor.color.convert import rgb_to_lab as lab_of_numpy
from streamcolor.colorizers.lab import lab_to_rgb, rgb_to_lab


def colors(scale: float) -> Tensor:
    """(2, 3, 9, 9) of Lab; darker and lighter than a part of the range, no such chroma exists."""
    rng = np.random.default_rng(0)
    lab = np.concatenate([rng.uniform(0, 100, (2, 1, 9, 9)), rng.uniform(-scale, scale, (2, 2, 9, 9))], 1)
    lab[:, 1:] *= np.clip(lab[:, :1] / 40, 0, 1) * np.clip((100 - lab[:, :1]) / 40, 0, 1)
    return torch.from_numpy(lab)


def test_lab_is_that_of_the_film_and_comes_back() -> None:
    rgb = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    found = rgb_to_lab(rgb)
    lightness, ab = lab_of_numpy(rgb[0].permute(1, 2, 0).numpy())
    np.testing.assert_allclose(found[0, 0].numpy(), lightness, atol=1e-3)
    np.testing.assert_allclose(found[0, 1:].numpy(), ab, atol=1e-3)
    torch.testing.assert_close(lab_to_rgb(found), rgb, atol=1e-4, rtol=0)


def test_rgb_is_that_of_scikit_image() -> None:
    lab = colors(40)
    wanted = lab2rgb(lab.numpy().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    torch.testing.assert_close(lab_to_rgb(lab), torch.from_numpy(wanted).float(), atol=2e-3, rtol=0)


def test_the_cube_of_rgb_reaches_as_far_as_it_should() -> None:
    """The largest and smallest a* and b* are at its corners and edges."""
    values = torch.arange(0, 256, 5) / 255
    cube = torch.stack(torch.meshgrid(values, values, values, indexing="ij"))[None].flatten(3)
    _, a, b = rgb_to_lab(cube)[0]
    ends = [x.item() for part in (a, b) for x in (part.min(), part.max())]
    assert ends == pytest.approx([-86.19, 98.24, -107.86, 94.48], abs=0.01)


@pytest.mark.filterwarnings("ignore:.*negative Z values.*clipped to zero:UserWarning")
def test_what_rgb_does_not_have_is_clipped() -> None:
    lab = np.stack(np.meshgrid([5, 50, 95], [-90, 0, 90], [-90, 0, 90], indexing="ij"), -1).reshape(1, 27, 3)
    wanted = lab2rgb(lab.astype(float))
    made = lab_to_rgb(torch.from_numpy(lab.transpose(2, 0, 1)[None]))[0].permute(1, 2, 0).numpy()
    inside = ((wanted > 0.001) & (wanted < 0.999)).all(-1)
    assert inside.any() and not inside.all()
    np.testing.assert_allclose(made[inside], wanted[inside], atol=2e-3)
    assert made.min() >= 0 and made.max() <= 1


def test_gradients_are_those_of_differences() -> None:
    lab = colors(20).float()[:, :, :3].clone().requires_grad_()
    lab_to_rgb(lab).sum().backward()
    step = torch.zeros_like(lab)
    for channel in range(3):
        step.zero_()[:, channel] = 0.05
        with torch.no_grad():
            slope = (lab_to_rgb(lab + step) - lab_to_rgb(lab - step)).sum(1) / 0.1
        assert lab.grad is not None
        torch.testing.assert_close(lab.grad[:, channel], slope, atol=1e-3, rtol=0.02)


def test_gradients_are_numbers_everywhere() -> None:
    lab = torch.zeros(1, 3, 4, 3)
    lab[0, 0] = torch.tensor([0.0, 5.0, 50.0, 100.0])[:, None]
    lab[0, 1:, :, 1], lab[0, 1:, :, 2] = 100, -100
    lab.requires_grad_()
    lab_to_rgb(lab).sum().backward()
    assert lab.grad is not None and torch.isfinite(lab.grad).all() and lab.grad[0, 1:, 2, 0].abs().min() > 0
    rgb = torch.tensor([0.0, 0.02, 0.5, 1.0])[None, None, None].expand(1, 3, 1, 4).clone().requires_grad_()
    rgb_to_lab(rgb).sum().backward()
    assert rgb.grad is not None and torch.isfinite(rgb.grad).all() and (rgb.grad.sum(1) > 0).all()
