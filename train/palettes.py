"""Palettes of five colors as pictures: references that mean nothing (Bahng et al. 2018)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from streamcolor.errors import InputError
from streamcolor.train.ends import Bytes, resized

COLORS = 5
SIZE = 256

_ROUNDS = 20
# k-means looks at a picture of this size.
_SMALL = 64


def picture_of_palette(palette: Bytes, size: int = SIZE) -> Bytes:
    """Colors (k, 3) as k vertical bars, (size, size, 3)."""
    bars = np.arange(size) * len(palette) // size
    return np.ascontiguousarray(np.broadcast_to(palette[bars], (size, size, 3)))


def palette_of(picture: Bytes, count: int = COLORS, seed: int = 0) -> Bytes:
    """The colors of a picture (H, W, 3), (count, 3), the commonest first: k-means++ (Arthur & Vassilvitskii 2007)."""
    pixels = resized(picture, _SMALL).reshape(-1, 3).astype(np.float64)
    rng = np.random.default_rng(seed)
    centers = pixels[rng.integers(len(pixels))][None]
    while len(centers) < count:
        nearest = _squares(pixels, centers).min(1)
        # A picture of fewer colors has some of them twice.
        share = nearest / nearest.sum() if nearest.any() else None
        centers = np.concatenate([centers, pixels[rng.choice(len(pixels), p=share)][None]])
    for _ in range(_ROUNDS):
        group = _squares(pixels, centers).argmin(1)
        centers = np.stack(
            [pixels[group == k].mean(0) if (group == k).any() else center for k, center in enumerate(centers)]
        )
    sizes = np.bincount(_squares(pixels, centers).argmin(1), minlength=count)
    return np.asarray(centers[np.argsort(-sizes, kind="stable")].round(), np.uint8)


def _squares(pixels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.asarray(((pixels[:, None] - centers) ** 2).sum(2))


def read_palettes(path: Path) -> list[Bytes]:
    """Palettes (k, 3) of a text file, a line each: colors as ``#rrggbb``. Raises InputError for another file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} does not hold palettes: {error}") from error
    palettes = []
    for number, line in enumerate(lines, 1):
        words = re.split(r"[\s,;]+", line.strip())
        if words == [""]:
            continue
        if not all(re.fullmatch(r"#?[0-9a-fA-F]{6}", word) for word in words):
            raise InputError(f"{path}:{number}: a palette is a line of colors such as #8a2be2")
        palettes.append(np.array([list(bytes.fromhex(word.lstrip("#"))) for word in words], np.uint8))
    if not palettes:
        raise InputError(f"{path} holds no palettes")
    return palettes
