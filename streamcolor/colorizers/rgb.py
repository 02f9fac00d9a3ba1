"""For networks that see and emit R'G'B': between them and the lightness and chroma of the contract.

R'G'B' is that of sRGB (IEC 61966-2-1) in [0, 1]; Lab is CIELAB with a D65 white.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from streamcolor.color.convert import SRGB, lab_to_ycbcr, rgb_to_lab
from streamcolor.color.standards import luma_coefficients
from streamcolor.frame import Chroma


def grey_value(lightness: Tensor) -> Tensor:
    """The signal of a grey with this L*: [0, 100] -> [0, 1], any shape (inverse of CIE 15:2018 section 8.2.1)."""
    f = (lightness + 16) / 116
    light = torch.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)).clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def grey_picture(lightness: Tensor) -> Tensor:
    """A film frame for a network: L* (B, 1, h, w) -> three equal channels (B, 3, h, w)."""
    return grey_value(lightness).expand(-1, 3, -1, -1)


def color_picture(lightness: Tensor, ab: Tensor) -> Tensor:
    """A ``Reference`` as the picture it came from: (1, 1, h, w) and (1, 2, h, w) -> (1, 3, h, w).

    lightness is that of the luma, and so Y' and a*, b* meet in one color; what R'G'B' cannot show moves towards grey.
    """
    y = grey_value(lightness)[0, 0].numpy()
    cb, cr = lab_to_ycbcr(y, ab[0].numpy(), SRGB)
    kr, kb = luma_coefficients(SRGB.matrix)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return torch.from_numpy(np.stack([red, green, blue]).astype(np.float32)).clamp(0, 1)[None]


def chroma_of(picture: Tensor) -> Tensor:
    """a* and b* (2, h, w) of a network's output (1, 3, h, w), clipped to [0, 1] first; L* is dropped."""
    rgb = picture[0].clamp(0, 1).permute(1, 2, 0).contiguous()
    _, ab = rgb_to_lab(rgb.float().cpu().numpy())
    return torch.from_numpy(np.ascontiguousarray(ab, np.float32)).clamp(-110, 110)


def emitted(picture: Tensor, confidence: float) -> Chroma:
    """Chroma of a network's output (1, 3, h, w) on any device, the output itself beside it, with one confidence."""
    rgb = picture[0].float().clamp(0, 1).cpu()
    ab = chroma_of(rgb[None])
    return Chroma(ab, torch.full((1, *ab.shape[1:]), confidence), rgb)
