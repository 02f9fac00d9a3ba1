"""What the pipeline asks of this package: coded chroma planes for a film's luma from a colorizer's small ab map."""

from __future__ import annotations

import numpy as np

from streamcolor.color.convert import Float32, Plane, lab_to_ycbcr, luma_to_unit, quantize_chroma
from streamcolor.color.enlarge import Grid, chroma_offsets, enlarge
from streamcolor.color.standards import ChromaLocation, ColorSpace

_BAND = 2**16
"""Samples that are converted at a time."""


def chroma_planes(
    ab: Float32,
    luma: Plane,
    *,
    depth: int,
    space: ColorSpace,
    shape: tuple[int, int],
    out_depth: int,
    siting: int = ChromaLocation.LEFT,
    saturation: float = 1.0,
) -> tuple[Plane, Plane]:
    """Cb and Cr planes that give ``luma`` the colors of ``ab``.

    ab: (2, h, w) float32, CIELAB a* and b*; a map of the whole picture at any size.
    luma: (H, W) uint8 or uint16 code values of ``depth`` bits; read only.
    shape: of the planes to make; each side that of luma, or half of it rounded up.
    out_depth: bits of a chroma sample, 8 to 16; the range is that of ``space``.
    siting: AVChromaLocation, where the samples of subsampled planes lie (``standards.ChromaLocation``).
    saturation: factor on a* and b*.
    Returns two planes of ``shape``, uint8 when ``out_depth`` is 8, else uint16. ab of zero gives neutral planes.
    Raises ValueError for a shape or siting that does not exist.
    """
    location = ChromaLocation(siting)
    height, width = luma.shape
    grid = Grid.of_chroma(shape, (height, width), location)
    codes = luma_at_chroma(luma, shape, location)
    y = luma_to_unit(codes, depth, space.range)
    if saturation != 1.0:
        ab = ab * np.float32(saturation)
    full = enlarge(ab, y, grid)
    # In bands, because what lies between ab and CbCr is a dozen arrays, which then stay in the processor's cache.
    step = max(_BAND // shape[1], 1)
    bands = (slice(row, row + step) for row in range(0, shape[0], step))
    coded = [quantize_chroma(*lab_to_ycbcr(y[b], full[:, b], space), out_depth, space.range) for b in bands]
    return np.concatenate([cb for cb, _ in coded]), np.concatenate([cr for _, cr in coded])


def luma_at_chroma(luma: Plane, shape: tuple[int, int], location: ChromaLocation) -> Float32:
    """Luma (float32 code values) of ``shape`` at the places of the chroma samples.

    Between two luma samples it is their mean; on one it is that sample and, at half its weight, both neighbors.
    luma: (H, W). shape: as in ``chroma_planes``.
    """
    down, right = chroma_offsets(location)
    codes: Float32 = luma.astype(np.float32)
    if shape[0] != codes.shape[0]:
        codes = _halve_rows(codes, down)
    if shape[1] != codes.shape[1]:
        codes = _halve_rows(codes.T, right).T
    return codes


def _halve_rows(plane: Float32, offset: float) -> Float32:
    """Every second row of ``plane``, taken ``offset`` rows after the first of each pair; borders are repeated."""
    even, odd = plane[0::2], plane[1::2]
    if len(odd) < len(even):
        odd = np.concatenate([odd, even[-1:]])
    if offset == 0.5:
        return np.asarray((even + odd) * 0.5, np.float32)
    if offset == 0.0:
        before, middle, after = np.concatenate([even[:1], odd[:-1]]), even, odd
    else:
        before, middle, after = even, odd, np.concatenate([even[1:], odd[-1:]])
    return np.asarray((before + after) * 0.25 + middle * 0.5, np.float32)
