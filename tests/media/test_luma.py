from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcolor.errors import InputError
from streamcolor.frame import ColorTags
from streamcolor.media.luma import frame_luma, pixel_layout
from streamcolor.media.rgb import rgb_to_ycbcr, ycbcr_to_rgb


def noise(pixel_format: str, width: int = 66, height: int = 48) -> tuple[av.VideoFrame, Any]:
    """A frame of random samples, and the bytes of its first plane without the padding of the rows."""
    frame = av.VideoFrame(width, height, pixel_format)
    rng = np.random.default_rng(1)
    for plane in frame.planes:
        np.frombuffer(memoryview(plane), np.uint8)[:] = rng.integers(0, 256, plane.buffer_size, np.uint8)
    first = frame.planes[0]
    return frame, np.frombuffer(memoryview(first), np.uint8).reshape(first.height, first.line_size).copy()


@pytest.mark.parametrize(
    ("pixel_format", "kind", "start", "step", "shift"),
    [
        ("yuyv422", "u1", 0, 2, 0),
        ("uyvy422", "u1", 1, 2, 0),
        ("yvyu422", "u1", 0, 2, 0),
        ("ya8", "u1", 0, 2, 0),
        ("nv12", "u1", 0, 1, 0),
        ("nv24", "u1", 0, 1, 0),
        ("gray16be", ">u2", 0, 1, 0),
        ("ya16be", ">u2", 0, 2, 0),
        ("yuv422p16be", ">u2", 0, 1, 0),
        ("p010le", "<u2", 0, 1, 6),
        ("p210le", "<u2", 0, 1, 6),
        ("p012le", "<u2", 0, 1, 4),
        ("p016le", "<u2", 0, 1, 0),
        ("y210le", "<u2", 0, 2, 6),
        ("ayuv64le", "<u2", 1, 4, 0),
    ],
)
def test_every_sample_of_odd_layouts_survives(pixel_format: str, kind: str, start: int, step: int, shift: int) -> None:
    frame, rows = noise(pixel_format)
    samples = rows.view(kind)[:, start::step][:, :66] >> shift
    luma = frame_luma(frame)
    assert np.array_equal(luma, samples)
    assert not luma.flags.writeable


@pytest.mark.parametrize("pixel_format", ["bgr0", "vuyx", "rgb48be"])
def test_repacking_gives_the_same_luma_every_time(pixel_format: str) -> None:
    frame, _ = noise(pixel_format, 330, 240)
    first = frame_luma(frame)
    for _ in range(40):
        again, _ = noise(pixel_format, 330, 240)
        assert np.array_equal(frame_luma(again), first)


def test_upper_aligned_and_float_formats() -> None:
    assert (pixel_layout("p010le").depth, pixel_layout("p010le").subsampling) == (10, "420")
    for pixel_format in ("grayf32le", "xyz12le", "bayer_rggb8", "cuda"):
        with pytest.raises(InputError, match=pixel_format):
            pixel_layout(pixel_format)


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
@given(seed=st.integers(0, 2**32 - 1))
def test_luma_survives_the_matrix_whatever_the_chroma(depth: int, seed: int) -> None:
    luma, cb, cr = _random((3, 9, 11), depth, seed)
    rgb = ycbcr_to_rgb(luma, cb, cr, depth)
    assert np.abs(rgb_to_ycbcr(rgb, depth)[0].astype(int) - luma.astype(int)).max() <= 1


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
@given(seed=st.integers(0, 2**32 - 1))
def test_pictures_survive_the_matrix_both_ways(depth: int, seed: int) -> None:
    rgb = _random((9, 11, 3), depth, seed)
    top = (1 << depth) - 1
    rgb[0, :8] = [[top * (n >> 2 & 1), top * (n >> 1 & 1), top * (n & 1)] for n in range(8)]  # the corners of the cube
    luma, cb, cr = rgb_to_ycbcr(rgb, depth)
    again = ycbcr_to_rgb(luma, cb, cr, depth)
    # Blue is the worst: half a code of Y', 1.8556 times half a code of CB, and its own half.
    assert np.abs(again.astype(int) - rgb.astype(int)).max() <= 2
    assert np.abs(rgb_to_ycbcr(again, depth)[0].astype(int) - luma.astype(int)).max() <= 1


def _random(shape: tuple[int, ...], depth: int, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 1 << depth, shape, np.uint8 if depth == 8 else np.uint16)


def test_primaries_have_the_values_of_bt709() -> None:
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    luma, cb, cr = rgb_to_ycbcr(rgb, 8)
    assert luma.tolist() == [[54, 182, 18, 255]]
    assert cb.tolist() == [[99, 30, 255, 128]]
    assert cr.tolist() == [[255, 12, 116, 128]]


def test_limited_range_white_is_full_white() -> None:
    plane = np.array([[16, 235, 126]], np.uint8)
    half = np.full((1, 3), 128, np.uint8)
    rgb = ycbcr_to_rgb(plane, half, half, 8, ColorTags(matrix=6, range=1), 16)
    assert rgb[0, :, 0].tolist() == [0, 65535, round(110 / 219 * 65535)]
    with pytest.raises(InputError):
        ycbcr_to_rgb(plane, half, half, 8, ColorTags(matrix=14))
