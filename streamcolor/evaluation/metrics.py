"""How near a colored film is to the true one. Pictures are (H, W, 3) uint8 R'G'B' unless said otherwise.

Definitions and sources stand with each function; every one is tested against an independent implementation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.color.convert import Float32, rgb_to_lab
from streamcolor.color.standards import Floats

Picture = NDArray[np.uint8]
Histogram = NDArray[np.float64]

# Distances in frames over which color should stay consistent (Liu et al. 2021, TCVC, published code).
CDC_DISTANCES = (1, 2, 4)


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio in dB over all channels, peak 255: 10 log10(255^2 / MSE).

    MSE counts as 1e-3 at least, so that equal pictures score 78.13 dB and means stay finite.
    """
    error = float(np.mean(np.square(np.subtract(a, b, dtype=np.int32))))
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def psnr_u8(a: Picture, b: Picture) -> float:
    """The figure of a widely used evaluation script, whose uint8 difference wraps modulo 256 and flatters.

    Only to be read beside published tables: an uncolored film scores about 31 "dB".
    """
    error = float(np.asarray((a - b) ** 2, np.uint8).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def ssim(a: NDArray[Any], b: NDArray[Any], *, peak: float = 255, exact: bool = False) -> float:
    """Structural similarity, mean over the channels (Wang et al. 2004, equation 13), of at least 11 x 11 pixels.

    Gaussian window 11 x 11, sigma 1.5, K1 0.01, K2 0.03, biased covariance, a border of 5 pixels left out.
    a, b: (H, W, C) in [0, peak], R', G', B' by default.
    exact: in float64, for tests; float32 is faster and within 1e-4 of it.
    """
    kind = np.float64 if exact else np.float32
    x, y = a.astype(kind), b.astype(kind)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2

    def blur(image: Floats) -> Floats:
        return np.asarray(cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5], kind)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float((above / below).mean())


def ciede2000(lab1: NDArray[np.float64], lab2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Color difference of (..., 3) CIELAB values, kL = kC = kH = 1 (Sharma, Wu, Dalal 2005, equations 2-22)."""
    l1, a1, b1 = np.moveaxis(np.asarray(lab1, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(lab2, np.float64), -1, 0)
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    gray = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    # At exactly opposite hues the formula keeps the sign of the plain difference.
    turn = np.where((turn == -180) & (h2 > h1), 180.0, turn)
    turn = np.where(gray, 0.0, turn)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2)
    far = np.abs(h1 - h2) > 180
    mean_h = np.where(gray, h1 + h2, np.where(far, (h1 + h2 + np.where(h1 + h2 < 360, 360, -360)) / 2, (h1 + h2) / 2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    mean_c7 = mean_c**7
    rotation = -2 * np.sqrt(mean_c7 / (mean_c7 + 25.0**7))
    rotation *= np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))
    light, chroma, hue = (l2 - l1) / s_l, (c2 - c1) / s_c, hue / s_h
    return np.asarray(np.sqrt(light**2 + chroma**2 + hue**2 + rotation * chroma * hue), np.float64)


def lab(picture: Picture) -> NDArray[np.float64]:
    """(H, W, 3) CIELAB (D65) of a picture."""
    lightness, ab = rgb_to_lab(picture.astype(np.float32) / np.float32(255))
    return np.concatenate([lightness[..., None], ab.transpose(1, 2, 0)], -1).astype(np.float64)


def mean_ciede2000(a: Picture, b: Picture) -> float:
    """CIEDE2000, mean over the pixels of two pictures."""
    return float(ciede2000(lab(a), lab(b)).mean())


def chromaticness(picture: Picture) -> Float32:
    """a*, b* (H, W, 2) of a picture; those of 8-bit R'G'B' lie within [-110, 110]."""
    _, ab = rgb_to_lab(picture.astype(np.float32) / np.float32(255))
    return np.asarray(ab.transpose(1, 2, 0), np.float32)


def ab_histogram(ab: Float32) -> Histogram:
    """Normalized 2-D histogram (484,) of a*, b* (H, W, 2): 22 x 22 bins of 10 units over [-110, 110]."""
    # A bin begins at 0, where grey lies: without rounding its noise would fall to either side.
    rounded = np.clip(np.round(ab.reshape(-1, 2).astype(np.float64), 2), -110, 109.99)
    counts = np.bincount((((rounded + 110) // 10).astype(np.int64) @ [22, 1]), minlength=22 * 22)
    return np.asarray(counts / counts.sum(), np.float64)


def intersection(p: Histogram, q: Histogram) -> float:
    """What two normalized histograms have in common, in [0, 1]: sum of min(p, q) (Swain & Ballard 1991, equation 1)."""
    return float(np.minimum(p, q).sum())


def histogram_intersection(a: Picture, b: Picture) -> float:
    """HIS in [0, 1]: how much of the colors of two pictures is the same, ``intersection`` of their ``ab_histogram``."""
    return intersection(ab_histogram(chromaticness(a)), ab_histogram(chromaticness(b)))


def colorfulness(picture: Picture) -> float:
    """Hasler & Suesstrunk 2003: sqrt(sd(rg)^2 + sd(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2), on 0..255."""
    r, g, b = (picture[..., channel].astype(np.float32) for channel in range(3))
    rg, yb = r - g, (r + g) / 2 - b
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def rgb_histograms(picture: Picture) -> Histogram:
    """(3, 256) normalized histograms of R', G', B'."""
    return np.stack([np.bincount(picture[..., c].ravel(), minlength=256) / picture[..., c].size for c in range(3)])


def jensen_shannon(p: Histogram, q: Histogram) -> NDArray[np.float64]:
    """Divergence (...,) in nats of normalized histograms (..., bins); ln 2 for disjoint ones."""
    m = (p + q) / 2

    def kl(x: Histogram) -> NDArray[np.float64]:
        ratio = np.divide(x, m, out=np.ones_like(x), where=x > 0)
        return np.asarray((x * np.log(ratio)).sum(-1), np.float64)

    return np.asarray((kl(p) + kl(q)) / 2, np.float64)


class ColorConsistency:
    """``color_distribution_consistency`` of frames that come one at a time; a few histograms are held."""

    def __init__(self) -> None:
        self._recent: deque[Histogram] = deque(maxlen=max(CDC_DISTANCES))
        self._parts: dict[int, list[NDArray[np.float64]]] = {t: [] for t in CDC_DISTANCES}

    def add(self, histograms: Histogram) -> None:
        """``rgb_histograms`` of the next frame."""
        for t, parts in self._parts.items():
            if len(self._recent) >= t:
                parts.append(jensen_shannon(self._recent[-t], histograms))
        self._recent.append(histograms)

    def value(self) -> float:
        """CDC in nats of all frames so far; 0 for one frame."""
        means = [np.stack(parts).mean() for parts in self._parts.values() if parts]
        return float(np.mean(means)) if means else 0.0


def color_distribution_consistency(histograms: Iterable[Histogram]) -> float:
    """CDC in nats: Jensen-Shannon divergence of ``rgb_histograms`` over 1, 2 and 4 frames (Liu et al. 2021, TCVC).

    A film of four frames or fewer uses the distances that exist. The true film's own value is the aim, not zero.
    """
    consistency = ColorConsistency()
    for histogram in histograms:
        consistency.add(histogram)
    return consistency.value()


def luma_difference(a: NDArray[np.integer], b: NDArray[np.integer]) -> int:
    """Largest absolute difference of two Y planes in code values; the promise is 0."""
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max())
