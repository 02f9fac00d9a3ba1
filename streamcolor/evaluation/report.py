"""Scores as tables and as JSON, and files that are whole or not there."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.table import Table

from streamcolor.errors import OutputError
from streamcolor.evaluation.comparison import ClipScore, Figures
from streamcolor.evaluation.curves import psnr_by_distance, worst_frames
from streamcolor.evaluation.metrics import Picture
from streamcolor.media.atomic import replaced, write_failure

COLUMNS = ("grey", "psnr", "ssim", "de00", "cdc", "cdc_gt", "colour", "his", "end", "luma", "fps")
_DIGITS = {"luma": 0, "fps": 1, "grey": 2, "psnr": 2, "end": 2, "de00": 2, "warp": 2, "warp_gt": 2, "fid": 1}
_DIGITS |= {"grey_ab": 2, "psnr_ab": 2, "aesthetics": 2, "aesthetics_gt": 2}


@dataclasses.dataclass(frozen=True)
class Results:
    """What came of an evaluation.

    options: what was run. columns: of the figures beyond the default ones; pooled: those that are over all clips.
    missing: by column, why it has no figures.
    """

    scores: Sequence[ClipScore]
    options: dict[str, Any]
    columns: Sequence[str] = ()
    pooled: Figures = dataclasses.field(default_factory=dict)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)

    def measures(self, score: ClipScore) -> Figures:
        """Figures of a clip by column; None: not to be had."""
        return {column: score.measures.get(column) for column in self.columns if column not in self.pooled}

    def mean_measures(self) -> Figures:
        """Mean over the clips that have a figure, by column, and what is pooled over all clips."""
        means: Figures = {}
        for column in self.columns:
            values = [v for v in (score.measures.get(column) for score in self.scores) if v is not None]
            means[column] = float(np.mean(values)) if values else None
        return means | self.pooled


def mean_of(scores: Sequence[ClipScore]) -> dict[str, float]:
    """Mean of every figure over the clips; the largest for ``luma``."""
    mean = {name: float(np.mean([getattr(s, name) for s in scores])) for name in (*COLUMNS, "psnr_u8")}
    return mean | {"luma": float(max(s.luma for s in scores))}


def table(scores: Sequence[ClipScore]) -> Table:
    """One row a clip and their mean; grey and output side by side, because grey scores more than one thinks."""
    result = Table("clip", *COLUMNS)
    for column in result.columns[1:]:
        column.justify = "right"
    for score in scores:
        result.add_row(score.clip, *(figure(name, getattr(score, name)) for name in COLUMNS))
    mean = mean_of(scores)
    result.add_section()
    result.add_row("mean", *(figure(name, mean[name]) for name in COLUMNS))
    return result


def measures_table(results: Results) -> Table:
    """The figures beyond the default ones, a row a clip and their mean, and the worst frames with their psnr."""
    result = Table("clip", *results.columns, "worst frames: psnr")
    result.columns[0].no_wrap = True
    for column in result.columns[1:-1]:
        column.justify, column.no_wrap = "right", True
    result.columns[-1].min_width = len("1234: 12.34,")
    for score in results.scores:
        measures = results.measures(score)
        cells = [figure(name, measures[name]) if name in measures else "" for name in results.columns]
        result.add_row(score.clip, *cells, worst_words(score))
    mean = results.mean_measures()
    result.add_section()
    result.add_row("mean", *(figure(name, mean[name]) for name in results.columns))
    return result


def worst_words(score: ClipScore) -> str:
    """The worst frames of a clip as ``NUMBER: PSNR``, worst first."""
    return ", ".join(f"{worst.number}: {worst.psnr:.2f}" for worst in worst_frames(score))


def figure(name: str, value: float | None) -> str:
    """A figure with the digits that its column has; ``n/a`` for None."""
    return "n/a" if value is None else f"{value:.{_DIGITS.get(name, 3)}f}"


def to_json(results: Results) -> str:
    """Mean, clips, psnr over the distance from the reference, and what was run, for programs; null: not to be had."""
    clips = {}
    for score in results.scores:
        row = dataclasses.asdict(score)
        del row["measures"]
        row |= results.measures(score)
        row["worst_frames"] = [dataclasses.asdict(worst) for worst in worst_frames(score)]
        row["psnr_by_distance"] = _curve([score])
        clips[score.clip] = row
    mean = mean_of(results.scores) | results.mean_measures()
    curve = _curve(results.scores)
    whole = {"mean": mean, "psnr_by_distance": curve, "clips": clips, "options": results.options}
    return json.dumps(whole, indent=1, allow_nan=False)


def _curve(scores: Sequence[ClipScore]) -> dict[str, Any]:
    return dataclasses.asdict(psnr_by_distance(scores))


def write_strip(folder: Path, clip: str, sheet: Picture) -> Path:
    """A contact sheet as ``CLIP.png``, whole or not at all, in a folder that is made. Raises OutputError."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(error, folder) from error
    path = folder / f"{clip}.png"
    write_whole(path, cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    return path


def check_place(path: Path) -> None:
    """Raise OutputError when a file cannot be put at ``path``: to be known before hours of coloring."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it first, or name another")
    check_folder(path.parent)


def check_folder(path: Path) -> None:
    """Raise OutputError when files cannot be put into a folder that is there or is to be made."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise OutputError(f"{there} is not a folder; name another")
    if not os.access(there, os.W_OK):
        raise OutputError(f"the folder {there} cannot be written to; name another")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under its name when it is whole; one that is there is replaced. Raises OutputError."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        _write_through(path, data)
        return
    with replaced(path) as part:
        part.write_bytes(data)


def _write_through(path: Path, data: bytes) -> None:
    """To a device or pipe, which must not be replaced by a file."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise write_failure(error, path) from error
