"""Distances, the mean over clips at each of them, and which frames are called the worst."""

from __future__ import annotations

from streamcolor.evaluation.comparison import ClipScore
from streamcolor.evaluation.curves import Curve, WorstFrame, distances, psnr_by_distance, worst_frames


def score(psnr: list[float], references: list[int]) -> ClipScore:
    rest = [p for n, p in enumerate(psnr) if n not in references]
    return ClipScore("a", sum(rest) / len(rest), *[0.0] * 6, 0, *[0.0] * 4, psnr, references)


def test_the_nearest_reference_counts() -> None:
    assert distances(score([0.0] * 6, [0, 5])) == [0, 1, 2, 2, 1, 0]
    assert distances(score([0.0] * 3, [0])) == [0, 1, 2]
    assert distances(score([0.0] * 3, [])) == []


def test_a_clip_counts_once_at_a_distance() -> None:
    long, both = score([78, 30, 20, 10], [0]), score([78, 40, 20, 78], [0, 3])
    assert psnr_by_distance([long, both]) == Curve([1, 2, 3], [30.0, 20.0, 10.0], [2, 1, 1])
    assert psnr_by_distance([both]) == Curve([1], [30.0], [1])
    assert psnr_by_distance([score([1, 2], [])]) == Curve([], [], [])


def test_the_worst_are_apart_below_the_mean_and_no_references() -> None:
    psnr = [float(n) for n in (1, 30, 30, 30, 5, 4, 5, 30, 30, 30, 30, 9, 30, 30, 30, 30, 30, 30, 20, 30)]
    assert worst_frames(score(psnr, [0])) == [WorstFrame(5, 4), WorstFrame(11, 9), WorstFrame(18, 20)]
    assert worst_frames(score([78, 20, 21, 22, 23, 24, 25], [0])) == [WorstFrame(1, 20)]
    assert worst_frames(score([30.0] * 8, [0])) == [WorstFrame(1, 30)]
