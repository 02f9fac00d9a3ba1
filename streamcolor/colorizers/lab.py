"""CIELAB as tensors, with gradients: the same conversions as in ``streamcolor.color.convert``.

Lab is (B, 3, H, W): L* in [0, 100], a* and b*; R'G'B' that of sRGB (IEC 61966-2-1) in [0, 1]; white is D65.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.color.convert import SRGB
from streamcolor.color.standards import rgb_to_xyz

# What networks that work in parts of it divide a* and b* by.
AB_SCALE = 110.0

# CIE 15:2018 section 8.2.1: f(t) is linear below (6/29)**3.
_JOINT = 6 / 29
_SLOPE = 3 * _JOINT**2
_OFFSET = 4 / 29

_TO_XYZ = rgb_to_xyz(SRGB.primaries)
_FROM_XYZ = np.linalg.inv(_TO_XYZ)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """(B, 3, H, W) R'G'B', clipped to [0, 1] -> Lab."""
    signal = rgb.float().clamp(0, 1)
    linear = torch.where(signal > 0.04045, ((signal + 0.055) / 1.055) ** 2.4, signal / 12.92)
    xyz = _transformed(_TO_XYZ, linear)
    f = torch.where(xyz > _JOINT**3, xyz.clamp_min(_JOINT**3) ** (1 / 3), xyz / _SLOPE + _OFFSET)
    x, y, z = f[:, :1], f[:, 1:2], f[:, 2:]
    return torch.cat([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """(B, 3, H, W) Lab -> R'G'B'; what lies outside [0, 1] is clipped, and has no gradient there."""
    lab = lab.float()
    a, b = lab[:, 1:2], lab[:, 2:]
    y = (lab[:, :1] + 16) / 116
    f = torch.cat([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(f > _JOINT, f**3, _SLOPE * (f - _OFFSET))
    linear = _transformed(_FROM_XYZ, xyz).clamp(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear)


def _transformed(matrix: NDArray[np.floating[Any]], color: Tensor) -> Tensor:
    """``matrix`` (3, 3) times color (B, 3, H, W), spelled out: the last bit of a BLAS depends on its threads."""
    x, y, z = color[:, :1], color[:, 1:2], color[:, 2:]
    return torch.cat([float(row[0]) * x + float(row[1]) * y + float(row[2]) * z for row in matrix], 1)
