"""The code points that films carry, and the numbers that the standards attach to them.

``Matrix``, ``Primaries`` and ``Transfer`` are the code points of ITU-T H.273 (2021), tables 4, 3 and 2; ``Range`` and
``ChromaLocation`` are numbered as FFmpeg's AVColorRange and AVChromaLocation. Where we depart from a standard on
purpose, the place says so: ``rgb_to_xyz`` (primaries of standard-definition films) and ``to_linear`` (one curve for
all films of standard dynamic range).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamcolor.errors import InputError

if TYPE_CHECKING:
    from streamcolor.frame import ColorTags

Floats = NDArray[np.floating[Any]]
Code = TypeVar("Code", bound=IntEnum)

TALLEST_STANDARD_DEFINITION = 576
"""Lines of the tallest standard-definition picture; an untagged taller film is taken for BT.709."""


class Matrix(IntEnum):
    """MatrixCoefficients (H.273 table 4): how Y', Cb, Cr are made of R', G', B'."""

    RGB = 0  # IEC 61966-2-1: no matrix, the planes are G', B', R'
    BT709 = 1  # ITU-R BT.709-6
    UNSPECIFIED = 2
    FCC = 4  # US Title 47 CFR 73.682(a)(20)
    BT470BG = 5  # ITU-R BT.601-7, 625 lines
    SMPTE170M = 6  # ITU-R BT.601-7, 525 lines; SMPTE ST 170
    SMPTE240M = 7  # SMPTE ST 240
    YCGCO = 8  # H.273 equations 56-69
    BT2020_NCL = 9  # ITU-R BT.2020-2, non-constant luminance
    BT2020_CL = 10  # ITU-R BT.2020-2, constant luminance
    SMPTE2085 = 11  # SMPTE ST 2085
    CHROMA_DERIVED_NCL = 12  # H.273 equations 38-44
    CHROMA_DERIVED_CL = 13  # H.273 equations 38-44 and 59-68
    ICTCP = 14  # ITU-R BT.2100-2


class Primaries(IntEnum):
    """ColourPrimaries (H.273 table 2): the colors of R, G, B and white."""

    BT709 = 1  # ITU-R BT.709-6; IEC 61966-2-1 (sRGB)
    UNSPECIFIED = 2
    BT470M = 4  # US Title 47 CFR 73.682(a)(20); NTSC 1953
    BT470BG = 5  # ITU-R BT.601-7, 625 lines
    SMPTE170M = 6  # ITU-R BT.601-7, 525 lines
    SMPTE240M = 7  # SMPTE ST 240
    FILM = 8  # generic film, illuminant C
    BT2020 = 9  # ITU-R BT.2020-2, BT.2100-2
    SMPTE428 = 10  # SMPTE ST 428-1 (CIE XYZ)
    SMPTE431 = 11  # SMPTE RP 431-2 (DCI P3)
    SMPTE432 = 12  # SMPTE EG 432-1 (P3 D65)
    EBU3213 = 22  # EBU Tech. 3213-E


class Transfer(IntEnum):
    """TransferCharacteristics (H.273 table 3): how a code value becomes light."""

    BT709 = 1  # ITU-R BT.709-6
    UNSPECIFIED = 2
    GAMMA22 = 4  # ITU-R BT.470-6 system M
    GAMMA28 = 5  # ITU-R BT.470-6 system B, G
    SMPTE170M = 6  # ITU-R BT.601-7
    SMPTE240M = 7  # SMPTE ST 240
    LINEAR = 8  # H.273 table 3
    LOG = 9  # H.273 table 3, 100:1
    LOG_SQRT = 10  # H.273 table 3, 100 * sqrt(10):1
    IEC61966_2_4 = 11  # IEC 61966-2-4 (xvYCC)
    BT1361 = 12  # ITU-R BT.1361-0
    IEC61966_2_1 = 13  # IEC 61966-2-1 (sRGB)
    BT2020_10 = 14  # ITU-R BT.2020-2, 10 bits
    BT2020_12 = 15  # ITU-R BT.2020-2, 12 bits
    SMPTE2084 = 16  # SMPTE ST 2084, ITU-R BT.2100-2 (PQ)
    SMPTE428 = 17  # SMPTE ST 428-1
    ARIB_STD_B67 = 18  # ARIB STD-B67, ITU-R BT.2100-2 (HLG)


class Range(IntEnum):
    """Which code values mean black and white, numbered as FFmpeg's AVColorRange."""

    UNSPECIFIED = 0
    LIMITED = 1  # ITU-R BT.601-7, BT.709-6: 16 to 235 and 16 to 240 at 8 bits ("tv")
    FULL = 2  # H.273 equations 26-28 with VideoFullRangeFlag 1 ("pc")


class ChromaLocation(IntEnum):
    """Where a subsampled chroma sample lies among its luma samples (H.273 section 8.7; AVChromaLocation)."""

    UNSPECIFIED = 0  # taken for LEFT
    LEFT = 1  # MPEG-2, H.264 and H.265 4:2:0
    CENTER = 2  # JPEG, MPEG-1 4:2:0
    TOPLEFT = 3  # ITU-R BT.2020-2 4:2:0, SMPTE ST 274
    TOP = 4
    BOTTOMLEFT = 5
    BOTTOM = 6


_LUMA_COEFFICIENTS: dict[Matrix, tuple[float, float]] = {
    Matrix.BT709: (0.2126, 0.0722),
    Matrix.FCC: (0.30, 0.11),
    Matrix.BT470BG: (0.299, 0.114),
    Matrix.SMPTE170M: (0.299, 0.114),
    Matrix.SMPTE240M: (0.212, 0.087),
    Matrix.BT2020_NCL: (0.2627, 0.0593),
}

_D65 = (0.3127, 0.3290)
_CHROMATICITIES: dict[Primaries, tuple[tuple[float, float], ...]] = {
    Primaries.BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    Primaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    Primaries.SMPTE432: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}

# SMPTE ST 2084 section 5.2; ITU-R BT.2408-7 section 2.1 puts reference white at 203 cd/m2.
_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK = 10000 / 203
# ITU-R BT.2100-2 table 5; ITU-R BT.2408-7 section 2.1 puts reference white at a signal of 0.75.
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2
_HLG_WHITE = (float(np.exp((0.75 - _HLG_C) / _HLG_A)) + _HLG_B) / 12


@dataclass(frozen=True, slots=True)
class ColorSpace:
    """What the code values of a film mean. Only the transfer may stay unspecified (see ``to_linear``)."""

    matrix: Matrix
    primaries: Primaries
    transfer: Transfer
    range: Range

    @classmethod
    def of(cls, tags: ColorTags, height: int) -> ColorSpace:
        """The space of a film with these tags and this many lines.

        What the tags leave open is taken as players take it: BT.709 above 576 lines, else BT.601 (SMPTE 170M), and
        limited range. Code points that H.273 reserves count as unspecified. A film tagged with matrix 0 (RGB) has had
        its luma made by us, with the matrix that is chosen here.

        Raises InputError for a matrix whose luma is not a weighted sum of R', G', B' (YCgCo, ICtCp, constant
        luminance) or is given by its primaries.
        """
        tall = height > TALLEST_STANDARD_DEFINITION
        matrix = _known(Matrix, tags.matrix, Matrix.UNSPECIFIED)
        if matrix in (Matrix.UNSPECIFIED, Matrix.RGB):
            matrix = Matrix.BT709 if tall else Matrix.SMPTE170M
        luma_coefficients(matrix)
        primaries = _known(Primaries, tags.primaries, Primaries.UNSPECIFIED)
        if primaries is Primaries.UNSPECIFIED:
            primaries = Primaries.BT709 if tall else Primaries.SMPTE170M
        transfer = _known(Transfer, tags.transfer, Transfer.UNSPECIFIED)
        full = tags.range == Range.FULL
        return cls(matrix, primaries, transfer, Range.FULL if full else Range.LIMITED)


def _known(kind: type[Code], value: int, otherwise: Code) -> Code:
    try:
        return kind(value)
    except ValueError:
        return otherwise


def luma_coefficients(matrix: Matrix) -> tuple[float, float]:
    """(kr, kb) of Y' = kr R' + (1 - kr - kb) G' + kb B' (H.273 table 4).

    Raises InputError when the matrix has none.
    """
    if matrix not in _LUMA_COEFFICIENTS:
        raise InputError(
            f"the color matrix {matrix.name} (H.273 code {int(matrix)}) is not supported; convert the film first, "
            "for example with ffmpeg -vf scale=out_color_matrix=bt709"
        )
    return _LUMA_COEFFICIENTS[matrix]


@cache
def rgb_to_xyz(primaries: Primaries) -> NDArray[np.float64]:
    """(3, 3) matrix from linear R, G, B to X/Xn, Y/Yn, Z/Zn (SMPTE RP 177), so that white is (1, 1, 1).

    DCI P3 is taken with a white of D65, to which displays adapt. All other primaries that are not BT.709, BT.2020 or
    P3 are taken for BT.709: players do the same with standard-definition film, and a keyframe in PNG holds the film's
    own R', G', B' and is shown as sRGB.
    """
    primaries = Primaries.SMPTE432 if primaries is Primaries.SMPTE431 else primaries
    corners = _CHROMATICITIES.get(primaries, _CHROMATICITIES[Primaries.BT709])
    xyz = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in (*corners, _D65)]).T
    scaled = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    matrix: NDArray[np.float64] = scaled / xyz[:, 3:]
    matrix.setflags(write=False)
    return matrix


def to_linear(signal: Floats, space: ColorSpace) -> Floats:
    """Display light of R', G', B' (3, ...) of ``space``, of the same shape; 1.0 is reference white.

    PQ and HLG have their own curves (BT.2100-2 tables 4 and 5, HLG with the system gamma 1.2 of a display of
    1000 cd/m2). Every film of standard dynamic range, whatever its tag, is read with the curve of sRGB
    (IEC 61966-2-1): a keyframe made from such a film holds its code values unchanged, and both are watched on the same
    display. Negative values mirror positive ones.
    """
    if space.transfer is Transfer.SMPTE2084:
        return _mirrored(_pq_eotf, signal)
    if space.transfer is Transfer.ARIB_STD_B67:
        scene = _mirrored(_hlg_inverse_oetf, signal) / _HLG_WHITE
        return scene * _luminance(scene, space) ** (_HLG_GAMMA - 1)
    return _mirrored(_srgb_eotf, signal)


def from_linear(light: Floats, space: ColorSpace) -> Floats:
    """R', G', B' (3, ...) of ``space`` for display light; inverse of ``to_linear``."""
    if space.transfer is Transfer.SMPTE2084:
        return _mirrored(_pq_inverse_eotf, light)
    if space.transfer is Transfer.ARIB_STD_B67:
        scene = light * _luminance(light, space) ** (1 / _HLG_GAMMA - 1)
        return _mirrored(_hlg_oetf, scene * _HLG_WHITE)
    return _mirrored(_srgb_inverse_eotf, light)


def _luminance(light: Floats, space: ColorSpace) -> Floats:
    """Y/Yn (1, ...) of linear R, G, B, kept off zero, where the powers of HLG's system gamma have their pole."""
    red, green, blue = rgb_to_xyz(space.primaries)[1].astype(light.dtype)
    luminance: Floats = red * light[:1] + green * light[1:2] + blue * light[2:]
    return np.maximum(luminance, 1e-7)


def _mirrored(curve: Any, x: Floats) -> Floats:
    result: Floats = np.copysign(curve(np.abs(x)), x)
    return result


def _srgb_eotf(x: Floats) -> Floats:
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _srgb_inverse_eotf(x: Floats) -> Floats:
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def _pq_eotf(x: Floats) -> Floats:
    root = np.minimum(x, 1) ** (1 / _PQ_M2)
    return np.asarray(_PQ_PEAK * (np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1))


def _pq_inverse_eotf(x: Floats) -> Floats:
    power = (x / _PQ_PEAK) ** _PQ_M1
    return np.asarray(((_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power)) ** _PQ_M2)


def _hlg_inverse_oetf(x: Floats) -> Floats:
    return np.where(x <= 0.5, x * x / 3, (np.exp((x - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def _hlg_oetf(x: Floats) -> Floats:
    return np.where(x <= 1 / 12, np.sqrt(3 * x), _HLG_A * np.log(np.maximum(12 * x, 1) - _HLG_B) + _HLG_C)
