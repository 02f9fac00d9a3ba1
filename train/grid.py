"""The outputs of many rows side by side, as one picture that is small enough to be committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from streamcolor.media.atomic import replaced
from streamcolor.train.ends import Bytes
from streamcolor.train.semantic_pairs import read_picture

MOST_BYTES = 600_000
# Sides of a tile, the largest first; the first that keeps the picture small enough is taken.
_TILES = (128, 112, 96, 88, 80, 72, 64, 56, 48, 32)
_CAPTION = 170


def write_grid(path: Path, lines: Mapping[str, Sequence[Bytes | None]]) -> None:
    """A line of pictures under each name, cut to squares; None: black. Raises OutputError."""
    from PIL import Image

    for tile in _TILES:
        sheet = np.concatenate([_line(name, pictures, tile) for name, pictures in lines.items()])
        data = BytesIO()
        Image.fromarray(sheet).save(data, "PNG", optimize=True)
        if len(data.getvalue()) < MOST_BYTES:
            break
    with replaced(path) as part:
        part.write_bytes(data.getvalue())


def read_pictures(folder: Path, names: Sequence[str]) -> list[Bytes | None]:
    """PNGs of a folder by name; None where there is none."""
    files = [folder / f"{name}.png" for name in names]
    return [read_picture(file) if file.exists() else None for file in files]


def _line(name: str, pictures: Sequence[Bytes | None], tile: int) -> Bytes:
    caption = np.full((tile, _CAPTION, 3), 24, np.uint8)
    place = (4, tile // 2 + 4)
    cv2.putText(caption, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (230, 230, 230), 1, cv2.LINE_AA)
    tiles = [np.zeros((tile, tile, 3), np.uint8) if picture is None else _square(picture, tile) for picture in pictures]
    return np.concatenate([caption, *tiles], 1)


def _square(picture: Bytes, tile: int) -> Bytes:
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    middle = picture[top : top + side, left : left + side]
    return np.asarray(cv2.resize(middle, (tile, tile), interpolation=cv2.INTER_AREA), np.uint8)
