"""Scores as a table, as JSON, and as contact sheets to look at."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.table import Table

from streamcolor.errors import OutputError
from streamcolor.evaluation.metrics import Picture, lab
from streamcolor.evaluation.protocols import ClipScore, KeptFrame

COLUMNS = ("grey", "psnr", "ssim", "de00", "cdc", "cdc_gt", "colour", "his", "end", "luma", "fps")
SHEET_WIDTH = 1600
ROWS = ("film", "truth", "output", "error")
# The distance in a*, b* from which on the error row has its hottest color.
LARGEST_ERROR = 60.0


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


def write_strip(folder: Path, clip: str, frames: Sequence[KeptFrame]) -> Path:
    """Contact sheet ``CLIP.png``, at most 1600 pixels wide: a column a frame, with its number.

    From top to bottom: film, truth, output, and the distance of output and truth in a*, b*, from black (none) to
    yellow (60 and more). Raises OutputError where it cannot be written.
    """
    width = SHEET_WIDTH // len(frames)
    sheet = np.concatenate([_column(frame, width) for frame in frames], 1)
    height = sheet.shape[0] // len(ROWS)
    for row, word in enumerate(ROWS):
        for column, frame in enumerate(frames):
            _caption(sheet, f"{word} {frame.number}", column * width + 4, row * height + 14)
    path = folder / f"{clip}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
    except OSError as error:
        raise OutputError(f"the contact sheet {path} cannot be written: {error.strerror}") from error
    return path


def _column(frame: KeptFrame, width: int) -> Picture:
    height = max(1, width * frame.truth.shape[0] // frame.truth.shape[1])
    distance = np.linalg.norm((lab(frame.truth) - lab(frame.output))[..., 1:], axis=-1)
    heat = cv2.applyColorMap(np.clip(distance * (255 / LARGEST_ERROR), 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = np.repeat(frame.luma[..., None], 3, -1)
    pictures = (grey, frame.truth, frame.output, heat[..., ::-1])
    rows = [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
    return np.asarray(np.concatenate(rows, 0), np.uint8)


def _caption(sheet: Picture, text: str, x: int, y: int) -> None:
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, thickness, cv2.LINE_AA)
