"""Every metric against an independent implementation or a published value."""

from __future__ import annotations

import statistics

import cv2
import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.functional.regression import jensen_shannon_divergence

from streamcolor.evaluation import metrics

PICTURES = arrays(np.uint8, (24, 20, 3))


def picture(seed: int, height: int = 40, width: int = 50) -> metrics.Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def tensor(rgb: metrics.Picture) -> torch.Tensor:
    """(1, 3, H, W) float64 in 0..255."""
    return torch.from_numpy(rgb.transpose(2, 0, 1).astype(np.float64))[None]


@given(PICTURES, PICTURES)
@settings(max_examples=20, deadline=None)
def test_psnr_is_that_of_scikit_image(a: metrics.Picture, b: metrics.Picture) -> None:
    if np.mean((a.astype(float) - b) ** 2) > 1e-3:
        assert metrics.psnr(a, b) == pytest.approx(
            skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9
        )
    else:
        assert metrics.psnr(a, b) == pytest.approx(10 * np.log10(255**2 / 1e-3))


def test_psnr_and_ssim_are_those_of_torchmetrics() -> None:
    a = picture(0)
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-40, 40, a.shape), 0, 255).astype(np.uint8)
    expected = float(peak_signal_noise_ratio(tensor(a), tensor(b), data_range=255.0))
    # It keeps the range in float32.
    assert metrics.psnr(a, b) == pytest.approx(expected, abs=1e-5)
    # Its mean is over a map that includes the border, where the picture is mirrored.
    _, full = structural_similarity_index_measure(
        tensor(a), tensor(b), sigma=1.5, kernel_size=11, data_range=255.0, k1=0.01, k2=0.03, return_full_image=True
    )
    inside = float(full[..., 5:-5, 5:-5].mean())
    assert metrics.ssim(a, b, exact=True) == pytest.approx(inside, abs=1e-9) and 0.5 < inside < 0.99


def test_the_wrapped_figure_wraps() -> None:
    a, b = np.full((8, 8, 3), 16, np.uint8), np.zeros((8, 8, 3), np.uint8)
    assert metrics.psnr_u8(a, b) > 70  # 16 * 16 = 256 wraps to 0
    assert metrics.psnr(a, b) == pytest.approx(24.05, abs=0.01)


def test_ssim_is_that_of_scikit_image() -> None:
    a = picture(0)
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-40, 40, a.shape), 0, 255).astype(np.uint8)
    expected = skimage.metrics.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=-1, data_range=255
    )
    assert metrics.ssim(a, b, exact=True) == pytest.approx(expected, abs=1e-9)
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-4)
    assert metrics.ssim(a, a) == pytest.approx(1)


def test_ciede2000_gives_the_published_pairs() -> None:
    """Sharma, Wu, Dalal 2005, table 1, pairs 1, 4, 7, 9, 13, 17 and 34."""
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for one, two, expected in pairs:
        assert metrics.ciede2000(np.array(one), np.array(two)) == pytest.approx(expected, abs=1e-4)
    more_digits = [metrics.ciede2000(np.array(pairs[n][0]), np.array(pairs[n][1])) for n in (0, 5)]
    assert more_digits == pytest.approx([2.04246, 27.14923], abs=1e-5)


def test_ciede2000_is_that_of_scikit_image() -> None:
    """Seeded rather than searched: at hues exactly opposite to within rounding the formula itself jumps."""
    rng = np.random.default_rng(0)
    a, b = (rng.uniform((0, -100, -100), (100, 100, 100), (20_000, 3)) for _ in range(2))
    b[:2000] = a[:2000] + rng.normal(0, 1, (2000, 3))
    a[:100, 1:] = 0
    np.testing.assert_allclose(metrics.ciede2000(a, b), skimage.color.deltaE_ciede2000(a, b), atol=1e-9)


def test_histogram_intersection() -> None:
    grey = np.full((10, 10, 3), 120, np.uint8)
    red = grey.copy()
    red[..., 0], red[..., 1:] = 255, 0
    half = grey.copy()
    half[:5] = red[:5]
    assert metrics.histogram_intersection(grey, grey) == pytest.approx(1)
    assert metrics.histogram_intersection(grey, red) == 0
    assert metrics.histogram_intersection(half, grey) == pytest.approx(0.5)
    ab = np.clip(metrics.lab(picture(4))[..., 1:].reshape(-1, 2), -110, 109.999)
    expected = np.histogram2d(ab[:, 0], ab[:, 1], bins=22, range=[(-110, 110)] * 2)[0] / len(ab)
    np.testing.assert_allclose(
        metrics.ab_histogram(metrics.chromaticness(picture(4))).reshape(22, 22), expected, atol=1e-15
    )


def test_histogram_intersection_is_that_of_opencv() -> None:
    one, other = picture(4), np.clip(picture(5), 40, 200)
    histograms = []
    for rgb in (one, other):
        ab = np.round(metrics.lab(rgb)[..., 1:], 2).astype(np.float32)
        counts = cv2.calcHist([ab], [0, 1], None, [22, 22], [-110, 110, -110, 110])
        histograms.append(counts / counts.sum())
    expected = cv2.compareHist(*histograms, cv2.HISTCMP_INTERSECT)
    assert metrics.histogram_intersection(one, other) == pytest.approx(expected, abs=1e-6)
    assert 0.3 < expected < 0.95


def test_colorfulness_gives_the_known_values() -> None:
    red = np.zeros((10, 10, 3), np.uint8)
    red[..., 0] = 255
    mixed = red.copy()
    mixed[5:] = (0, 0, 255)
    assert metrics.colorfulness(red) == pytest.approx(85.53, abs=0.01)
    assert metrics.colorfulness(np.full((10, 10, 3), 90, np.uint8)) == 0
    assert metrics.colorfulness(mixed) == pytest.approx(272.62, abs=0.01)


def test_colorfulness_is_the_sum_written_out() -> None:
    """Hasler & Suesstrunk 2003, section 7, with the standard library."""
    pixels = [tuple(map(int, pixel)) for pixel in picture(6).reshape(-1, 3)]
    rg = [r - g for r, g, _ in pixels]
    yb = [(r + g) / 2 - b for r, g, b in pixels]
    spread = (statistics.pvariance(rg) + statistics.pvariance(yb)) ** 0.5
    middle = (statistics.fmean(rg) ** 2 + statistics.fmean(yb) ** 2) ** 0.5
    assert metrics.colorfulness(picture(6)) == pytest.approx(spread + 0.3 * middle, rel=1e-5)


def test_jensen_shannon_divergence_is_that_of_torchmetrics() -> None:
    p, q = (metrics.rgb_histograms(picture(seed, 200, 200)) for seed in (1, 2))
    assert p.min() > 0 and q.min() > 0
    expected = jensen_shannon_divergence(torch.from_numpy(p), torch.from_numpy(q), reduction="none").numpy()
    np.testing.assert_allclose(metrics.jensen_shannon(p, q), expected, rtol=1e-9)


def test_cdc_is_the_divergence_of_scipy() -> None:
    histograms = [metrics.rgb_histograms(picture(seed)) for seed in range(6)]

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        return float((entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2)

    expected = np.mean(
        [
            np.mean([divergence(histograms[i][c], histograms[i + d][c]) for i in range(6 - d) for c in range(3)])
            for d in (1, 2, 4)
        ]
    )
    assert metrics.color_distribution_consistency(histograms) == pytest.approx(expected, rel=1e-9)
    assert metrics.color_distribution_consistency([histograms[0]] * 5) == 0
    black, white = (metrics.rgb_histograms(np.full((4, 4, 3), v, np.uint8)) for v in (0, 255))
    assert metrics.color_distribution_consistency([black, white]) == pytest.approx(np.log(2))


def test_luma_difference() -> None:
    a = np.array([[0, 255]], np.uint8)
    assert metrics.luma_difference(a, a) == 0
    assert metrics.luma_difference(a, np.array([[255, 255]], np.uint8)) == 255


def test_greys_share_one_bin() -> None:
    """A grey is a grey whatever its lightness; rounding noise around a* = b* = 0 must not tell them apart."""
    greys = [np.full((4, 4, 3), value, np.uint8) for value in range(0, 256, 5)]
    assert all(metrics.histogram_intersection(greys[0], grey) == pytest.approx(1) for grey in greys)
