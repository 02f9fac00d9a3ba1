"""CIELAB against scikit-image and kornia; chroma for a given luma against the colors it was made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from streamcolor.color.convert import (
    grey_lightness,
    lab_to_ycbcr,
    lightness,
    luma_to_unit,
    quantize_chroma,
    rgb_to_lab,
)
from streamcolor.color.standards import ColorSpace, Matrix, Primaries, Range, Transfer, luma_coefficients

BT709 = ColorSpace(Matrix.BT709, Primaries.BT709, Transfer.BT709, Range.LIMITED)
BT601 = ColorSpace(Matrix.SMPTE170M, Primaries.SMPTE170M, Transfer.SMPTE170M, Range.LIMITED)
PQ = ColorSpace(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.SMPTE2084, Range.LIMITED)
HLG = replace(PQ, transfer=Transfer.ARIB_STD_B67)
SPACES = [BT709, BT601, PQ, HLG]
by_name = {"ids": lambda s: f"{s.matrix.name}-{s.transfer.name}"}


def random_rgb(shape=(40, 60), seed=0):
    return np.random.default_rng(seed).random((*shape, 3), dtype=np.float32)


def to_ycbcr(rgb, matrix):
    kr, kb = luma_coefficients(matrix)
    y = rgb @ np.array([kr, 1 - kr - kb, kb], rgb.dtype)
    return y, (rgb[..., 2] - y) / (2 * (1 - kb)), (rgb[..., 0] - y) / (2 * (1 - kr))


def to_rgb(y, cb, cr, matrix):
    kr, kb = luma_coefficients(matrix)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue])


def test_lab_agrees_with_scikit_image_and_kornia():
    kornia = pytest.importorskip("kornia")
    rgb = random_rgb()
    l_star, ab = rgb_to_lab(rgb)
    ours = np.concatenate([l_star[None], ab])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, np.moveaxis(rgb2lab(rgb), 2, 0), atol=0.05)
    theirs = kornia.color.rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=0.05)


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_limited_and_full_range_reach_black_and_white(depth):
    scale = 2 ** (depth - 8)
    codes = np.array([[16 * scale, 235 * scale]], np.uint8 if depth == 8 else np.uint16)
    np.testing.assert_allclose(luma_to_unit(codes, depth, Range.LIMITED), [[0, 1]], atol=1e-6)
    np.testing.assert_allclose(lightness(codes, depth, BT709), [[0, 100]], atol=1e-3)
    ends = np.array([[0, 2**depth - 1]], codes.dtype)
    np.testing.assert_allclose(luma_to_unit(ends, depth, Range.FULL), [[0, 1]], atol=1e-6)


def test_lightness_of_sdr_film_is_that_of_the_grey_srgb_value():
    luma = np.arange(16, 236, dtype=np.uint8)[None]
    grey = np.repeat((luma[..., None] - 16.0) / 219, 3, -1)
    np.testing.assert_allclose(lightness(luma, 8, BT601), rgb2lab(grey)[..., 0], atol=0.05)


def test_lightness_of_hdr_film_is_100_from_reference_white_on():
    codes = np.array([[0, round(64 + 876 * 0.5807), 940]], np.uint16)
    np.testing.assert_allclose(lightness(codes, 10, PQ), [[0, 100, 100]], atol=0.2)


@pytest.mark.parametrize("space", [BT709, BT601], **by_name)
def test_lightness_of_a_reference_is_that_of_the_film_made_of_it(space):
    rgb = random_rgb()
    film = np.rint(to_ycbcr(rgb, space.matrix)[0] * 65535).astype(np.uint16)
    of_film = lightness(film, 16, replace(space, range=Range.FULL))
    np.testing.assert_allclose(grey_lightness(rgb, space.matrix), of_film, atol=0.02)


@pytest.mark.parametrize("matrix", [m for m in Matrix if m in (1, 4, 5, 6, 7, 9)])
def test_color_survives_the_way_through_ab_and_back(matrix):
    rgb = random_rgb(seed=int(matrix))
    y, cb, cr = to_ycbcr(rgb, matrix)
    got = lab_to_ycbcr(y, rgb_to_lab(rgb)[1], replace(BT709, matrix=matrix), exact=True)
    np.testing.assert_allclose(np.stack(got) * 224, np.stack([cb, cr]) * 224, atol=0.25)


@pytest.mark.parametrize("space", SPACES, **by_name)
def test_interpolated_chroma_is_that_of_the_exact_solution(space):
    rng = np.random.default_rng(3)
    y = rng.uniform(0.02, 0.98, (60, 80)).astype(np.float32)
    ab = rng.uniform(-60, 60, (2, 60, 80)).astype(np.float32)
    off = np.abs(np.stack(lab_to_ycbcr(y, ab, space)) - np.stack(lab_to_ycbcr(y, ab, space, exact=True))) * 224
    assert off.mean() < 0.05
    assert np.percentile(off, 99) < 1.5


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SPACES),
    st.floats(-0.0625, 1.0625, width=32),
    st.floats(-200, 200, width=32),
    st.floats(-200, 200, width=32),
    st.booleans(),
)
def test_every_color_can_be_shown_and_keeps_its_luma(space, y, a, b, exact):
    luma, ab = np.full((1, 1), y, np.float32), np.array([a, b], np.float32).reshape(2, 1, 1)
    cb, cr = lab_to_ycbcr(luma, ab, space, exact=exact)
    assert np.isfinite(cb).all() and np.isfinite(cr).all()
    if not 0 < y < 1:
        assert cb == cr == 0
        return
    rgb = to_rgb(luma.astype(np.float64), cb, cr, space.matrix)
    assert rgb.min() > -1e-5 and rgb.max() < 1 + 1e-5


def test_a_color_out_of_gamut_becomes_the_strongest_of_its_hue():
    y, ab = np.full((1, 1), 0.9, np.float32), np.array([80, -90], np.float32).reshape(2, 1, 1)
    cb, cr = lab_to_ycbcr(y, ab, BT709)
    assert to_rgb(y, cb, cr, Matrix.BT709).max() == pytest.approx(1, abs=1e-5)
    assert cb > 0 and cr > 0


def test_chroma_changes_little_where_luma_and_ab_change_little():
    y = np.linspace(0.02, 0.98, 500, dtype=np.float32)[None]
    ab = np.stack([np.linspace(-80, 80, 500, dtype=np.float32), np.linspace(70, -70, 500, dtype=np.float32)])[:, None]
    steps = np.abs(np.diff(np.stack(lab_to_ycbcr(y, ab, BT709)))) * 224
    assert steps.max() < 2.5


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 16), st.sampled_from([Range.LIMITED, Range.FULL]), st.sampled_from(SPACES), st.integers(0, 99))
def test_no_color_is_exactly_neutral(depth, range_, space, seed):
    y = np.random.default_rng(seed).uniform(-0.1, 1.1, (5, 7)).astype(np.float32)
    for plane in quantize_chroma(*lab_to_ycbcr(y, np.zeros((2, 5, 7), np.float32), space), depth, range_):
        assert (plane == 1 << (depth - 1)).all()


@pytest.mark.parametrize("depth", range(8, 17))
def test_quantized_chroma_is_legal(depth):
    c, scale = np.array([[-0.6, -0.5, 0.0, 0.5, 0.6]], np.float32), 1 << (depth - 8)
    limited = quantize_chroma(c, c, depth, Range.LIMITED)[0]
    assert limited.dtype == (np.uint8 if depth == 8 else np.uint16)
    assert limited.tolist() == [[code * scale for code in (16, 16, 128, 240, 240)]]
    full = quantize_chroma(c, c, depth, Range.FULL)[1]
    assert (full[0, 0], full[0, 2], full[0, 4]) == (0, 1 << (depth - 1), 2**depth - 1)
