"""What the papers lead one to expect, held against what was measured: signs of differences, with intervals.

A difference is taken picture by picture or clip by clip; its interval is that of a paired bootstrap (Efron & Tibshirani
1993, section 13.3, percentiles).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from streamcolor.train.entries import Entry
from streamcolor.train.rows import Direction

RESAMPLES = 1000
LEVEL = 0.95

HOLDS, FAILS, UNDECIDED, UNMEASURED = "holds", "does not hold", "undecided", "not measurable here"


@dataclass(frozen=True)
class Interval:
    """Mean of n differences, and the bounds within which it lies with a probability of 95 %."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Finding:
    """What came of one pair of rows. difference: of ``more`` and ``less``, None when it could not be measured."""

    direction: Direction
    more: str
    less: str
    verdict: str
    difference: Interval | None = None
    reason: str = ""


def bootstrap(differences: Sequence[float] | NDArray[np.float64], seed: int = 0) -> Interval:
    """Mean of differences (n,) with its interval: 1,000 resamples with replacement, 95 %."""
    values = np.asarray(differences, np.float64)
    chosen = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values[chosen].mean(1), [tail, 100 - tail])
    return Interval(float(values.mean()), float(low), float(high), len(values))


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> Interval | None:
    """one - other over what both have; None below two."""
    both = sorted(one.keys() & other.keys())
    return bootstrap([one[name] - other[name] for name in both]) if len(both) > 1 else None


def verdict(interval: Interval) -> str:
    """Whether a difference that should be positive is so."""
    if interval.low > 0:
        return HOLDS
    return FAILS if interval.high < 0 else UNDECIDED


def findings(directions: Sequence[Direction], entries: Mapping[str, Entry]) -> list[Finding]:
    """Every pair of rows of every direction."""
    found = []
    for direction in directions:
        pairs = list(product(direction.more, direction.less))
        if direction.why or not pairs:
            found.append(Finding(direction, "", "", UNMEASURED, reason=direction.why or "no rows are named"))
        found += [_finding(direction, more, less, entries) for more, less in pairs]
    return found


def _finding(direction: Direction, more: str, less: str, entries: Mapping[str, Entry]) -> Finding:
    sides = []
    for side in (more, less):
        row, _, named = side.partition("@")
        where = named or direction.set
        if row not in entries:
            return Finding(direction, more, less, UNMEASURED, reason=f"{row} is not done")
        values = entries[row].values(where, direction.figure)
        if direction.minus is not None:
            taken = entries[row].values(direction.minus, direction.figure)
            values = {name: value - taken[name] for name, value in values.items() if name in taken}
        if not values:
            reason = "there is no backbone of LPIPS" if direction.figure == "lpips" else f"no {where} of {row}"
            return Finding(direction, more, less, UNMEASURED, reason=f"{direction.figure}: {reason}")
        sides.append(values)
    interval = difference(*sides)
    if interval is None:
        return Finding(direction, more, less, UNMEASURED, reason="fewer than two pictures or clips in common")
    return Finding(direction, more, less, verdict(interval), interval)


def failing(entries: Mapping[str, Entry], floor: str = "grey") -> dict[str, str]:
    """Rows that are worse than the uncolored film in PSNR and in LPIPS (CIEDE2000 without it), and on which sets."""
    if floor not in entries:
        return {}
    failed: dict[str, list[str]] = {}
    for name, entry in entries.items():
        for where in entry.sets:
            second = "lpips" if entry.mean(where, "lpips") is not None else "ciede2000"
            ours = [entry.mean(where, figure) for figure in ("psnr", second)]
            floors = [entries[floor].mean(where, figure) for figure in ("psnr", second)]
            if None in ours or None in floors or name == floor:
                continue
            (psnr, distance), (least, most) = np.array(ours, np.float64), np.array(floors, np.float64)
            if psnr < least and distance > most:
                failed.setdefault(name, []).append(where)
    return {name: ", ".join(sets) for name, sets in failed.items()}


def recommended(entries: Mapping[str, Entry], distances: Sequence[int], bar: str = "flow") -> dict[str, list[int]]:
    """Rows, learned ones, with the distances at which they beat optical flow in PSNR and in LPIPS (or CIEDE2000)."""
    found: dict[str, list[int]] = {}
    for name, entry in entries.items():
        for distance in distances:
            where = f"film-{distance}"
            second = "lpips" if entry.mean(where, "lpips") is not None else "ciede2000"
            if bar not in entries or not entry.trained_parameters:
                continue
            ours = [entry.mean(where, figure) for figure in ("psnr", second)]
            theirs = [entries[bar].mean(where, figure) for figure in ("psnr", second)]
            if None in ours or None in theirs:
                continue
            (psnr, error), (least, most) = np.array(ours, np.float64), np.array(theirs, np.float64)
            if psnr > least and error < most:
                found.setdefault(name, []).append(distance)
    return found
