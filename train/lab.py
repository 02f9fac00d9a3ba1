"""From CIELAB to R'G'B' with gradients, for losses that look at pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from streamcolor.color.standards import Primaries, rgb_to_xyz

_TO_RGB = torch.from_numpy(np.linalg.inv(rgb_to_xyz(Primaries.BT709))).float()


def lab_to_rgb(lightness: Tensor, ab: Tensor) -> Tensor:
    """R'G'B' of sRGB (IEC 61966-2-1), (B, 3, H, W), clipped to [0, 1].

    lightness: (B, 1, H, W), L* from 0 to 100. ab: (B, 2, H, W), a* and b* (CIE 15:2018, D65). Where a color is clipped
    it has no gradient.
    """
    f = (lightness + 16) / 116
    x, z = f + ab[:, :1] / 500, f - ab[:, 1:] / 200
    t = torch.cat([x, f, z], 1)
    # Relative to the white, as the rows of the matrix are.
    xyz = torch.where(t > 6 / 29, t**3, 3 * (6 / 29) ** 2 * (t - 4 / 29))
    linear = torch.einsum("rc,bchw->brhw", _TO_RGB.to(xyz), xyz)
    bent = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, bent).clamp(0, 1)
