"""Pictures to be colored and references for them, to train an exemplar colorizer on; batches of them.

The paper does not say what its references were. Ours: half of the time the picture itself, bent and mirrored (of a
film another frame of the same shot), three times in ten the picture that resembles it most (``semantic_pairs``), else
any other picture.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from streamcolor.errors import InputError
from streamcolor.train.batches import ShuffledBatches
from streamcolor.train.ends import Bytes, shot_ends
from streamcolor.train.footage import CLIP_SUFFIXES, STILL_SUFFIXES
from streamcolor.train.found import Found
from streamcolor.train.paired import as_lab, colorful, frames_of
from streamcolor.train.pairs import split_of
from streamcolor.train.semantic_pairs import Described, partners, read_picture

log = logging.getLogger(__name__)

Generator = np.random.Generator

# How often a reference is the picture itself (or of its shot), and how often its neighbor.
_ITSELF, _NEIGHBOR = 0.5, 0.3
# Of the bent picture: control points a side, how far they move (standard deviation, share of the side), and the ranges
# of the affine part: half turns, scale, shear, shift as a share of the side.
_POINTS, _BEND = 4, 0.04
_TURN, _SCALE, _SHEAR, _SHIFT = 0.1, 0.2, 0.1, 0.1
# Neighbors are looked for among so many pictures.
_CANDIDATES = 20_000


@dataclass(frozen=True)
class Exemplar:
    """A still or the ends of a shot: files, read when they are needed, or R'G'B' (h, w, 3).

    neighbor: number of the exemplar that resembles it most, or None.
    """

    name: str
    pictures: tuple[Path | Bytes, ...]
    neighbor: int | None = None


ExemplarSet: TypeAlias = Found[Exemplar]


def load_exemplars(folder: Path, describe: Described, *, short_side: int = 288) -> ExemplarSet:
    """Everything readable below ``folder``: stills, folders of numbered frames, and films by their shots.

    Stills stay on the disk; frames of films are held, as squares of ``short_side``. Four fifths are to train on
    (``split_of``). Raises InputError when nothing can be used.
    """
    found: dict[str, list[Exemplar]] = {}
    features: dict[str, list[np.ndarray]] = {}
    skipped, grey = list[str](), 0
    for name, source in _sources(folder).items():
        try:
            for exemplar in _exemplars(name, source, short_side):
                first = opened(exemplar.pictures[0], short_side)
                if not all(colorful(opened(picture, short_side)) for picture in exemplar.pictures):
                    grey += 1
                    continue
                found.setdefault(name, []).append(exemplar)
                features.setdefault(name, []).append(describe.of(first))
        except (OSError, ValueError, SyntaxError) as error:
            skipped.append(f"{name}: {error}")
    if not found:
        raise InputError(f"{folder} holds no color pictures and no clips to train on")
    splits = split_of(found)
    sides = {
        side: _acquainted(
            [exemplar for name in found if splits[name] == side for exemplar in found[name]],
            [feature for name in found if splits[name] == side for feature in features[name]],
        )
        for side in ("train", "validation")
    }
    return ExemplarSet(sides["train"], sides["validation"], skipped, grey)


def _sources(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Files that belong together by name: a film, a still, or the first and last of numbered frames."""
    sources: dict[str, tuple[Path, ...]] = {}
    pictures: dict[Path, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix.lower() in CLIP_SUFFIXES:
            sources[path.relative_to(folder).as_posix()] = (path,)
        elif path.suffix.lower() in STILL_SUFFIXES:
            pictures.setdefault(path.parent, []).append(path)
    for parent, paths in pictures.items():
        ends = None if parent == folder else frames_of(paths)
        if ends is not None:
            sources[parent.relative_to(folder).as_posix()] = ends
        else:
            sources |= {path.relative_to(folder).as_posix(): (path,) for path in paths}
    return sources


def _exemplars(name: str, source: tuple[Path, ...], short_side: int) -> list[Exemplar]:
    if source[0].suffix.lower() in CLIP_SUFFIXES:
        return [Exemplar(name, (ends.first, ends.last)) for ends in shot_ends(source[0], short_side)]
    return [Exemplar(name, source)]


def _acquainted(exemplars: Sequence[Exemplar], features: Sequence[np.ndarray]) -> list[Exemplar]:
    """With their neighbors."""
    if len(exemplars) < 2:
        return list(exemplars)
    known = min(len(exemplars), _CANDIDATES)
    found = partners(np.stack(features[:known]), range(known))
    neighbors = [None if partner is None else partner[0] for partner in found]
    neighbors += [None] * (len(exemplars) - known)
    return [Exemplar(e.name, e.pictures, n) for e, n in zip(exemplars, neighbors, strict=True)]


def opened(picture: Path | Bytes, short_side: int) -> Bytes:
    """(h, w, 3) R'G'B' with the shorter side as given: area means downwards, bilinear upwards."""
    rgb = read_picture(picture) if isinstance(picture, Path) else picture
    height, width = rgb.shape[:2]
    scale = short_side / min(height, width)
    size = (max(round(width * scale), short_side), max(round(height * scale), short_side))
    if size == (width, height):
        return rgb
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)


def bent(rgb: Bytes, rng: Generator) -> Bytes:
    """A picture under a random affine map and thin-plate spline (Bookstein 1989), half of the time mirrored."""
    height, width = rgb.shape[:2]
    side = np.linspace(-1, 1, _POINTS)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    angle, shear = rng.uniform(-_TURN, _TURN) * np.pi, rng.uniform(-_SHEAR, _SHEAR)
    scale = 1 + rng.uniform(-_SCALE, _SCALE)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = scale * turn @ np.array([[1, shear], [0, 1]])
    moved = points @ affine.T + 2 * rng.uniform(-_SHIFT, _SHIFT, 2) + 2 * rng.normal(0, _BEND, points.shape)
    if rng.random() < 0.5:
        points = points * [-1, 1]
    here = np.stack(np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height)), -1).reshape(-1, 2)
    there = _spline(points, moved, here).reshape(height, width, 2)
    x, y = ((there[..., axis] + 1) / 2 * (length - 1) for axis, length in ((0, width), (1, height)))
    return np.asarray(
        cv2.remap(rgb, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )


def _spline(points: np.ndarray, moved: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The thin-plate spline that takes ``points`` (k, 2) to ``moved`` (k, 2), at other places (n, 2)."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = ((a[:, None] - b) ** 2).sum(2)
        return np.asarray(squares * np.log(np.maximum(squares, 1e-12)))

    count = len(points)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = kernel(points, points)
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = points
    system[count + 1 :, :count] = points.T
    weights = np.linalg.solve(system, np.concatenate([moved, np.zeros((3, 2))]))
    return np.asarray(kernel(at, points) @ weights[:count] + weights[count] + at @ weights[count + 1 :])


class ExemplarBatches(ShuffledBatches[Exemplar]):
    """Endless batches of ``target`` and ``reference`` (B, 3, size, size) as ``as_lab`` makes them.

    Every picture comes with another crop and another reference in every epoch.
    """

    def __init__(
        self, exemplars: Sequence[Exemplar], batch: int, *, size: int = 256, short_side: int = 288, **numbering: int
    ) -> None:
        super().__init__(exemplars, batch, **numbering)
        self.size = size
        self.short_side = short_side

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        epoch, chosen = self.shuffled(number)
        drawn = [self.drawn(index, np.random.default_rng((self.seed, epoch, index))) for index in chosen]
        return {name: torch.stack([as_lab(pair[name]) for pair in drawn]) for name in ("target", "reference")}

    def drawn(self, index: int, rng: Generator) -> dict[str, Bytes]:
        """``target`` and ``reference`` (size, size, 3) R'G'B'."""
        pictures = self.items[index].pictures
        which = int(rng.integers(len(pictures)))
        target = opened(pictures[which], self.short_side)
        kind = rng.random()
        if kind < _ITSELF and len(pictures) > 1:
            reference = opened(pictures[1 - which], self.short_side)
        elif kind < _ITSELF:
            reference = bent(target, rng)
        else:
            reference = self._other(index, rng, neighbor=kind < _ITSELF + _NEIGHBOR)
        return {"target": self._crop(target, rng), "reference": self._crop(reference, rng)}

    def _other(self, index: int, rng: Generator, *, neighbor: bool) -> Bytes:
        """The neighbor, or where there is none, and when it is not asked for, another picture (the same if alone)."""
        chosen = self.items[index].neighbor if neighbor else None
        if chosen is None:
            chosen = (index + int(rng.integers(1, max(len(self.items), 2)))) % len(self.items)
        pictures = self.items[chosen].pictures
        return opened(pictures[int(rng.integers(len(pictures)))], self.short_side)

    def _crop(self, rgb: Bytes, rng: Generator) -> Bytes:
        top, left = (int(rng.integers(side - self.size + 1)) for side in rgb.shape[:2])
        return np.ascontiguousarray(rgb[top : top + self.size, left : left + self.size])


def center(rgb: Bytes, size: int) -> Bytes:
    """The middle of a picture, (size, size, 3)."""
    top, left = ((side - size) // 2 for side in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + size, left : left + size])
