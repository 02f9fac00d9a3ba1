"""What old film does to a picture, as pure functions of a random generator.

Panchromatic and orthochromatic stock see colors with other weights than a video camera (orthochromatic
emulsion is blind to red), lamps flicker, grain and scratches lie on the print, copies soften. Luma only: the
colors that the model learns are those of the scene.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

# R'G'B' weights of the grey that a stock or a camera makes of a color.
LUMA_709 = (0.2126, 0.7152, 0.0722)
LUMA_601 = (0.299, 0.587, 0.114)
ORTHOCHROMATIC = (0.05, 0.55, 0.40)
PANCHROMATIC = (0.33, 0.37, 0.30)


def grey_weights(rng: np.random.Generator) -> NDArray[np.float32]:
    """Weights of R', G', B' (sum 1): mostly video, sometimes a film stock or a mixture of two."""
    draw = rng.random()
    if draw < 0.6:
        weights = np.array(LUMA_709)
    elif draw < 0.8:
        weights = np.array(LUMA_601)
    else:
        mix = rng.random()
        weights = mix * np.array(PANCHROMATIC) + (1 - mix) * np.array(ORTHOCHROMATIC if draw > 0.9 else LUMA_709)
    return np.asarray(weights / weights.sum(), np.float32)


def to_luma(rgb: Picture, weights: NDArray[np.float32]) -> Picture:
    """(..., H, W, 3) R'G'B' in [0, 1] -> (..., H, W) Y' in [0, 1]."""
    return np.asarray(rgb @ weights, np.float32)


def lightness_of_grey(luma: Picture) -> Picture:
    """L* in [0, 100] of the grey sRGB value (IEC 61966-2-1, CIE 15:2004 8.2.1)."""
    linear = np.where(luma <= 0.04045, luma / 12.92, ((np.maximum(luma, 0) + 0.055) / 1.055) ** 2.4)
    cube = np.where(linear > 216 / 24389, np.cbrt(linear), (24389 / 27 * linear + 16) / 116)
    return np.asarray(np.clip(116 * cube - 16, 0, 100), np.float32)


def age(luma: Picture, rng: np.random.Generator) -> Picture:
    """(T, H, W) Y' in [0, 1] -> the same as an old print might show it: flicker, softness, grain, scratches."""
    luma = luma.copy()
    count, height, width = luma.shape
    if rng.random() < 0.15:
        gamma = float(np.exp(rng.normal(0, 0.25)))
        luma = np.clip(luma, 0, 1) ** gamma
    if rng.random() < 0.6:
        gain = np.exp(rng.normal(0, 0.05, (count, 1, 1))).astype(np.float32)
        luma = luma * gain + rng.normal(0, 0.02, (count, 1, 1)).astype(np.float32)
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.5, 1.4))
        luma = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in luma])
    if rng.random() < 0.4:
        grain = rng.standard_normal((count, height, width), np.float32) * np.float32(rng.uniform(0.005, 0.035))
        if rng.random() < 0.5:
            grain = np.stack([cv2.GaussianBlur(frame, (0, 0), 0.7) * 1.8 for frame in grain])
        luma = luma + grain
    if rng.random() < 0.07:
        for frame in luma:
            for _ in range(rng.integers(1, 4)):
                x = int(rng.integers(0, width))
                frame[:, x : x + 1] += np.float32(rng.normal(0, 0.3))
    return np.asarray(np.clip(luma, 0, 1), np.float32)
