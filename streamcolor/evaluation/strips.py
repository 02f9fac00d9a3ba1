"""Contact sheets: the frames of a clip side by side, to look at. Numbers miss what people hate most."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamcolor.evaluation.comparison import Pair
from streamcolor.evaluation.metrics import Picture, lab

ROWS = ("truth", "input", "result", "error")
COLUMNS = 6
COLUMN_WIDTH = 266
HEADER_HEIGHT = 22
# The distance in a*, b* from which on the error row has its hottest color.
LARGEST_ERROR = 60.0


@dataclass(frozen=True)
class _Frame:
    pair: Pair
    psnr: float


class ContactSheet:
    """Six frames of a clip, evenly spaced; the worst one takes the place of the nearest but the first and last.

    Pictures are reduced as they come: at most one frame is held at full size.
    """

    def __init__(self, count: int) -> None:
        """count: frames of the clip."""
        self._spaced = [int(n) for n in np.linspace(0, count - 1, COLUMNS)]
        self._columns: dict[int, Picture] = {}
        self._worst: _Frame | None = None

    def add(self, pair: Pair, psnr: float) -> None:
        """The next frame of the clip and its psnr in dB."""
        frame = _Frame(pair, psnr)
        if pair.number in self._spaced:
            self._columns[pair.number] = _column(frame, worst=False)
        if pair.compared and (self._worst is None or psnr < self._worst.psnr):
            self._worst = frame

    def picture(self) -> Picture:
        """(H, W, 3) R'G'B': a column a frame under its number and psnr, 266 pixels wide.

        From top to bottom: truth, input (the luma), result, and the distance of result and truth in a*, b*, from black
        (none) to yellow (60 and more).
        """
        columns = dict(self._columns)
        if self._worst is not None:
            number = self._worst.pair.number
            inner = sorted(columns)[1:-1]
            if number not in columns and inner:
                del columns[min(inner, key=lambda n: abs(n - number))]
            columns[number] = _column(self._worst, worst=True)
        sheet = np.concatenate([columns[n] for n in sorted(columns)], 1)
        height = (sheet.shape[0] - HEADER_HEIGHT) // len(ROWS)
        for row, word in enumerate(ROWS):
            _caption(sheet, word, 4, HEADER_HEIGHT + row * height + 14)
        return sheet


def _column(frame: _Frame, *, worst: bool) -> Picture:
    pair = frame.pair
    height = max(1, COLUMN_WIDTH * pair.truth.shape[0] // pair.truth.shape[1])
    distance = np.linalg.norm((lab(pair.truth) - lab(pair.output))[..., 1:], axis=-1)
    heat = cv2.applyColorMap(np.clip(distance * (255 / LARGEST_ERROR), 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = np.repeat(pair.truth_luma[..., None], 3, -1)
    pictures = (pair.truth, grey, pair.output, heat[..., ::-1])
    rows = [cv2.resize(p, (COLUMN_WIDTH, height), interpolation=cv2.INTER_AREA) for p in pictures]
    header = np.full((HEADER_HEIGHT, COLUMN_WIDTH, 3), 32, np.uint8)
    note = "  worst" if worst else "" if pair.compared else "  reference"
    _caption(header, f"{pair.number}  {frame.psnr:.2f} dB{note}", 4, 15)
    return np.asarray(np.concatenate([header, *rows], 0), np.uint8)


def _caption(sheet: Picture, text: str, x: int, y: int) -> None:
    # An outline by a thicker pen does not do: OpenCV 5 makes its letters wider.
    for right, down, color in ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, 255)):
        place = (x + right, y + down)
        cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (color,) * 3, 1, cv2.LINE_AA)
