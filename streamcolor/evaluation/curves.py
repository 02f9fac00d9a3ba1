"""The psnr along a clip: over the distance from the nearest reference, and where it is worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamcolor.evaluation.comparison import ClipScore

WORST = 3
# Neighbors of a bad frame are as bad and say nothing new.
APART = 5


@dataclass(frozen=True)
class Curve:
    """psnr (dB) at each distance (frames) from the nearest reference, mean over ``clips`` that reach so far."""

    distance: list[int]
    psnr: list[float]
    clips: list[int]


@dataclass(frozen=True)
class WorstFrame:
    """A frame and its psnr in dB."""

    number: int
    psnr: float


def distances(score: ClipScore) -> list[int]:
    """Frames to the nearest reference by frame number; empty where no frame of the clip itself was one."""
    if not score.reference_frames:
        return []
    return [min(abs(n - r) for r in score.reference_frames) for n in range(len(score.psnr_frames))]


def psnr_by_distance(scores: Sequence[ClipScore]) -> Curve:
    """Mean over clips of each clip's mean at a distance; references themselves (distance 0) left out."""
    by_clip: list[dict[int, list[float]]] = []
    for score in scores:
        at: dict[int, list[float]] = {}
        for distance, psnr in zip(distances(score), score.psnr_frames, strict=False):
            if distance > 0:
                at.setdefault(distance, []).append(psnr)
        by_clip.append(at)
    reached = sorted(set().union(*by_clip))
    values = [[float(np.mean(at[d])) for at in by_clip if d in at] for d in reached]
    return Curve(reached, [float(np.mean(v)) for v in values], [len(v) for v in values])


def worst_frames(score: ClipScore) -> list[WorstFrame]:
    """At most three frames below the clip's mean psnr, worst first, at least 5 frames apart; never a reference."""
    rest = [n for n in range(len(score.psnr_frames)) if n not in score.reference_frames]
    lowest, *others = sorted(rest, key=lambda n: score.psnr_frames[n])
    chosen = [lowest]
    for number in others:
        apart = all(abs(number - other) >= APART for other in chosen)
        if apart and len(chosen) < WORST and score.psnr_frames[number] < score.psnr:
            chosen.append(number)
    return [WorstFrame(n, score.psnr_frames[n]) for n in chosen]
