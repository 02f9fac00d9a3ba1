"""The colors of the database: bins of a* and b*, and how much of a picture is in each.

The paper takes the 313 bins of Zhang, Isola & Efros, "Colorful Image Colorization", which are a published file and
follow from no rule. Without that file the bins are the points of a grid of 10 units to which some color of 8-bit sRGB
rounds: 261 of them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.color.convert import rgb_to_lab
from streamcolor.errors import InputError

GRID = 10
"""Distance of two bins in units of a* and b*."""

# The width of a bin's share in its neighbors, as in Zhang et al.; without their cut after five neighbors.
_SIGMA = 5.0
# Steps of the cube of sRGB: 1, 2 and 4 give the same bins.
_CUBE_STEP = 4
# Histograms are those of pictures of at most so many pixels a side.
_LONGEST = 64


@lru_cache(maxsize=1)
def _gamut() -> tuple[tuple[float, float], ...]:
    values = np.append(np.arange(0, 255, _CUBE_STEP), 255) / 255
    cube = np.stack(np.meshgrid(values, values, values, indexing="ij"), -1).reshape(1, -1, 3)
    _, ab = rgb_to_lab(cube.astype(np.float32))
    found = np.unique(np.rint(ab[:, 0].T / GRID).astype(np.int64), axis=0) * GRID
    return tuple((float(a), float(b)) for a, b in found)


def gamut_bins() -> Tensor:
    """(261, 2): centers of bins, a* and b* in multiples of 10, sorted."""
    return torch.tensor(_gamut())


def read_bins(path: Path) -> Tensor:
    """Centers of bins (N, 2) from a file: NumPy's ``.npy`` (such as Zhang's pts_in_hull.npy), or a line "a b" each.

    Raises InputError for what is neither.
    """
    try:
        table = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not hold bins of a* and b*: {error}") from error
    if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2 or not (np.abs(table) <= 128).all():
        raise InputError(f"{path} does not hold bins of a* and b*: two numbers from -128 to 128 for each are needed")
    return torch.from_numpy(table.astype(np.float32))


def soft_histogram(ab: Tensor, centers: Tensor, weight: Tensor | None = None) -> Tensor:
    """How much of a picture is in each bin, (B, N) with the sum 1, differentiable.

    Of every pixel the softmax over the bins of -|ab - center|^2 / (2 * 5^2), then the mean over the pixels of the
    picture at 64 x 64 or less. ab: (B, 2, H, W) in units of a* and b*. centers: (N, 2). weight: of the pixels,
    (B, 1, H, W) from 0 to 1, not all 0.
    """
    size = [min(side, _LONGEST) for side in ab.shape[-2:]]
    small = F.interpolate(ab.float(), size=size, mode="area").flatten(2).transpose(1, 2)
    # |ab - center|^2 less |ab|^2, which is the same for all bins; half precision is too coarse for it.
    with torch.autocast(ab.device.type, enabled=False):
        distance = centers.square().sum(1) - 2 * small @ centers.T
    shares = torch.softmax(-distance / (2 * _SIGMA**2), -1)
    if weight is None:
        return shares.mean(1)
    weights = F.interpolate(weight, size=size, mode="area").flatten(2).transpose(1, 2)
    return (shares * weights).sum(1) / weights.sum(1)
