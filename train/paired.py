"""Pictures in twos, a reference and a target, from whatever folder there is, and batches of them.

A pair is the first and the last frame of a video (``pairs.py`` writes such sets; the split of its manifest is kept), of
a folder of numbered frames, or, where there are fewer than ten videos, of each shot. A still lends two of its parts.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from streamcolor.color.convert import grey_lightness, rgb_to_lab
from streamcolor.color.standards import Matrix
from streamcolor.errors import InputError
from streamcolor.train.batches import ShuffledBatches
from streamcolor.train.ends import Bytes, Ends, Filter, first_and_last, resized, shot_ends
from streamcolor.train.footage import CLIP_SUFFIXES, STILL_SUFFIXES
from streamcolor.train.found import Found
from streamcolor.train.pairs import Split, read_manifest, split_of

# The parts of a still that make a pair have sides of three quarters: they share a quarter of the picture.
_PART = 0.75
_LEAST_CHROMA = 2.0
# Fewer videos than this are cut into shots.
_FEW_VIDEOS = 10


@dataclass(frozen=True)
class Pair:
    """reference, target: (size, size, 3) uint8 R'G'B'. name: of the file or folder they came from."""

    name: str
    reference: Bytes
    target: Bytes


PairSet: TypeAlias = Found[Pair]


class _Form(NamedTuple):
    """How pictures are resized: side in pixels, filter."""

    size: int
    filtering: Filter


# What one file or folder gives: pairs, made when called.
Source = Callable[[], list[Pair]]


def load_pairs(
    folder: Path, *, size: int = 256, stills: bool = True, alone: bool = False, filtering: Filter = "bilinear"
) -> PairSet:
    """Everything readable below ``folder``, decoded at size x size (0.4 MB a pair at 256), without grey pictures.

    stills: take them too, as two of their parts. alone: single pictures are wanted; each is its own reference, stills
    are taken whole. filtering: see ``resized``. Four fifths of the videos and stills are to train on (``split_of``).
    Raises InputError when nothing can be used.
    """
    manifest = (folder / "manifest.csv").exists()
    form = _Form(size, filtering)
    sources = _of_manifest(folder, form) if manifest else _of_folder(folder, form, stills=stills, alone=alone)
    found: dict[str, list[Pair]] = {}
    skipped, grey = list[str](), 0
    for name, source in sources.items():
        try:
            pairs = source()
        except (OSError, ValueError, SyntaxError) as error:
            skipped.append(f"{name}: {error}")
            continue
        if alone:
            pairs = [single for pair in pairs for single in _apart(pair)]
        kept = [pair for pair in pairs if colorful(pair.reference) and colorful(pair.target)]
        grey += len(pairs) - len(kept)
        if kept:
            found[name] = kept
    if not found:
        raise InputError(f"{folder} holds no color pictures and no clips to train on")
    if manifest:
        splits: Mapping[str, Split] = {row["id"]: _split(row["split"]) for row in read_manifest(folder)}
    else:
        if len(found) == 1:
            # The shots of one video, or nothing to validate on.
            found = {f"{pair.name} {n}": [pair] for pairs in found.values() for n, pair in enumerate(pairs)}
        splits = split_of(found)
    sides: dict[Split, list[Pair]] = {"train": [], "validation": []}
    for name, pairs in found.items():
        sides[splits[name]] += pairs
    return PairSet(sides["train"], sides["validation"], skipped, grey)


def _split(text: str) -> Split:
    return "validation" if text == "validation" else "train"


def _of_manifest(folder: Path, form: _Form) -> dict[str, Source]:
    try:
        rows = read_manifest(folder)
        return {row["id"]: _files(row["id"], folder / row["first"], folder / row["last"], form) for row in rows}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{folder / 'manifest.csv'} is not a manifest of pairs: {error}") from error


def _of_folder(folder: Path, form: _Form, *, stills: bool, alone: bool) -> dict[str, Source]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    videos = [path for path in files if path.suffix.lower() in CLIP_SUFFIXES]
    pictures: dict[Path, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in STILL_SUFFIXES:
            pictures.setdefault(path.parent, []).append(path)
    sources: dict[str, Source] = {}
    cut = len(videos) < _FEW_VIDEOS
    for path in videos:
        sources[path.relative_to(folder).as_posix()] = _video(path, form, cut=cut)
    for parent, paths in pictures.items():
        ends = None if parent == folder else frames_of(paths)
        if ends is not None:
            name = parent.relative_to(folder).as_posix()
            sources[name] = _files(name, *ends, form)
        elif stills or alone:
            for path in paths:
                sources[path.relative_to(folder).as_posix()] = _still(path, form, whole=alone)
    return sources


def frames_of(paths: Sequence[Path]) -> tuple[Path, Path] | None:
    """First and last picture of a folder of frames, None when it is a folder of stills.

    Frames are numbered without a gap behind the same letters and have one size, or are called ``first`` and ``last``.
    """
    from PIL import Image

    named = {path.stem: path for path in paths}
    if set(named) == {"first", "last"}:
        return named["first"], named["last"]
    matches = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in paths]
    numbered = {int(match[2]): path for match, path in zip(matches, paths, strict=True) if match}
    alike = len({match[1] for match in matches if match}) == 1
    if len(paths) < 2 or len(numbered) < len(paths) or not alike:
        return None
    low, high = min(numbered), max(numbered)
    if high - low != len(numbered) - 1:
        return None
    try:
        with Image.open(numbered[low]) as one, Image.open(numbered[high]) as other:
            return (numbered[low], numbered[high]) if one.size == other.size else None
    except OSError:
        return None


def _video(path: Path, form: _Form, *, cut: bool) -> Source:
    def read() -> list[Pair]:
        found: list[Ends] = shot_ends(path, *form) if cut else [first_and_last(path, *form)]
        return [Pair(path.name, ends.first, ends.last) for ends in found]

    return read


def _files(name: str, first: Path, last: Path, form: _Form) -> Source:
    return lambda: [Pair(name, resized(_opened(first), *form), resized(_opened(last), *form))]


def _still(path: Path, form: _Form, *, whole: bool) -> Source:
    def read() -> list[Pair]:
        picture = _opened(path)
        if whole:
            small = resized(picture, *form)
            return [Pair(path.name, small, small)]
        height, width = (max(round(side * _PART), 1) for side in picture.shape[:2])
        parts = picture[:height, :width], picture[-height:, -width:]
        return [Pair(path.name, *(resized(np.ascontiguousarray(part), *form) for part in parts))]

    return read


def _opened(path: Path) -> Bytes:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _apart(pair: Pair) -> list[Pair]:
    """A pair as two single pictures, or as one when it is the same twice."""
    pictures = [pair.reference] if pair.reference is pair.target else [pair.reference, pair.target]
    return [Pair(pair.name, picture, picture) for picture in pictures]


def colorful(picture: Bytes) -> bool:
    """Whether the mean chroma of CIELAB is at least 2: pictures with less are grey and teach grey."""
    _, ab = rgb_to_lab(picture[::4, ::4].astype(np.float32) / 255)
    return bool(np.hypot(ab[0], ab[1]).mean() >= _LEAST_CHROMA)


def as_rgb(picture: Bytes) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float() / 255


def as_lab(picture: Bytes) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32: L* / 100 of the grey film, a* / 110, b* / 110."""
    rgb = picture.astype(np.float32) / 255
    _, ab = rgb_to_lab(rgb)
    lightness = grey_lightness(rgb, Matrix.SMPTE170M)
    return torch.from_numpy(np.concatenate([lightness[None] / 100, np.clip(ab / 110, -1, 1)]).astype(np.float32))


class PairBatches(ShuffledBatches[Pair]):
    """Endless batches of ``reference`` and ``target`` (B, 3, size, size). prepared: ``as_rgb`` or ``as_lab``."""

    def __init__(
        self, pairs: Sequence[Pair], batch: int, prepared: Callable[[Bytes], Tensor] = as_rgb, **numbering: int
    ) -> None:
        super().__init__(pairs, batch, **numbering)
        self.prepared = prepared

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        return self.of(self.shuffled(number)[1])

    def of(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """The batch of these pairs."""
        chosen = [self.items[number] for number in numbers]
        return {
            "reference": torch.stack([self.prepared(pair.reference) for pair in chosen]),
            "target": torch.stack([self.prepared(pair.target) for pair in chosen]),
        }
