"""Color pictures and clips of a folder, decoded: what training draws from."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.errors import InputError

Bytes = NDArray[np.uint8]
STILL_SUFFIXES = (".avif", ".jpg", ".jpeg", ".png", ".webp")
CLIP_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")

Clip = list[Bytes]


@dataclass(frozen=True)
class Footage:
    """Decoded pictures: stills as (H, W, 3) and clips as lists of such, uint8 R'G'B'.

    kept: clips to validate on. skipped: unreadable files, with what was wrong.
    """

    stills: list[Bytes]
    clips: list[Clip]
    kept: list[Clip]
    skipped: list[str]


def load_footage(
    folder: Path,
    *,
    longest: int = 90,
    smallest: int = 128,
    limit: int | None = None,
    kept: float = 0.0,
    every: int = 1,
    short_side: int | None = None,
) -> Footage:
    """Everything readable below ``folder``; at most ``longest`` frames of a clip. Raises InputError when empty.

    kept: share of the clips, chosen by their names, that is set apart. every: of a clip, only each n-th of these
    frames. short_side: pixels that pictures are reduced to.
    """
    from PIL import Image

    footage = Footage([], [], [], [])
    for path in sorted(folder.rglob("*"))[:limit]:
        try:
            if path.suffix.lower() in STILL_SUFFIXES:
                picture = np.asarray(Image.open(path).convert("RGB"))
                if min(picture.shape[:2]) >= smallest and _colorful(picture):
                    footage.stills.append(_reduced(picture, short_side))
            elif path.suffix.lower() in CLIP_SUFFIXES:
                clip = _decoded(path, longest, every)
                if len(clip) * every > 8 and min(clip[0].shape[:2]) >= smallest and _colorful(clip[0]):
                    # A single frame cannot be followed, and so not be scored.
                    aside = len(clip) > 1 and zlib.crc32(path.name.encode()) < kept * 2**32
                    clip = [_reduced(frame, short_side) for frame in clip]
                    (footage.kept if aside else footage.clips).append(clip)
        except (OSError, ValueError, av.FFmpegError) as error:
            footage.skipped.append(f"{path.name}: {error}")
    if not footage.stills and not footage.clips:
        raise InputError(f"{folder} holds no color pictures of {smallest} lines and more, and no such clips")
    return footage


def _decoded(path: Path, longest: int, every: int) -> Clip:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), 0, longest, every)]


def _reduced(picture: Bytes, short_side: int | None) -> Bytes:
    height, width = picture.shape[:2]
    if short_side is None or min(height, width) <= short_side:
        return picture
    scale = short_side / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _colorful(picture: Bytes) -> bool:
    """Grey pictures teach grey: mean distance between the channels below 2 code values is left out."""
    values = picture[::4, ::4].astype(np.int16)
    return bool((values.max(-1) - values.min(-1)).mean() >= 2)
