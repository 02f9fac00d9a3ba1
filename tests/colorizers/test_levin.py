"""Levin, Lischinski, Weiss 2004: against a direct solution of the same system, and by what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from streamcolor.colorizers.levin import NEIGHBORS, affinities, spread_strokes


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (
        np.kron(rng.random((height // 8, width // 8)), np.ones((8, 8))) * 80 + rng.random((height, width)) * 5
    ).astype(np.float32)


def strokes(height: int, width: int, count: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    mask.flat[rng.choice(height * width, count, replace=False)] = True
    return rng.normal(0, 30, (2, height, width)).astype(np.float32), mask


def test_it_solves_the_system_that_a_direct_solver_solves() -> None:
    height, width = 40, 48
    light = picture(height, width)
    ab, mask = strokes(height, width, 25)
    weights = affinities(np.asarray(light / 100, np.float32))
    rows, columns, values = [], [], []
    for y in range(height):
        for x in range(width):
            r = y * width + x
            rows.append(r), columns.append(r), values.append(1.0)
            if mask[y, x]:
                continue
            for weight, (dy, dx) in zip(weights[:, y, x], NEIGHBORS, strict=True):
                if weight > 0:
                    rows.append(r), columns.append((y + dy) * width + x + dx), values.append(-weight)
    system = scipy.sparse.csc_matrix((values, (rows, columns)))
    result = spread_strokes(light, ab, mask)
    for channel in range(2):
        right = np.where(mask, ab[channel], 0).ravel().astype(np.float64)
        expected = scipy.sparse.linalg.spsolve(system, right).reshape(height, width)
        np.testing.assert_allclose(result[channel], expected, atol=0.05)


def test_weights_sum_to_one_and_flat_pictures_weigh_evenly() -> None:
    weights = affinities(picture(32, 32) / 100)
    np.testing.assert_allclose(weights.sum(0), 1)
    flat = affinities(np.full((16, 16), 0.5, np.float32))
    np.testing.assert_allclose(flat[:, 5, 5], 1 / 8)
    np.testing.assert_allclose(sorted(flat[:, 0, 0]), [0] * 5 + [1 / 3] * 3)


def test_strokes_stay_and_nothing_leaves_their_range() -> None:
    ab, mask = strokes(64, 80, 30)
    result = spread_strokes(picture(64, 80), ab, mask)
    np.testing.assert_array_equal(result[:, mask], ab[:, mask])
    for channel in range(2):
        assert ab[channel][mask].min() <= result[channel].min() <= result[channel].max() <= ab[channel][mask].max()


def test_one_stroke_gives_a_constant_plane_also_on_noise() -> None:
    rng = np.random.default_rng(3)
    light = (rng.random((48, 64)) * 100).astype(np.float32)
    mask = np.zeros((48, 64), bool)
    mask[10, 12] = True
    result = spread_strokes(light, np.full((2, 48, 64), 17.0, np.float32), mask)
    np.testing.assert_allclose(result, 17.0, atol=0.05)


def test_two_flat_halves_keep_their_own_color() -> None:
    light = np.full((40, 40), 20.0, np.float32)
    light[:, 20:] = 80
    ab, mask = np.zeros((2, 40, 40), np.float32), np.zeros((40, 40), bool)
    mask[20, 5] = mask[20, 35] = True
    ab[0, 20, 5], ab[0, 20, 35] = 40.0, -30.0
    result = spread_strokes(light, ab, mask)[0]
    assert np.abs(result[:, :18] - 40).max() < 2 and np.abs(result[:, 22:] + 30).max() < 2


def test_without_a_stroke_it_refuses() -> None:
    with pytest.raises(ValueError, match="no stroke"):
        spread_strokes(picture(16, 16), np.zeros((2, 16, 16), np.float32), np.zeros((16, 16), bool))
