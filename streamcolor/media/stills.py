"""Single pictures and label maps, from files and into them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.errors import InputError, OutputError
from streamcolor.media.atomic import replaced
from streamcolor.media.luma import plane_view

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
# Formats that hold more than 8 bits, and those that OpenCV writes an alpha channel of (of TIFF it does not say so).
_DEEP = (".png", ".tif", ".tiff")
_WITH_ALPHA = (".png", ".webp")
_QUALITY = {
    ".jpg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".jpeg": (cv2.IMWRITE_JPEG_QUALITY, 95),
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 95),
}


@dataclass(frozen=True)
class Still:
    """rgb: (H, W, 3) float32 R'G'B' in [0, 1]. alpha: (H, W) in [0, 1], or None. depth: bits of a sample, 8 or 16."""

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32] | None
    depth: int


def read_still(path: Path, what: str = "picture") -> Still:
    """A picture of 8 or 16 bits, upright as its EXIF says. Raises InputError, which calls it ``what`` it is for."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"the {what} {path} cannot be read: {error.strerror}") from error
    picture = _decode_upright(data)
    if picture is None:
        raise InputError(f"the {what} {path} is not a picture of 8 or 16 bits")
    depth = 8 if picture.dtype == np.uint8 else 16
    scaled = picture.astype(np.float32) / np.float32(2**depth - 1)
    alpha = np.ascontiguousarray(scaled[..., 3]) if scaled.shape[2] == 4 else None
    return Still(np.ascontiguousarray(scaled[..., 2::-1]), alpha, depth)


def _decode_upright(data: NDArray[np.uint8]) -> NDArray[np.integer[Any] | np.floating[Any]] | None:
    """BGR (H, W, 3) or BGRA (H, W, 4) of the bytes of a picture, upright as its EXIF says (not with an alpha channel).

    None for what is not a picture of 8 or 16 bits.
    """
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if picture is None or picture.dtype not in (np.uint8, np.uint16):
        return None
    if picture.ndim == 2 or picture.shape[2] != 4:
        # Unchanged is also not turned upright.
        return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return picture


def write_still(path: Path, still: Still) -> None:
    """Write a picture whole or not at all, rounded to its depth or to the 8 bits that its format has.

    Raises OutputError. TIFF and formats without an alpha channel lose it.
    """
    suffix = path.suffix.lower()
    depth = still.depth if suffix in _DEEP else 8
    channels = [still.rgb[..., ::-1]]
    if still.alpha is not None and suffix in _WITH_ALPHA:
        channels.append(still.alpha[..., None])
    values = np.clip(np.concatenate(channels, -1), 0, 1) * (2**depth - 1)
    picture = np.rint(values).astype(np.uint8 if depth == 8 else np.uint16)
    done, data = cv2.imencode(suffix, picture, _QUALITY.get(suffix, ()))
    if not done:
        raise OutputError(f"{path} cannot be written as a picture; end its name in {', '.join(SUFFIXES)}")
    with replaced(path) as part:
        part.write_bytes(data.tobytes())


def read_labels(path: Path) -> NDArray[np.uint8]:
    """A label map (H, W): the numbers of a picture with a palette, or the values of a grey one of 8 bits.

    Raises InputError for any other picture.
    """
    try:
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0), None)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InputError(f"the label map {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if picture is None or picture.format.name not in ("pal8", "gray"):
        raise InputError(f"{path} is not a label map: save one as PNG with a palette, or in grey of 8 bits")
    return np.array(plane_view(picture, 0, 8), np.uint8)
