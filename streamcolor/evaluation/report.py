"""Scores as a table, as JSON, and as contact sheets to look at."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from streamcolor.errors import OutputError
from streamcolor.evaluation.metrics import Picture
from streamcolor.evaluation.protocols import ClipScore

COLUMNS = ("grey", "psnr", "ssim", "de00", "cdc", "cdc_gt", "colour", "his", "end", "luma", "fps")
SHEET_WIDTH = 1600
# An error of this many code values (Euclidean over R'G'B') is drawn as white in the error row.
LARGEST_ERROR = 96.0


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
        result.add_row(score.clip, *(_figure(name, getattr(score, name)) for name in COLUMNS))
    mean = mean_of(scores)
    result.add_section()
    result.add_row("mean", *(_figure(name, mean[name]) for name in COLUMNS))
    return result


def _figure(name: str, value: float) -> str:
    digits = {"luma": 0, "fps": 1, "grey": 2, "psnr": 2, "end": 2, "de00": 2}.get(name, 3)
    return f"{value:.{digits}f}"


def to_json(scores: Sequence[ClipScore], options: dict[str, Any]) -> str:
    """Mean, clips and what was run, for programs."""
    clips = {score.clip: dataclasses.asdict(score) for score in scores}
    return json.dumps({"mean": mean_of(scores), "clips": clips, "options": options}, indent=1)


def write_strip(folder: Path, clip: str, frames: Sequence[tuple[Picture, Picture, NDArray[np.uint8]]]) -> Path:
    """Contact sheet ``CLIP.png``: a column a frame; film, truth, output and error from top to bottom."""
    width = SHEET_WIDTH // max(len(frames), 1)
    columns = [_column(truth, output, luma, width) for truth, output, luma in frames]
    sheet = np.concatenate(columns, 1)
    for row, word in enumerate(("film", "truth", "output", "error")):
        at = (4, row * sheet.shape[0] // 4 + 14)
        cv2.putText(sheet, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(sheet, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    path = folder / f"{clip}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    except OSError as error:
        raise OutputError(f"the contact sheet {path} cannot be written: {error.strerror}") from error
    return path


def _column(truth: Picture, output: Picture, luma: NDArray[np.uint8], width: int) -> Picture:
    height = width * truth.shape[0] // truth.shape[1]
    error = np.sqrt(((truth.astype(np.float32) - output) ** 2).sum(-1)) * (255 / LARGEST_ERROR)
    grey, wrong = (np.repeat(np.clip(x, 0, 255).astype(np.uint8)[..., None], 3, -1) for x in (luma, error))
    rows = [cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in (grey, truth, output, wrong)]
    return np.asarray(np.concatenate(rows, 0), np.uint8)
