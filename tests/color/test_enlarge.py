"""Enlargement: no new colors, right places, and no worse than cubic interpolation on a real film."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcolor.color.convert import lab_to_ycbcr, luma_to_unit, rgb_to_lab
from streamcolor.color.enlarge import Grid, enlarge
from streamcolor.color.standards import ChromaLocation, ColorSpace, Matrix, Primaries, Range, Transfer

DAVIS = Path(__file__).parents[3] / "shared/data/eval/davis"
BT709 = ColorSpace(Matrix.BT709, Primaries.BT709, Transfer.BT709, Range.LIMITED)


def noise(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.floats(-110, 110, width=32))
def test_one_color_stays_exactly_that_color(h, w, rows, columns, color):
    out = enlarge(np.full((2, h, w), color, np.float32), noise((rows, columns)))
    assert (out == np.float32(color)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_no_new_colors(h, w, rows, columns, seed):
    ab = noise((2, h, w), seed) * 200 - 100
    out = enlarge(ab, noise((rows, columns), seed + 1))
    assert out.shape == (2, rows, columns) and out.dtype == np.float32
    reach = np.ones((5, 5), np.uint8)
    for plane, small in zip(out, ab, strict=True):
        # The bounds of the samples around, looked up at the nearest sample.
        y = np.minimum((np.arange(rows) + 0.5) / rows * h, h - 1).astype(int)
        x = np.minimum((np.arange(columns) + 0.5) / columns * w, w - 1).astype(int)
        assert (plane >= cv2.erode(small, reach)[np.ix_(y, x)] - 1e-3).all()
        assert (plane <= cv2.dilate(small, reach)[np.ix_(y, x)] + 1e-3).all()


def test_a_color_edge_moves_onto_the_edge_of_luma():
    guide = np.where(np.arange(160) < 70, 0.2, 0.8).astype(np.float32) * np.ones((80, 1), np.float32)
    truth = np.stack([guide * 100, guide * -50])
    ab = np.stack([cv2.resize(plane, (20, 10), interpolation=cv2.INTER_AREA) for plane in truth])
    cubic = np.stack([cv2.resize(plane, (160, 80), interpolation=cv2.INTER_CUBIC) for plane in ab])
    assert np.abs(enlarge(ab, guide) - truth).mean() < 0.2 * np.abs(cubic - truth).mean()


def test_luma_that_color_does_not_follow_changes_nothing():
    ab = cv2.GaussianBlur(noise((10, 20, 2), 1) * 100, (0, 0), 1.5).transpose(2, 0, 1).copy()
    textured = enlarge(ab, 0.5 + 0.1 * (noise((80, 160), 2) - 0.5))
    flat = enlarge(ab, np.full((80, 160), 0.5, np.float32))
    assert np.abs(textured - flat).mean() < 0.02 * ab.std()


@pytest.mark.parametrize("location", list(ChromaLocation))
def test_colors_lie_where_the_chroma_samples_lie(location):
    h, w, height, width = 12, 16, 95, 127
    ab = np.stack(np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")).astype(np.float32)
    grid = Grid.of_chroma((48, 64), (height, width), location)
    down, right = {0: (0.5, 0), 1: (0.5, 0), 2: (0.5, 0.5), 3: (0, 0), 4: (0, 0.5), 5: (1, 0), 6: (1, 0.5)}[location]
    rows, columns = enlarge(ab, np.full((48, 64), 0.3, np.float32), grid)[:, 10:-10, 10:-10]
    at_row = (np.arange(48) * 2 + down + 0.5)[10:-10, None] * h / height
    at_column = (np.arange(64) * 2 + right + 0.5)[10:-10] * w / width
    # Cubic convolution with parameter -0.75 bends a ramp by 0.05 of a small sample; on average it is the ramp.
    assert np.abs(rows - at_row).max() < 0.06 and abs((rows - at_row).mean()) < 0.01
    assert np.abs(columns - at_column).max() < 0.06 and abs((columns - at_column).mean()) < 0.01


def test_a_plane_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\(47, 64\)"):
        Grid.of_chroma((47, 64), (96, 128), ChromaLocation.LEFT)


@pytest.mark.skipif(not DAVIS.exists(), reason="the evaluation clips are not here")
@pytest.mark.parametrize("reduction", [8, 16])
@pytest.mark.parametrize("clip", ["bmx-trees", "car-roundabout", "kite-surf"])
def test_real_chroma_is_enlarged_no_worse_than_by_cubic_interpolation(clip, reduction):
    with av.open(str(DAVIS / f"{clip}.mp4")) as container:
        frame = next(container.decode(video=0))
    rgb = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709")
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
    # At the size of the chroma planes: the film knows no finer chroma to compare with.
    half = (frame.width // 2, frame.height // 2)
    y = cv2.resize(luma_to_unit(luma, 8, Range.LIMITED), half, interpolation=cv2.INTER_AREA)
    size = (frame.width // reduction, frame.height // reduction)
    full = rgb_to_lab(rgb.astype(np.float32) / 255)[1]
    true = np.stack([cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in full])
    ab = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in full])
    cubic = np.stack([cv2.resize(p, half, interpolation=cv2.INTER_CUBIC) for p in ab])
    target = np.stack(lab_to_ycbcr(y, true, BT709))

    def psnr(enlarged):
        return -10 * np.log10(np.mean((np.stack(lab_to_ycbcr(y, enlarged, BT709)) - target) ** 2))

    assert psnr(enlarge(ab, y)) > psnr(cubic) - 0.05
