"""The report of a comparison: a table as CSV, tables for people as Markdown, and a grid of pictures."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from streamcolor import __version__
from streamcolor.media.atomic import replaced
from streamcolor.train.directions import (
    FAILS,
    HOLDS,
    UNDECIDED,
    UNMEASURED,
    Finding,
    Interval,
    difference,
    failing,
    findings,
    recommended,
)
from streamcolor.train.entries import Entry
from streamcolor.train.grid import read_pictures, write_grid
from streamcolor.train.held_out import Counts
from streamcolor.train.rows import Comparison
from streamcolor.train.scoring import FILM, INDEPENDENT, RELATED, SHOWN_CLIPS, SHOWN_TARGETS

MISSING = "n/a"

_FACTS = (
    "row",
    "model",
    "references",
    "parameters",
    "trained_parameters",
    "steps",
    "step_seconds",
    "pictures",
    "batch",
)
# Figures by name with the digits that a reader wants.
_DIGITS = {
    "psnr": 2,
    "ssim": 4,
    "lpips": 4,
    "his_reference": 3,
    "his_truth": 3,
    "colorfulness": 1,
    "ciede2000": 2,
    "psnr_ab": 2,
    "ssim_ab": 4,
    "noise": 2,
    "bleeding": 2,
    "seconds": 4,
    "cdc": 2,
    "cdc_truth": 2,
    "mse": 4,
    "entropy": 3,
}


def write_results(
    comparison: Comparison, entries: Mapping[str, Entry], counts: Counts, output: Path, shown: Mapping[str, Path]
) -> Path:
    """Write ``results.csv``, ``RESULTS.md`` and ``RESULTS.png`` to a folder; the path of the second.

    shown: folders of pictures by the name of their line in the grid. Raises OutputError.
    """
    _write_csv(output / "results.csv", comparison, entries)
    names = [*(f"{RELATED}-{n}" for n in range(SHOWN_TARGETS)), *(f"{FILM}-{n}" for n in range(SHOWN_CLIPS))]
    lines = {name: read_pictures(folder, names) for name, folder in shown.items()}
    lines = {name: pictures for name, pictures in lines.items() if any(one is not None for one in pictures)}
    if lines:
        write_grid(output / "RESULTS.png", lines)
    with replaced(output / "RESULTS.md") as part:
        part.write_text("\n".join(_report(comparison, entries, counts, pictured=bool(lines))), encoding="utf-8")
    return output / "RESULTS.md"


def _write_csv(path: Path, comparison: Comparison, entries: Mapping[str, Entry]) -> None:
    """A line for each row and set: facts, n, the mean of every figure, the difference of psnr from that of grey."""
    bounds = ("psnr_over_grey", "psnr_over_grey_low", "psnr_over_grey_high")
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_FACTS, "seed", "size", "pretrained", "note", "set", "n", *_DIGITS, *bounds))
        for entry in entries.values():
            facts = [getattr(entry, fact) for fact in _FACTS]
            facts += [comparison.seed, comparison.size, _origins(entry), entry.note]
            for where, found in entry.sets.items():
                over = _over_grey(entries, entry, where)
                cells = [*facts, where, len(found), *(entry.mean(where, figure) for figure in _DIGITS)]
                cells += [] if over is None else [over.mean, over.low, over.high]
                writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells])


def _report(comparison: Comparison, entries: Mapping[str, Entry], counts: Counts, *, pictured: bool) -> Iterable[str]:
    distances = comparison.data.distances
    yield from ("# Every model on the same data with the same budget", "", *_conditions(comparison, counts))
    yield from ("", "## Stills", "", _LEGEND, "", *_stills(entries))
    yield from ("", "## Stills, the reference having nothing to do with them", "", *_independent(entries))
    yield from ("", "## Film, by distance from the reference in frames", "", *_film(entries, distances))
    yield from ("", "## Figures of one family", "", *_own(entries))
    yield from ("", "## Floor and bar", "", *_floors(entries, distances))
    yield from ("", "## Expected directions", "", *_directions(findings(comparison.directions, entries)))
    if pictured:
        yield from ("", "## Pictures", "")
        yield f"{SHOWN_TARGETS} stills with related references, {SHOWN_CLIPS} frames of clips with their first frame."
        yield from ("", "![Outputs of the rows below each other](RESULTS.png)")
    yield ""


_LEGEND = (
    "References are the pictures that resemble the targets most. Parameters are those of the paper and of what was "
    "trained here; steps are those of the run (of each stage, where there are two), times pictures in a step. color: "
    "colorfulness, to be near that of the row truth. HIS: histogram intersection. s/frame: median wall time of one "
    "picture, after three that do not count."
)


def _conditions(comparison: Comparison, counts: Counts) -> Iterable[str]:
    yield from ("```", "streamcolor compare --config configs/compare.yaml --data DIR --output DIR", "```", "")
    scored = min(counts.held_stills, comparison.data.targets)
    size = comparison.size
    yield (
        f"* Trained on {counts.stills} stills and the first and last frames of {counts.clips} clips; scored on "
        f"{scored} stills and {counts.held_clips} clips of the same folder, never trained on (`split_of` by file)."
    )
    yield (
        f"* {size} x {size} pixels, clips with that shorter side; {comparison.seconds:g} s of steps for each learned "
        f"row, {comparison.threads} thread(s), seed {comparison.seed}; torch {torch.__version__}, "
        f"streamcolor {__version__}."
    )
    yield "* Every output has the lightness of the film. No stabilization along the motion."
    yield "* Brackets: 95 % of a paired bootstrap over pictures or clips, 1,000 resamples, seed 0."
    yield (
        "* Where the two numbers of parameters differ the network is narrower than in its paper. The figures show "
        "directions at this scale; they are not those of the papers."
    )


def _stills(entries: Mapping[str, Entry]) -> Iterable[str]:
    figures = ("ssim", "ssim_ab", "lpips", "his_reference", "his_truth", "colorfulness", "ciede2000", "seconds")
    heads = ["row", "reference", "parameters", "trained", "steps", "n", "PSNR", "over grey", "SSIM", "SSIM of ab"]
    heads += ["LPIPS", "HIS reference", "HIS truth", "color", "CIEDE2000", "s/frame", "pretrained", "note"]
    rows = []
    for entry in _with(entries, RELATED):
        row = [entry.row, "yes" if entry.references else "no", *_parameters(entry)]
        row += ["" if entry.steps is None else f"{entry.steps:,} x {entry.batch}", str(len(entry.sets[RELATED]))]
        row += [_mean(entry, RELATED, "psnr"), _interval(_over_grey(entries, entry, RELATED))]
        rows.append(
            [*row, *(_mean(entry, RELATED, figure) for figure in figures), _origins_in_short(entry), entry.note]
        )
    return _table(heads, rows)


def _independent(entries: Mapping[str, Entry]) -> Iterable[str]:
    heads = ["row", "n", "PSNR", "lost against related", "HIS reference", "HIS truth", "color"]
    rows = []
    for entry in _with(entries, INDEPENDENT):
        lost = difference(entry.values(RELATED, "psnr"), entry.values(INDEPENDENT, "psnr"))
        figures = (_mean(entry, INDEPENDENT, figure) for figure in ("his_reference", "his_truth", "colorfulness"))
        count = str(len(entry.sets[INDEPENDENT]))
        rows.append([entry.row, count, _mean(entry, INDEPENDENT, "psnr"), _interval(lost), *figures])
    return _table(heads, rows)


def _film(entries: Mapping[str, Entry], distances: Sequence[int]) -> Iterable[str]:
    counts = {
        d: max((len(entry.sets.get(f"{FILM}-{d}", ())) for entry in entries.values()), default=0) for d in distances
    }
    missing = [f"no clip reaches {d} frames" for d, count in counts.items() if not count]
    reached = [d for d in distances if counts[d]]
    yield "PSNR in dB, CIEDE2000 in brackets. CDC (nats x 1000) of frames 1 to 8, to be near the truth's own."
    yield from ([f"{'; '.join(missing).capitalize()}."] if missing else [])
    yield ""
    heads = ["row", *(f"{d} (n {counts[d]})" for d in reached), "HIS truth", "color", "CDC", "CDC truth"]
    rows = []
    for entry in _with(entries, FILM):
        where = f"{FILM}-{reached[-1] if len(reached) == 1 else reached[1]}" if reached else ""
        row = [entry.row]
        for d in reached:
            row.append(f"{_mean(entry, f'{FILM}-{d}', 'psnr')} ({_mean(entry, f'{FILM}-{d}', 'ciede2000')})")
        row += [_mean(entry, where, "his_truth"), _mean(entry, where, "colorfulness")]
        rows.append([*row, _mean(entry, FILM, "cdc"), _mean(entry, FILM, "cdc_truth")])
    yield from _table(heads, rows)
    if reached:
        yield from ("", f"HIS and color at {where.removeprefix(f'{FILM}-')} frames." if rows else "")


def _own(entries: Mapping[str, Entry]) -> Iterable[str]:
    yield "mse: of the emitted R'G'B', with its own lightness (stable family); entropy: of the gate, in nats."
    yield ""
    rows = [
        [entry.row, str(len(entry.sets["own"])), _mean(entry, "own", "mse"), _mean(entry, "own", "entropy")]
        for entry in _with(entries, "own")
    ]
    yield from _table(["row", "n", "mse", "entropy"], rows)


def _floors(entries: Mapping[str, Entry], distances: Sequence[int]) -> Iterable[str]:
    below = failing(entries)
    yield "Worse than the uncolored film in PSNR and in LPIPS (CIEDE2000 without a backbone):"
    yield from ([f"* {name}: {sets}" for name, sets in below.items()] or ["* none"])
    yield ""
    yield "Learned rows that beat `flow` in PSNR and in LPIPS (or CIEDE2000), at these distances in frames:"
    better = recommended(entries, distances)
    yield from ([f"* {name}: {', '.join(map(str, found))}" for name, found in better.items()] or ["* none"])


def _directions(found: Sequence[Finding]) -> Iterable[str]:
    kinds = (HOLDS, FAILS, UNDECIDED, UNMEASURED)
    yield "The figure of the first row less that of the second should be above 0; undecided: the interval contains 0."
    yield ""
    claims = dict.fromkeys((one.direction.claim, one.direction.source) for one in found)
    rows = []
    for claim, source in claims:
        alike = [one for one in found if (one.direction.claim, one.direction.source) == (claim, source)]
        counts = [sum(one.verdict == kind for one in alike) for kind in kinds]
        comments = dict.fromkeys(one.direction.comment for one in alike if one.direction.comment)
        rows.append([claim, source, *(str(count or "") for count in counts), " ".join(comments)])
    rows.append(["all", "", *(str(sum(one.verdict == kind for one in found)) for kind in kinds), ""])
    yield from _table(["expected", "source", *kinds, "comment"], rows)
    yield ""
    rows = []
    for one in found:
        direction = one.direction
        where = direction.set if direction.minus is None else f"{direction.set} less {direction.minus}"
        compared = f"{direction.figure}: {one.more} - {one.less} ({where})" if one.more else ""
        n = "" if one.difference is None else str(one.difference.n)
        ours = one.reason if one.difference is None else _interval(one.difference, precise=True)
        rows.append([direction.claim, compared, n, ours, one.verdict])
    yield from _table(["expected", "figure", "n", "ours", "verdict"], rows)


def _with(entries: Mapping[str, Entry], where: str) -> list[Entry]:
    return [entry for entry in entries.values() if entry.sets.get(where)]


def _parameters(entry: Entry) -> tuple[str, str]:
    return f"{entry.parameters:,}", f"{entry.trained_parameters:,}"


def _over_grey(entries: Mapping[str, Entry], entry: Entry, where: str) -> Interval | None:
    if "grey" not in entries:
        return None
    return difference(entry.values(where, "psnr"), entries["grey"].values(where, "psnr"))


def _origins(entry: Entry) -> str:
    return ", ".join(f"{part}: {origin}" for part, origin in entry.pretrained.items())


def _origins_in_short(entry: Entry) -> str:
    """The rows that weights came from; else none, where there could have been some."""
    rows = [origin for origin in entry.pretrained.values() if origin.startswith("row ")]
    files = [f"{part}: {origin}" for part, origin in entry.pretrained.items() if origin != "none"]
    return ", ".join(rows or files) or ("none" if entry.pretrained else "")


def _mean(entry: Entry, where: str, figure: str) -> str:
    value = entry.mean(where, figure)
    return MISSING if value is None else f"{value:.{_DIGITS[figure]}f}"


def _interval(interval: Interval | None, *, precise: bool = False) -> str:
    if interval is None:
        return MISSING
    style = "+.3g" if precise else "+.2f"
    return f"{interval.mean:{style}} [{interval.low:{style}}, {interval.high:{style}}]"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
