"""The planes that go to the encoder: shape, depth, legal codes, and the luma they were made for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcolor.color.planes import chroma_planes, luma_at_chroma
from streamcolor.color.standards import ChromaLocation, ColorSpace, Matrix, Primaries, Range, Transfer

BT709 = ColorSpace(Matrix.BT709, Primaries.BT709, Transfer.BT709, Range.LIMITED)
BT601_FULL = ColorSpace(Matrix.SMPTE170M, Primaries.SMPTE170M, Transfer.UNSPECIFIED, Range.FULL)


@settings(max_examples=60, deadline=None)
@given(
    depths=st.tuples(st.integers(8, 16), st.integers(8, 16)),
    space=st.sampled_from([BT709, BT601_FULL]),
    size=st.tuples(st.integers(1, 41), st.integers(1, 41)),
    halved=st.tuples(st.booleans(), st.booleans()),
    siting=st.integers(0, 6),
    small=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    colored=st.booleans(),
    seed=st.integers(0, 999),
)
def test_planes_of_any_film(depths, space, size, halved, siting, small, colored, seed):
    depth, out_depth = depths
    rng = np.random.default_rng(seed)
    luma = rng.integers(0, 2**depth, size).astype(np.uint8 if depth == 8 else np.uint16)
    luma.setflags(write=False)
    shape = tuple((side + 1) // 2 if half else side for side, half in zip(size, halved, strict=True))
    ab = rng.uniform(-110, 110, (2, *small)).astype(np.float32) * colored
    for plane in chroma_planes(ab, luma, depth=depth, space=space, shape=shape, out_depth=out_depth, siting=siting):
        assert plane.shape == shape
        assert plane.dtype == (np.uint8 if out_depth == 8 else np.uint16)
        scale = 1 << (out_depth - 8)
        low, high = (0, 2**out_depth - 1) if space.range is Range.FULL else (16 * scale, 240 * scale)
        assert low <= plane.min() and plane.max() <= high
        if not colored:
            assert (plane == 128 * scale).all()


@pytest.mark.parametrize("location", list(ChromaLocation))
@pytest.mark.parametrize("size", [(40, 60), (41, 61)])
def test_luma_is_taken_where_the_chroma_samples_lie(location, size):
    rows, columns = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    shape = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    down, right = {0: (0.5, 0), 1: (0.5, 0), 2: (0.5, 0.5), 3: (0, 0), 4: (0, 0.5), 5: (1, 0), 6: (1, 0.5)}[location]
    inside = np.s_[1:-1, 1:-1]
    at_row = luma_at_chroma((rows * 3).astype(np.uint16), shape, location)[inside]
    np.testing.assert_array_equal(at_row, (3 * (2 * np.arange(shape[0])[:, None] + down))[1:-1] + 0 * at_row)
    at_column = luma_at_chroma((columns * 3).astype(np.uint16), shape, location)[inside]
    np.testing.assert_array_equal(at_column, (3 * (2 * np.arange(shape[1]) + right))[1:-1] + 0 * at_column)


def test_saturation_scales_color_and_zero_removes_it():
    luma = np.full((32, 48), 120, np.uint8)
    ab = np.broadcast_to(np.array([20, 30], np.float32)[:, None, None], (2, 4, 6))
    made = {
        s: chroma_planes(ab, luma, depth=8, space=BT709, shape=(16, 24), out_depth=8, saturation=s)
        for s in (0.0, 0.5, 1.0)
    }
    assert (made[0.0][0] == 128).all() and (made[0.0][1] == 128).all()
    blue, red = ({s: abs(float(planes[i].mean()) - 128) for s, planes in made.items()} for i in (0, 1))
    assert 0 < blue[0.5] < blue[1.0] and 0 < red[0.5] < red[1.0]


def test_bands_do_not_show():
    ab = np.broadcast_to(np.array([20, 30], np.float32)[:, None, None], (2, 4, 6))
    luma = np.full((700, 800), 500, np.uint16)
    for plane in chroma_planes(ab, luma, depth=10, space=BT709, shape=(350, 400), out_depth=10):
        assert (plane == plane[0, 0]).all()
        assert plane[0, 0] != 512


def test_a_siting_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="7"):
        chroma_planes(
            np.zeros((2, 1, 1), np.float32),
            np.zeros((2, 2), np.uint8),
            depth=8,
            space=BT709,
            shape=(1, 1),
            out_depth=8,
            siting=7,
        )
