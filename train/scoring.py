"""Scores of one row of a comparison on pictures and clips that are never trained on.

A model is asked through the contract, without stabilization, and gives chroma alone: the lightness of every output is
that of the film. Scores stay apart by picture, so that rows can be compared in pairs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from streamcolor.color.enlarge import enlarge
from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Colorizer, Reference
from streamcolor.colorizers.rgb import color_picture
from streamcolor.evaluation import metrics
from streamcolor.evaluation.chroma import psnr_ab, ssim_ab
from streamcolor.evaluation.measures import FOLDER
from streamcolor.train.agin import bleeding
from streamcolor.train.ends import Bytes
from streamcolor.train.entries import Figures
from streamcolor.train.held_out import Clip, Target
from streamcolor.train.paired import as_lab

Lpips = Callable[[Bytes, Bytes], float]

# Frames whose steadiness is measured, after the reference: CDC looks over one, two and four frames.
STEADY = 8
# What is colored before the clock counts.
WARM_UP = 3
RELATED, INDEPENDENT, FILM = "related", "independent", "film"
# Outputs that are kept to be looked at.
SHOWN_TARGETS, SHOWN_CLIPS = 4, 2
# Models that go from frame to frame; others may skip.
_FOLLOWING = ("flow", "propagator", "propagator-b")


@dataclass
class Scores:
    """sets: figures by the name of what was colored, by set. pictures: some outputs by name."""

    sets: dict[str, dict[str, Figures]] = field(default_factory=dict)
    pictures: dict[str, Bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """Who colors. colorizer: None: nobody, the film stays grey, or with ``cheats`` the truth is the output.

    cheats: the reference is the truth itself. guided: references are given.
    """

    name: str
    colorizer: Colorizer | None
    cheats: bool = False
    guided: bool = True

    @property
    def follows(self) -> bool:
        return self.colorizer is not None and self.colorizer.info.id in _FOLLOWING


class Coloring:
    """One shot with one reference: remembers what the model wants to be remembered."""

    def __init__(self, subject: Subject, reference: Bytes | None, frame: int | None = None) -> None:
        self.subject = subject
        self.cache: ReferenceCache | None = None
        if subject.colorizer is not None:
            self.cache = ReferenceCache(subject.colorizer.info.policy)
            if reference is not None and subject.guided and subject.colorizer.info.references:
                self.cache.start_shot([subject.colorizer.encode(guide(reference, frame))])

    def of(self, truth: Bytes, frame: int = 0) -> Bytes:
        """What comes of a picture (h, w, 3) without its colors."""
        colorizer = self.subject.colorizer
        if colorizer is None and self.subject.cheats:
            return truth
        film = as_lab(truth)[None, :1] * 100
        if colorizer is None or self.cache is None:
            return shown(film, torch.zeros(2, *film.shape[-2:]))
        chroma, entry = colorizer.step(film, self.cache, frame)
        if entry is not None:
            self.cache.remember(entry)
        ab: Tensor = chroma.ab
        if ab.shape[1:] != film.shape[-2:]:
            ab = torch.from_numpy(enlarge(ab.numpy(), film[0, 0].numpy() / 100))
        return shown(film, ab)


def shown(lightness: Tensor, ab: Tensor) -> Bytes:
    """(1, 1, h, w) and (2, h, w) as a film shows them, (h, w, 3)."""
    rgb = color_picture(lightness, ab[None].clamp(-110, 110))[0].permute(1, 2, 0).numpy()
    return np.asarray((rgb * 255).round(), np.uint8)


def guide(picture: Bytes, frame: int | None = None) -> Reference:
    """A picture as a reference, its lightness that of the grey a film would have made of it."""
    lab = as_lab(picture)[None]
    return Reference(lab[:, :1] * 100, lab[:, 1:] * 110, torch.ones_like(lab[:, :1]), frame)


def score_targets(subject: Subject, targets: Sequence[Target], lpips: Lpips | None) -> Scores:
    """Sets ``related`` and ``independent``: every target from either reference. seconds: wall time of one picture."""
    scores = Scores({RELATED: {}, INDEPENDENT: {}})
    alone = subject.colorizer is None or not subject.colorizer.info.references
    for target in targets[:WARM_UP]:
        Coloring(subject, target.related).of(target.truth)
    for number, target in enumerate(targets):
        output = None
        for name, reference in ((RELATED, target.related), (INDEPENDENT, target.independent)):
            if output is None or not alone:
                coloring = Coloring(subject, target.truth if subject.cheats else reference)
                started = time.perf_counter()
                output = coloring.of(target.truth)
                seconds = time.perf_counter() - started
            figures = compared(output, target.truth, reference, lpips) | {"seconds": seconds}
            scores.sets[name][target.name] = figures
            if name == RELATED and number < SHOWN_TARGETS:
                scores.pictures[f"{RELATED}-{number}"] = output
    return scores


def score_clips(subject: Subject, clips: Sequence[Clip], distances: Sequence[int], lpips: Lpips | None) -> Scores:
    """Sets ``film-D``: the frame at distance D from the first one, which is the reference; ``film``: steadiness.

    cdc: over the first frames after the reference, beside the truth's own (``cdc_truth``), in nats times 1000.
    """
    scores = Scores({FILM: {}, **{f"{FILM}-{distance}": {} for distance in distances}})
    for number, clip in enumerate(clips):
        reference, last = clip.frames[0], len(clip.frames) - 1
        near = range(1, min(STEADY, last) + 1)
        scored = [distance for distance in distances if distance <= last]
        wanted = range(max(*near, *scored) + 1) if subject.follows else sorted({*near, *scored})
        coloring, outputs = Coloring(subject, reference, 0), dict[int, Bytes]()
        for place in wanted:
            truth = clip.frames[place]
            if subject.cheats:
                coloring = Coloring(subject, truth, 0)
            outputs[place] = coloring.of(truth, place)
        for distance in scored:
            figures = compared(outputs[distance], clip.frames[distance], reference, lpips)
            scores.sets[f"{FILM}-{distance}"][clip.name] = figures
        steady = [_consistency([pictures[place] for place in near]) for pictures in (outputs, clip.frames)]
        scores.sets[FILM][clip.name] = {"cdc": steady[0], "cdc_truth": steady[1]}
        if number < SHOWN_CLIPS and scored:
            scores.pictures[f"{FILM}-{number}"] = outputs[scored[len(scored) // 2]]
    return scores


def reference_pictures(targets: Sequence[Target], clips: Sequence[Clip]) -> dict[str, Bytes]:
    """The references of the outputs that are kept, by the same names."""
    stills = {f"{RELATED}-{n}": target.related for n, target in enumerate(targets[:SHOWN_TARGETS])}
    return stills | {f"{FILM}-{n}": clip.frames[0] for n, clip in enumerate(clips[:SHOWN_CLIPS])}


def compared(output: Bytes, truth: Bytes, reference: Bytes, lpips: Lpips | None) -> Figures:
    """Figures of one picture.

    psnr (dB), ssim, ciede2000; psnr_ab, ssim_ab: of a* and b* alone; his_truth, his_reference: histogram intersections;
    colorfulness; noise: standard deviation of the Laplacian of a* and b*; bleeding: see ``agin``; lpips where there is
    a backbone.
    """
    film = np.repeat(_grey(truth)[..., None], 3, -1)
    ab, wanted = (metrics.chromaticness(picture) for picture in (output, truth))
    figures = {
        "psnr": metrics.psnr(output, truth),
        "ssim": metrics.ssim(output, truth),
        "ciede2000": metrics.mean_ciede2000(output, truth),
        "his_reference": metrics.histogram_intersection(output, reference),
        "his_truth": metrics.histogram_intersection(output, truth),
        "colorfulness": metrics.colorfulness(output),
        "psnr_ab": psnr_ab(ab, wanted),
        "ssim_ab": ssim_ab(ab, wanted),
        "noise": float(cv2.Laplacian(ab, cv2.CV_32F).std()),
        "bleeding": bleeding(output, film),
    }
    return figures if lpips is None else figures | {"lpips": lpips(output, truth)}


def find_lpips(device: str) -> Lpips | None:
    """LPIPS (AlexNet) where its backbone lies in the folder STREAMCOLOR_BACKBONES; else there is no such figure."""
    from streamcolor.evaluation.backbones import FILES, load_stack
    from streamcolor.evaluation.perceptual import build_lpips, find_heads

    folder = os.environ.get(FOLDER)
    file = Path(folder, FILES["alex"]) if folder else None
    heads = find_heads("alex")
    if file is None or heads is None or not file.is_file():
        return None
    network = build_lpips(load_stack(file)[1], heads).to(device)

    def distance(one: Bytes, other: Bytes) -> float:
        pictures = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].to(device) / 127.5 - 1 for p in (one, other))
        with torch.inference_mode():
            return float(network(*pictures))

    return distance


def _consistency(pictures: Sequence[Bytes]) -> float:
    return 1e3 * metrics.color_distribution_consistency(metrics.rgb_histograms(picture) for picture in pictures)


def _grey(picture: Bytes) -> Bytes:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
