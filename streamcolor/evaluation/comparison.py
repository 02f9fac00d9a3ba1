"""Frame against frame: what the first-frame protocol counts over one clip, one pair of pictures at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.color.convert import Float32, rgb_to_lab
from streamcolor.evaluation import metrics
from streamcolor.evaluation.metrics import Histogram, Picture

Luma = NDArray[np.uint8]
Figures = dict[str, "float | None"]


@dataclass(frozen=True)
class Pair:
    """One frame of a clip, (H, W, 3) R'G'B' uint8: what it is, what the output made of it, and without any color.

    compared: False for a reference frame. truth_luma, output_luma: Y' (H, W). references: the pictures that were given
    to color the clip, (H, W, 3) R'G'B' uint8.
    """

    number: int
    truth: Picture
    output: Picture
    grey: Picture
    truth_luma: Luma
    output_luma: Luma
    compared: bool
    references: Sequence[Picture] = ()

    @cached_property
    def ab(self) -> tuple[Float32, Float32]:
        """Truth and output: a*, b* (H, W, 2)."""
        return metrics.chromaticness(self.truth), metrics.chromaticness(self.output)

    @cached_property
    def histograms(self) -> tuple[Histogram, Histogram]:
        """Truth and output: ``metrics.ab_histogram``."""
        return metrics.ab_histogram(self.ab[0]), metrics.ab_histogram(self.ab[1])

    @cached_property
    def halves(self) -> tuple[Picture, Picture]:
        """Truth and output at half the size, (h, w, 3) uint8, means of 2 x 2 pixels: the chroma's own size."""
        return _half(self.truth), _half(self.output)

    @cached_property
    def labs(self) -> tuple[tuple[Float32, Float32], tuple[Float32, Float32]]:
        """Truth and output at half the size: L* (h, w) and a*, b* (2, h, w)."""
        truth, output = (rgb_to_lab(half.astype(np.float32) / np.float32(255)) for half in self.halves)
        return truth, output


def _half(picture: Picture) -> Picture:
    size = (picture.shape[1] // 2, picture.shape[0] // 2)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


class Measure(Protocol):
    """A figure beyond the default ones. Sees every frame of a clip in order; holds no more than a frame or two."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its figures, in the table and in the JSON."""

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""

    def end_clip(self) -> Figures:
        """Figures of the clip that ends here (None: nothing in it to measure); the next one starts afresh."""

    def pooled(self) -> Figures:
        """Figures over the frames of all clips together, where the mean over clips is not the figure."""


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip, means over its frames other than the references; dB, nats x 1e3 (cdc), ratios.

    colour: colorfulness of the output over that of the truth. end: psnr of the last eighth. luma: largest absolute
    difference of the Y planes. grey: psnr of the uncolored film. his: histogram intersection with the truth. fps:
    frames over seconds of coloring, start-up included. psnr_frames: psnr by frame number, references too.
    reference_frames: the clip's own frames that were given. measures: figures beyond these, see ``Measure``.
    """

    clip: str
    psnr: float
    ssim: float
    de00: float
    cdc: float
    cdc_gt: float
    colour: float
    end: float
    luma: int
    fps: float
    psnr_u8: float
    his: float
    grey: float
    psnr_frames: list[float]
    reference_frames: list[int] = field(default_factory=list)
    measures: Figures = field(default_factory=dict)


# Neighboring frames are much alike: of the compared ones, so many apart are looked at for the dearer figures.
SSIM_EVERY, HIS_EVERY = 2, 4


class Tally:
    """The sums over one clip. ssim counts every second compared frame, de00 and his every fourth."""

    def __init__(self, measures: Sequence[Measure] = ()) -> None:
        self._measures = measures
        self._truth_colors, self._colors = metrics.ColorConsistency(), metrics.ColorConsistency()
        self._luma = 0
        self._references: list[int] = []
        self.psnr: list[float] = []
        self._means: dict[str, list[float]] = {
            name: [] for name in ("grey", "psnr_u8", "ssim", "de00", "his", "color", "true_color")
        }

    def add(self, pair: Pair) -> None:
        """The next frame."""
        self.psnr.append(metrics.psnr(pair.output, pair.truth))
        self._luma = max(self._luma, metrics.luma_difference(pair.output_luma, pair.truth_luma))
        self._colors.add(metrics.rgb_histograms(pair.output))
        self._truth_colors.add(metrics.rgb_histograms(pair.truth))
        for measure in self._measures:
            measure.add(pair)
        if not pair.compared:
            self._references.append(pair.number)
            return
        means = self._means
        compared = len(means["grey"])
        means["grey"].append(metrics.psnr(pair.grey, pair.truth))
        means["psnr_u8"].append(metrics.psnr_u8(pair.output, pair.truth))
        means["color"].append(metrics.colorfulness(pair.output))
        means["true_color"].append(metrics.colorfulness(pair.truth))
        if compared % SSIM_EVERY == 0:
            means["ssim"].append(metrics.ssim(pair.output, pair.truth))
        if compared % HIS_EVERY == 0:
            means["de00"].append(metrics.mean_ciede2000(pair.output, pair.truth))
            means["his"].append(metrics.intersection(*pair.histograms))

    def score(self, clip: str, fps: float) -> ClipScore:
        """The figures of the clip that was added frame by frame; at least one frame of it was no reference."""
        psnr, mean = self.psnr, {name: float(np.mean(values)) for name, values in self._means.items()}
        rest = [n for n in range(len(psnr)) if n not in self._references]
        tail = [n for n in rest if n >= len(psnr) * 7 // 8] or rest[-1:]
        figures: Figures = {}
        for measure in self._measures:
            figures |= measure.end_clip()
        return ClipScore(
            clip=clip,
            psnr=float(np.mean([psnr[n] for n in rest])),
            ssim=mean["ssim"],
            de00=mean["de00"],
            cdc=1e3 * self._colors.value(),
            cdc_gt=1e3 * self._truth_colors.value(),
            colour=mean["color"] / max(mean["true_color"], 1e-6),
            end=float(np.mean([psnr[n] for n in tail])),
            luma=self._luma,
            fps=fps,
            psnr_u8=mean["psnr_u8"],
            his=mean["his"],
            grey=mean["grey"],
            psnr_frames=psnr,
            reference_frames=self._references,
            measures=figures,
        )
