"""R'G'B' of networks and lightness and chroma of the contract belong together."""

from __future__ import annotations

import numpy as np
import torch
from skimage.color import lab2rgb, rgb2lab

from streamcolor.color.convert import grey_lightness, rgb_to_lab
from streamcolor.color.standards import Matrix
from streamcolor.colorizers.rgb import chroma_of, color_picture, emitted, grey_picture, grey_value


def test_greys_have_the_value_of_their_lightness() -> None:
    lightness = torch.linspace(0, 100, 401)
    lab = np.stack([lightness.numpy(), *np.zeros((2, 401), np.float32)], -1)
    np.testing.assert_allclose(grey_value(lightness), lab2rgb(lab)[:, 1], atol=2e-5)
    picture = grey_picture(lightness.reshape(1, 1, 1, 401))
    assert picture.shape == (1, 3, 1, 401) and torch.equal(picture[:, 0], picture[:, 2])


def test_a_reference_is_again_the_picture_it_came_from() -> None:
    rgb = np.random.default_rng(0).random((40, 50, 3), np.float32)
    lightness = torch.from_numpy(grey_lightness(rgb, Matrix.BT709))[None, None]
    ab = torch.from_numpy(np.asarray(rgb_to_lab(rgb)[1], np.float32))[None]
    again = color_picture(lightness, ab)[0].permute(1, 2, 0).numpy()
    # The color is interpolated in a table, which is coarse only where red, green and blue are at their ends.
    assert np.abs(again - rgb).mean() < 0.004 and np.quantile(np.abs(again - rgb), 0.99) < 0.04


def test_of_a_picture_only_a_and_b_remain() -> None:
    picture = torch.rand(1, 3, 20, 30) * 1.4 - 0.2
    expected = rgb2lab(picture[0].clamp(0, 1).permute(1, 2, 0).numpy())[..., 1:]
    result = chroma_of(picture)
    assert result.shape == (2, 20, 30) and result.dtype == torch.float32
    np.testing.assert_allclose(result.permute(1, 2, 0), expected, atol=0.05)


def test_what_was_emitted_stays_beside_its_color() -> None:
    picture = torch.rand(1, 3, 20, 30) * 1.4 - 0.2
    chroma = emitted(picture, 0.3)
    assert chroma.rgb is not None and torch.equal(chroma.rgb, picture[0].clamp(0, 1))
    assert torch.equal(chroma.ab, chroma_of(picture))
    assert chroma.confidence.shape == (1, 20, 30) and (chroma.confidence == torch.tensor(0.3)).all()
