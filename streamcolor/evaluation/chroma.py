"""Figures of a*, b* alone: the L* of a colored film is that of the film, so only these two can be wrong.

Planes are (H, W, 2) CIELAB a*, b* (D65) of 8-bit R'G'B', at the size of the film, as ``metrics.chromaticness`` gives
them. The range counts as [-110, 110], 220 units, for both. HIS needs no other form: its histograms are of a*, b*.
"""

from __future__ import annotations

import numpy as np

from streamcolor.color.convert import Float32
from streamcolor.evaluation import metrics
from streamcolor.evaluation.comparison import HIS_EVERY, SSIM_EVERY, Figures, Pair
from streamcolor.evaluation.metrics import Histogram

LARGEST = 110
RANGE = 2.0 * LARGEST


def psnr_ab(a: Float32, b: Float32) -> float:
    """10 log10(220^2 / MSE) in dB, MSE over both planes and all pixels.

    As in ``metrics.psnr`` equal planes score 78.13 dB, so that means stay finite.
    """
    error = float(np.mean(np.square(a.astype(np.float64) - b)))
    return float(10 * np.log10(RANGE**2 / max(error, 1e-3 * (RANGE / 255) ** 2)))


def ssim_ab(a: Float32, b: Float32, *, exact: bool = False) -> float:
    """``metrics.ssim`` of a* + 110 and b* + 110 with a peak of 220, mean over the two planes.

    Its terms ask for values that are not negative, hence the shift.
    """
    return metrics.ssim(a + LARGEST, b + LARGEST, peak=RANGE, exact=exact)


def ab_histograms(ab: Float32) -> Histogram:
    """(2, 221) normalized histograms of a* and of b*, one bin an integer from -110 to 110; grey is in the middle one.

    They take the place of ``metrics.rgb_histograms`` in ``metrics.ColorConsistency``.
    """
    bins = np.clip(np.rint(ab), -LARGEST, LARGEST).astype(np.int64) + LARGEST
    return np.stack([np.bincount(bins[..., c].ravel(), minlength=2 * LARGEST + 1) / bins[..., c].size for c in (0, 1)])


class ChromaMeasure:
    """PSNR, SSIM and CDC (nats x 1e3) of a*, b*; grey_ab is the psnr of a* = b* = 0, cdc_ab_gt the truth's own CDC.

    Means over the compared frames, ssim_ab over every second of them; CDC over all frames.
    """

    columns = ("grey_ab", "psnr_ab", "ssim_ab", "cdc_ab", "cdc_ab_gt")

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._grey: list[float] = []
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._colors, self._truth_colors = metrics.ColorConsistency(), metrics.ColorConsistency()

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""
        truth, output = pair.ab
        self._colors.add(ab_histograms(output))
        self._truth_colors.add(ab_histograms(truth))
        if not pair.compared:
            return
        if len(self._psnr) % SSIM_EVERY == 0:
            self._ssim.append(ssim_ab(output, truth))
        self._psnr.append(psnr_ab(output, truth))
        self._grey.append(psnr_ab(np.zeros_like(truth), truth))

    def end_clip(self) -> Figures:
        """The figures; None for a clip without compared frames."""
        figures: Figures = dict.fromkeys(self.columns)
        if self._psnr:
            means = (float(np.mean(values)) for values in (self._grey, self._psnr, self._ssim))
            consistencies = (1e3 * colors.value() for colors in (self._colors, self._truth_colors))
            figures = dict(zip(self.columns, (*means, *consistencies), strict=True))
        self._start()
        return figures

    def pooled(self) -> Figures:
        """Nothing: the mean over clips is the figure."""
        return {}


class ReferenceHis:
    """HIS of the output with the reference (Yin et al. 2021, section 4.3.2), and of the truth with it.

    Much of it is no merit by itself: where the film shows other things than the reference, the truth has little. Every
    fourth compared frame is looked at, as for ``his``; of several references all pixels count together.
    """

    columns = ("his_ref", "his_ref_gt")

    def __init__(self) -> None:
        self._compared = 0
        self._reference: Histogram | None = None
        self._values: list[tuple[float, float]] = []

    def add(self, pair: Pair) -> None:
        """The next frame of a clip; all frames of it have the same references."""
        if not pair.compared or not pair.references:
            return
        if self._reference is None:
            # References of a clip have one size, so this is the histogram of all their pixels.
            histograms = [metrics.ab_histogram(metrics.chromaticness(picture)) for picture in pair.references]
            self._reference = np.asarray(np.mean(histograms, 0), np.float64)
        if self._compared % HIS_EVERY == 0:
            truth, output = (metrics.intersection(histogram, self._reference) for histogram in pair.histograms)
            self._values.append((output, truth))
        self._compared += 1

    def end_clip(self) -> Figures:
        """his_ref and his_ref_gt; None for a clip without reference."""
        means = np.mean(self._values, 0).tolist() if self._values else (None, None)
        self._compared, self._reference, self._values = 0, None, []
        return dict(zip(self.columns, means, strict=True))

    def pooled(self) -> Figures:
        """Nothing: the mean over clips is the figure."""
        return {}
