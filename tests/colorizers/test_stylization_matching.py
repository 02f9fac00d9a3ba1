"""AdaIN and WCT against their definitions, computed with numpy; pooled statistics; label maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamcolor.colorizers.padding import padded
from streamcolor.colorizers.stylization.labels import padded_mask, regions
from streamcolor.colorizers.stylization.matching import MATCH, MEASURE, Variant, adain, covariance, moments, pooled, wct


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def features(channels: int = 6, count: int = 400, spread: float = 2.0) -> torch.Tensor:
    """Correlated, rectified and far from zero mean, as features of a network are."""
    mixed = torch.randn(channels, channels) @ torch.randn(channels, count) * spread
    return torch.relu(mixed + torch.rand(channels, 1))[None]


def adain_of_numpy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Equation 1 for one sample (C, N)."""
    result = np.empty_like(x)
    for channel in range(len(x)):
        unit = (x[channel] - x[channel].mean()) / np.sqrt(x[channel].var() + 1e-5)
        result[channel] = np.sqrt(y[channel].var() + 1e-5) * unit + y[channel].mean()
    return result


def wct_of_numpy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Li et al. 2017, section 3.2, by singular values as in their code; covariances by numpy."""
    u, d, _ = np.linalg.svd(np.cov(x))
    kept = d > 1e-5
    whitened = u[:, kept] @ np.diag(d[kept] ** -0.5) @ u[:, kept].T @ (x - x.mean(1, keepdims=True))
    u, d, _ = np.linalg.svd(np.cov(y))
    kept = d > 1e-5
    return u[:, kept] @ np.diag(d[kept] ** 0.5) @ u[:, kept].T @ whitened + y.mean(1, keepdims=True)


@pytest.mark.parametrize(
    ("variant", "expected"), [("adain", adain_of_numpy), ("wct", wct_of_numpy)], ids=["adain", "wct"]
)
@pytest.mark.parametrize("counts", [(400, 400), (400, 90), (30, 1000)])
def test_both_match_their_definitions(variant: Variant, expected, counts: tuple[int, int]) -> None:
    x, y = features(count=counts[0]), features(count=counts[1], spread=0.5)
    found = MATCH[variant](x, MEASURE[variant](y))
    wanted = expected(x[0].double().numpy(), y[0].double().numpy())
    assert found.dtype == x.dtype and found.shape == x.shape
    np.testing.assert_allclose(found[0].numpy(), wanted, atol=1e-4, rtol=0)
    assert np.abs(wanted - x[0].numpy()).max() > 0.1


def test_every_sample_has_its_own_statistics() -> None:
    x, y = torch.cat([features(), features()]), torch.cat([features(), features(spread=9)])
    for variant in ("adain", "wct"):
        together = MATCH[variant](x, MEASURE[variant](y))
        apart = [MATCH[variant](x[n : n + 1], MEASURE[variant](y[n : n + 1])) for n in range(2)]
        torch.testing.assert_close(together, torch.cat(apart), atol=1e-4, rtol=1e-5)


def test_the_result_has_the_statistics_of_the_style() -> None:
    x, y = features(), features(spread=0.3)
    matched, style = moments(adain(x, moments(y))), moments(y)
    torch.testing.assert_close(matched.mean, style.mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(matched.spread.sqrt(), style.spread.sqrt(), atol=0, rtol=1e-4)
    matched, style = covariance(wct(x.double(), covariance(y))), covariance(y)
    torch.testing.assert_close(matched.spread, style.spread, atol=1e-7, rtol=0)
    torch.testing.assert_close(matched.mean, style.mean, atol=1e-7, rtol=0)


def test_own_statistics_change_nothing() -> None:
    x = features()
    torch.testing.assert_close(adain(x, moments(x)), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(wct(x, covariance(x)), x, atol=1e-5, rtol=0)


def test_of_one_channel_they_are_the_same() -> None:
    x, y = features(1), features(1, spread=7)
    torch.testing.assert_close(adain(x, moments(y)), wct(x, covariance(y)), atol=2e-3, rtol=1e-4)
    longer = features(1, 500)
    assert (adain(x[..., :20], moments(longer)) - wct(x[..., :20], covariance(longer))).abs().max() > 1e-2


def test_flat_features_and_single_positions_take_the_mean_of_the_style() -> None:
    y = features()
    for x in (torch.full((1, 6, 30), 0.7), torch.rand(1, 6, 1)):
        for variant in ("adain", "wct"):
            style = MEASURE[variant](y)
            found = MATCH[variant](x, style)
            torch.testing.assert_close(found, style.mean.float().expand(found.shape), atol=1e-3, rtol=0)


@pytest.mark.parametrize("variant", ["adain", "wct"])
def test_pooled_statistics_are_those_of_all_positions(variant: Variant) -> None:
    whole = features(count=300)
    parts = [MEASURE[variant](part) for part in whole.split((40, 10, 250), -1)]
    found, wanted = pooled(parts), MEASURE[variant](whole)
    assert found.count == 300 and found.variant == variant
    torch.testing.assert_close(found.mean, wanted.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.spread, wanted.spread, atol=1e-4, rtol=1e-5)
    assert pooled(parts[:1]) is parts[0]


def test_regions_are_labels_with_enough_pixels_in_both_maps() -> None:
    content, style = torch.zeros(40, 60, dtype=torch.uint8), torch.zeros(30, 30, dtype=torch.uint8)
    content[0, :20], style[0, :11] = 1, 1
    content[1, :20], style[1, :10] = 2, 2  # ten are too few
    content[2, :20] = 3  # not in the style
    content[10:, :], style[2, :11] = 4, 4  # 1800 for 11 are too many
    here, there = regions(content, style)
    assert list(here) == list(there) == [0, 1]
    assert torch.equal(here[1], content == 1) and torch.equal(there[0], style == 0)
    style[3, :8] = 4
    assert list(regions(content, style)[0]) == [0, 1, 4]


@pytest.mark.parametrize("size", [(17, 30), (16, 16), (3, 21), (1, 1)])
def test_masks_are_padded_as_pictures_are(size: tuple[int, int]) -> None:
    mask = torch.rand(size) < 0.5
    multiple = 8 if min(size) > 8 else 16
    found = padded_mask(mask, multiple)
    picture = padded(mask[None, None].float(), multiple)[0, 0]
    assert found.shape == picture.shape and found.dtype == torch.bool
    exact = (picture == 0) | (picture == 1)
    assert torch.equal(found[exact & (picture == 1)], torch.ones_like(found[exact & (picture == 1)]))
    if min(size) > 8:
        assert torch.equal(found.float(), picture)
