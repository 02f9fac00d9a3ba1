"""The colors of the database of attention-exemplar, and histograms over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamcolor.color.convert import rgb_to_lab
from streamcolor.colorizers.attention_exemplar.bins import gamut_bins, read_bins, soft_histogram
from streamcolor.errors import InputError


def test_there_are_261_colors_in_the_database() -> None:
    bins = gamut_bins()
    assert bins.shape == (261, 2) and torch.equal(bins, bins.unique(dim=0))
    assert (bins % 10 == 0).all()
    assert bins.amin(0).tolist() == [-90, -110] and bins.amax(0).tolist() == [100, 90]
    values = np.append(np.arange(0, 255, 5), 255).astype(np.float32) / 255
    _, ab = rgb_to_lab(np.stack(np.meshgrid(values, values, values), -1).reshape(1, -1, 3))
    rounded = {tuple(row) for row in (np.rint(ab[:, 0].T / 10) * 10).tolist()}
    assert rounded <= {tuple(row) for row in bins.tolist()}


def test_bins_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.array([[0, 10], [-20, 30]]))
    (tmp_path / "b.txt").write_text("0 10\n-20 30\n")
    for name in ("b.npy", "b.txt"):
        assert read_bins(tmp_path / name).tolist() == [[0, 10], [-20, 30]]
    for text in ("0 10 3\n1 2 3\n", "red green\n", "0 1000\n1 2\n", "nan 1\n0 0\n"):
        (tmp_path / "b.txt").write_text(text)
        with pytest.raises(InputError, match=r"b\.txt does not hold bins"):
            read_bins(tmp_path / "b.txt")
    with pytest.raises(InputError, match="does not hold bins"):
        read_bins(tmp_path / "none.npy")


def test_a_soft_histogram_is_the_mean_of_the_pixels_shares() -> None:
    bins = gamut_bins()
    ab = torch.rand(2, 2, 5, 7) * 120 - 60
    expected = torch.zeros(2, 261)
    for b in range(2):
        for pixel in ab[b].flatten(1).T:
            expected[b] += torch.softmax(-(bins - pixel).square().sum(1) / 50, 0) / 35
    torch.testing.assert_close(soft_histogram(ab, bins), expected, atol=1e-6, rtol=1e-4)
    half = torch.zeros(2, 1, 5, 7)
    half[..., :3] = 1
    torch.testing.assert_close(soft_histogram(ab, bins, half), soft_histogram(ab[..., :3], bins))
    large = soft_histogram(torch.rand(1, 2, 300, 200) * 50, bins)
    torch.testing.assert_close(large.sum(1), torch.ones(1))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(soft_histogram(ab, bins), expected, atol=1e-6, rtol=1e-4)
    ab.requires_grad_()
    soft_histogram(ab, bins)[:, 0].sum().backward()
    assert ab.grad is not None and ab.grad.abs().sum() > 0
