"""The numbers of the standards, against FFmpeg's and against figures that the standards print."""

from __future__ import annotations

import numpy as np
import pytest
from av.video import reformatter

from streamcolor.color.standards import (
    ColorSpace,
    Matrix,
    Primaries,
    Range,
    Transfer,
    from_linear,
    luma_coefficients,
    rgb_to_xyz,
    to_linear,
)
from streamcolor.errors import InputError
from streamcolor.frame import ColorTags

SPACES = [
    ColorSpace(Matrix.BT709, Primaries.BT709, Transfer.BT709, Range.LIMITED),
    ColorSpace(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.SMPTE2084, Range.LIMITED),
    ColorSpace(Matrix.BT2020_NCL, Primaries.BT2020, Transfer.ARIB_STD_B67, Range.FULL),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "renamed"),
    [
        (Matrix, "Colorspace", {"ITU709": "BT709", "ITU601": "BT470BG", "BT2020": "BT2020_NCL"}),
        (Primaries, "ColorPrimaries", {}),
        (Transfer, "ColorTrc", {"BT1361_ECG": "BT1361"}),
        (Range, "ColorRange", {"MPEG": "LIMITED", "JPEG": "FULL"}),
    ],
)
def test_numbers_are_those_of_ffmpeg(ours, theirs, renamed):
    names = getattr(reformatter, theirs, None)
    if names is None:
        pytest.skip(f"this PyAV has no {theirs}")
    found = {renamed.get(member.name, member.name): int(member) for member in names}
    shared = {name: value for name, value in found.items() if name in ours.__members__}
    assert len(shared) >= 3
    assert shared == {name: int(ours[name]) for name in shared}


def test_untagged_film_follows_its_height():
    assert ColorSpace.of(ColorTags(), 1080).matrix is Matrix.BT709
    sd = ColorSpace.of(ColorTags(), 576)
    assert luma_coefficients(sd.matrix) == (0.299, 0.114)
    assert sd.range is Range.LIMITED


def test_tags_count_more_than_height():
    space = ColorSpace.of(ColorTags(matrix=1, primaries=9, transfer=16, range=2), 480)
    assert space == ColorSpace(Matrix.BT709, Primaries.BT2020, Transfer.SMPTE2084, Range.FULL)


def test_reserved_code_points_count_as_unspecified():
    assert ColorSpace.of(ColorTags(matrix=3, primaries=99, transfer=0), 720) == ColorSpace.of(ColorTags(), 720)


def test_matrix_without_luma_weights_is_refused_by_name():
    with pytest.raises(InputError, match=r"YCGCO .*8"):
        ColorSpace.of(ColorTags(matrix=8), 1080)


def test_luma_of_bt709_and_bt2020_is_luminance_of_their_primaries():
    for matrix, primaries in ((Matrix.BT709, Primaries.BT709), (Matrix.BT2020_NCL, Primaries.BT2020)):
        kr, kb = luma_coefficients(matrix)
        np.testing.assert_allclose(rgb_to_xyz(primaries)[1], (kr, 1 - kr - kb, kb), atol=1e-4)


@pytest.mark.parametrize(("code", "green"), [(1, 0.7152), (4, 0.59), (5, 0.587), (6, 0.587), (7, 0.701), (9, 0.678)])
def test_what_red_and_blue_leave_is_the_green_that_the_standard_prints(code, green):
    assert 1 - sum(luma_coefficients(Matrix(code))) == pytest.approx(green, abs=1e-9)


@pytest.mark.parametrize("primaries", list(Primaries))
def test_white_is_white(primaries):
    np.testing.assert_allclose(rgb_to_xyz(primaries) @ np.ones(3), 1, atol=1e-12)


def test_pq_puts_203_nits_at_58_percent_and_100_nits_at_51_percent():
    light = np.array([203 / 203, 100 / 203, 10000 / 203])
    signal = from_linear(np.broadcast_to(light, (3, 3)), SPACES[1])[0]
    np.testing.assert_allclose(signal, (0.5807, 0.5081, 1.0), atol=1e-4)


def test_hlg_reference_white_is_three_quarters_and_peak_is_1000_nits():
    light = to_linear(np.broadcast_to(np.array([0.75, 1.0]), (3, 2)), SPACES[2])[0]
    np.testing.assert_allclose(light, (1.0, 1000 / 203), rtol=2e-3)


@pytest.mark.parametrize("space", SPACES, ids=lambda s: s.transfer.name)
def test_from_linear_inverts_to_linear(space):
    signal = np.random.default_rng(1).random((3, 500))
    np.testing.assert_allclose(from_linear(to_linear(signal, space), space), signal, atol=1e-6)
