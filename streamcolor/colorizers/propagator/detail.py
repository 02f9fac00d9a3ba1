"""Stride 4 to stride 2: the detail that the network does not see, from the tracks and from lightness."""

from __future__ import annotations

import cv2
import numpy as np

from streamcolor.colorizers.propagator.motion import STRIDE, Followed, pool
from streamcolor.colorizers.tracks import Float32

FINE = 2
# Distance in a*, b* from which on the network and the tracks are not of the same mind.
AGREE = 20.0
# Side of the window, in cells of stride 4, in which color goes with lightness, and the variance of L* from where on.
WINDOW = 3
RIDGE = 40.0


def detailed(ab4: Float32, here: Float32, followed: Followed | None) -> Float32:
    """ab (h/4, w/4, 2) and L* (h, w) of a frame -> ab (h/2, w/2, 2).

    What a cell of 4 x 4 pixels has averaged is given back: where the tracked color is believed and of the same mind as
    the network, less and less up to ``AGREE`` ab units apart, from there; elsewhere from lightness (``slopes``).
    """
    fine_light, light = pool(here, FINE), pool(here, STRIDE)
    size = fine_light.shape[1::-1]
    smooth = enlarge(ab4, size)
    rise = (fine_light - enlarge(light, size))[..., None]
    from_light = cv2.resize(slopes(ab4, light), size, interpolation=cv2.INTER_LINEAR) * rise
    if followed is None:
        return np.asarray(smooth + from_light, np.float32)
    coarse, _ = followed.reduced(STRIDE)
    fine, certain = followed.reduced(FINE)
    apart = np.linalg.norm(enlarge(ab4 - coarse, size), axis=-1)
    weight = (certain * np.clip(1 - apart / AGREE, 0, 1))[..., None]
    tracked = fine - enlarge(coarse, size)
    return np.asarray(smooth + weight * tracked + (1 - weight) * from_light, np.float32)


def slopes(ab: Float32, light: Float32) -> Float32:
    """(h, w, 2): change of a*, b* with L* in the window around each cell, as in the guided filter.

    He, Sun, Tang 2010, "Guided Image Filtering", eq. 5.
    """
    mean = _window(light)
    variance = _window(light * light) - mean * mean
    covariance = _window(light[..., None] * ab) - mean[..., None] * _window(ab)
    return np.asarray(covariance / (np.maximum(variance, 0) + RIDGE)[..., None], np.float32)


def enlarge(values: Float32, size: tuple[int, ...]) -> Float32:
    """Bicubic to ``size`` (width, height)."""
    return np.asarray(cv2.resize(values, (size[0], size[1]), interpolation=cv2.INTER_CUBIC), np.float32)


def _window(values: Float32) -> Float32:
    return np.asarray(cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT_101), np.float32)
