"""Figures of a*, b* alone against scikit-image, scipy and torchmetrics; HIS with the reference by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch
from scipy.stats import entropy
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from streamcolor.evaluation import metrics
from streamcolor.evaluation.chroma import ChromaMeasure, ReferenceHis, ab_histograms, psnr_ab, ssim_ab
from streamcolor.evaluation.comparison import Pair
from streamcolor.evaluation.metrics import Picture, chromaticness


def picture(seed: int, height: int = 40, width: int = 50) -> Picture:
    """Colored blobs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def flat(r: int, g: int, b: int) -> Picture:
    return np.full((20, 24, 3), (r, g, b), np.uint8)


def pair(number: int, truth: Picture, output: Picture, references: tuple[Picture, ...] = ()) -> Pair:
    luma = truth[..., 1]
    return Pair(number, truth, output, np.repeat(luma[..., None], 3, -1), luma, luma, number > 0, references)


def true_ab(rgb: Picture) -> np.ndarray:
    return skimage.color.rgb2lab(rgb)[..., 1:]


def test_the_planes_are_those_of_scikit_image() -> None:
    # To within the digits that the two give the matrix of sRGB.
    np.testing.assert_allclose(chromaticness(picture(0)), true_ab(picture(0)), atol=0.02)
    cube = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3, indexing="ij"), -1).reshape(-1, 18, 3).astype(np.uint8)
    assert np.abs(chromaticness(cube)).max() < 110


def test_psnr_of_ab_is_that_of_others() -> None:
    one, other = picture(1), picture(2)
    found = psnr_ab(chromaticness(one), chromaticness(other))
    expected = skimage.metrics.peak_signal_noise_ratio(true_ab(one), true_ab(other), data_range=220)
    assert found == pytest.approx(expected, abs=1e-3)
    a, b = chromaticness(one).astype(np.float64), chromaticness(other).astype(np.float64)
    assert found == pytest.approx(skimage.metrics.peak_signal_noise_ratio(a, b, data_range=220), abs=1e-9)
    tensors = (torch.from_numpy(x) for x in (a, b))
    assert found == pytest.approx(float(peak_signal_noise_ratio(*tensors, data_range=220.0)), abs=1e-6)


def test_psnr_of_ab_of_equal_planes_is_finite_and_off_by_one_known() -> None:
    ab = chromaticness(picture(1))
    assert psnr_ab(ab, ab) == pytest.approx(metrics.psnr(picture(1), picture(1)))
    assert psnr_ab(ab, ab + 1) == pytest.approx(20 * np.log10(220), abs=1e-4)


def test_ssim_of_ab_is_that_of_others() -> None:
    one, other = picture(1), np.clip(picture(1).astype(int) + picture(2) // 4 - 20, 0, 255).astype(np.uint8)
    a, b = (chromaticness(rgb) for rgb in (one, other))
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = ssim_ab(a, b, exact=True)
    shifted = [x.astype(np.float64) + 110 for x in (a, b)]
    expected = skimage.metrics.structural_similarity(*shifted, channel_axis=-1, data_range=220, **settings)
    assert found == pytest.approx(expected, abs=1e-6) and 0.1 < found < 0.95
    assert ssim_ab(a, b) == pytest.approx(expected, abs=1e-4) and ssim_ab(a, a) == pytest.approx(1)
    tensors = [torch.from_numpy(x).permute(2, 0, 1)[None] for x in shifted]
    _, full = structural_similarity_index_measure(*tensors, sigma=1.5, data_range=220.0, return_full_image=True)
    assert found == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), abs=1e-6)


def test_the_histograms_are_those_of_numpy_and_greys_share_a_bin() -> None:
    ab = chromaticness(picture(3))
    for channel, histogram in enumerate(ab_histograms(ab)):
        expected = np.histogram(ab[..., channel], np.arange(-110.5, 111))[0] / (40 * 50)
        np.testing.assert_allclose(histogram, expected)
    for value in range(0, 256, 5):
        assert ab_histograms(chromaticness(flat(value, value, value)))[:, 110].tolist() == [1, 1]


def test_the_measure_is_the_means_written_out() -> None:
    truths, outputs = [picture(n) for n in range(6)], [picture(n + 10) for n in range(6)]
    measure = ChromaMeasure()
    for number in range(6):
        measure.add(pair(number, truths[number], outputs[number]))
    figures = measure.end_clip()
    ab = [[chromaticness(rgb) for rgb in rgbs] for rgbs in (truths, outputs)]
    assert figures["psnr_ab"] == pytest.approx(np.mean([psnr_ab(ab[0][n], ab[1][n]) for n in range(1, 6)]))
    assert figures["ssim_ab"] == pytest.approx(np.mean([ssim_ab(ab[0][n], ab[1][n]) for n in (1, 3, 5)]))
    squares = [np.mean(ab[0][n].astype(np.float64) ** 2) for n in range(1, 6)]
    assert figures["grey_ab"] == pytest.approx(np.mean([10 * np.log10(220**2 / square) for square in squares]))

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        return float((entropy(p, (p + q) / 2) + entropy(q, (p + q) / 2)) / 2)

    for column, planes in (("cdc_ab_gt", ab[0]), ("cdc_ab", ab[1])):
        h = [ab_histograms(x) for x in planes]
        means = [np.mean([divergence(h[i][c], h[i + d][c]) for i in range(6 - d) for c in (0, 1)]) for d in (1, 2, 4)]
        assert figures[column] == pytest.approx(1e3 * np.mean(means), rel=1e-9)


def test_degenerate_clips() -> None:
    truth, grey = picture(1), np.repeat(picture(1)[..., 1:2], 3, -1)
    measure = ChromaMeasure()
    for number in range(3):
        measure.add(pair(number, truth, grey))
    figures = measure.end_clip()
    # Uncolored film is at the floor, and nothing of a still clip changes.
    assert figures["psnr_ab"] == pytest.approx(figures["grey_ab"], abs=1e-3)
    assert figures["cdc_ab"] == figures["cdc_ab_gt"] == 0
    for number, color in enumerate(((255, 0, 0), (0, 0, 255))):
        measure.add(pair(number, flat(*color), flat(*color)))
    figures = measure.end_clip()
    # Histograms that share no bin.
    assert figures["cdc_ab"] == figures["cdc_ab_gt"] == pytest.approx(1e3 * np.log(2))
    measure.add(pair(0, truth, truth))
    assert measure.end_clip() == dict.fromkeys(ChromaMeasure.columns) and measure.pooled() == {}


def test_his_is_with_the_reference_and_not_with_the_truth() -> None:
    red, blue, grey = flat(255, 0, 0), flat(0, 0, 255), flat(120, 120, 120)
    half = red.copy()
    half[:10] = grey[:10]
    measure = ReferenceHis()
    for number in range(7):
        # Of six compared frames the first and the fifth count.
        output = half if number in (1, 5) else blue
        measure.add(pair(number, blue, output, (red,)))
    assert measure.end_clip() == pytest.approx({"his_ref": 0.5, "his_ref_gt": 0})
    # Of two references all pixels count together; the next clip has its own.
    for number in range(2):
        measure.add(pair(number, red, half, (grey, red)))
    assert measure.end_clip() == pytest.approx({"his_ref": 1, "his_ref_gt": 0.5})
    for number in range(2):
        measure.add(pair(number, red, half))
    assert measure.end_clip() == {"his_ref": None, "his_ref_gt": None} and measure.pooled() == {}
