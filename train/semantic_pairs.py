"""Pairs of pictures that have something to do with each other, or nothing; palettes.

Yin et al., "Yes, Attention Is All You Need, for Exemplar based Colorization", section 4.1: 2,500 targets with the
reference that is nearest in the features of VGG-19, 1,250 with the farthest, and 1,250 with a palette. Written are

    OUT/pairs.csv           "# feature: vgg19" or "# feature: hog", then target,reference,kind,distance, sorted
    OUT/palettes/*.png      references of the kind "palette"; paths of all others are below the folder of pictures
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from streamcolor.color.convert import rgb_to_lab
from streamcolor.errors import InputError
from streamcolor.media.atomic import replaced, write_failure
from streamcolor.train.ends import Bytes, resized
from streamcolor.train.footage import STILL_SUFFIXES
from streamcolor.train.palettes import palette_of, picture_of_palette, read_palettes
from streamcolor.train.vgg19 import read_vgg19

Floats = NDArray[np.float32]
Kind = Literal["related", "farthest", "palette"]

RELATED = 2500
INDEPENDENT = 2500

# Nearer than this is the same picture again.
_DUPLICATE = 0.02
# Orientation histogram: cells and orientations, eight each way, of a picture of this size.
_HOG_SIZE, _CELLS, _ORIENTATIONS = 128, 8, 8
_VGG_SIZE = 224
# Rows of distances that are held at a time.
_ROWS = 256


@dataclass(frozen=True)
class Described:
    """How pictures become features. name: ``vgg19`` or ``hog``. of: (H, W, 3) R'G'B' -> (512,) of length 1."""

    name: Literal["vgg19", "hog"]
    of: Callable[[Bytes], Floats]


@dataclass(frozen=True)
class SemanticPair:
    """target, reference: files. distance: 1 - cosine of their features, None for a palette."""

    target: Path
    reference: Path
    kind: Kind
    distance: float | None


@dataclass(frozen=True)
class SemanticResult:
    """Numbers of pairs by kind, and the files that could not be read with the reasons."""

    feature: str
    related: int
    farthest: int
    palette: int
    skipped: list[tuple[str, str]]


def description(vgg19: Path | None = None) -> Described:
    """By VGG-19's relu5_1, averaged over the picture, where a file of its weights is given, else by ``hog``."""
    if vgg19 is None:
        return Described("hog", hog)
    network = read_vgg19(vgg19)

    def of(rgb: Bytes) -> Floats:
        small = torch.from_numpy(resized(rgb, _VGG_SIZE).astype(np.float32) / 255).permute(2, 0, 1)[None]
        with torch.inference_mode():
            return unit(network(small)[0].mean((1, 2)).numpy())

    return Described("vgg19", of)


def hog(rgb: Bytes) -> Floats:
    """Histogram of the orientations of gradients of L* (Dalal & Triggs 2005), (512,) of length 1; 0 if there are none.

    128 x 128, 8 x 8 cells, 8 orientations over half a turn, weighted by the gradient's length.
    """
    lightness, _ = rgb_to_lab(resized(rgb, _HOG_SIZE).astype(np.float32) / 255)
    down, right = np.gradient(lightness)
    turn = np.arctan2(down, right) % np.pi / np.pi
    orientation = np.minimum((turn * _ORIENTATIONS).astype(np.int64), _ORIENTATIONS - 1)
    cell = np.arange(_HOG_SIZE) * _CELLS // _HOG_SIZE
    place = (cell[:, None] * _CELLS + cell) * _ORIENTATIONS + orientation
    # In steps, so that noise of the last bit is no gradient.
    strength = np.hypot(down, right).round(3)
    return unit(np.bincount(place.ravel(), strength.ravel(), _CELLS * _CELLS * _ORIENTATIONS))


def unit(vector: NDArray[np.number]) -> Floats:
    """Of length 1; of nothing, nothing."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)


def distances(features: Floats, targets: Sequence[int]) -> Floats:
    """1 - cosine of some pictures (by number) to all, (targets, n); inf to themselves and where a picture repeats them.

    features: (n, 512) of length 1.
    """
    result = np.asarray(1 - features[list(targets)] @ features.T, np.float32)
    result[result < _DUPLICATE] = np.inf
    result[np.arange(len(targets)), list(targets)] = np.inf
    return result


def partners(features: Floats, targets: Sequence[int], *, farthest: bool = False) -> list[tuple[int, float] | None]:
    """The nearest or the farthest picture of each target and its distance; None where there are only repetitions."""
    found: list[tuple[int, float] | None] = []
    for start in range(0, len(targets), _ROWS):
        rows = distances(features, targets[start : start + _ROWS])
        if farthest:
            rows = np.where(np.isinf(rows), -np.inf, rows)
        best = rows.argmax(1) if farthest else rows.argmin(1)
        for row, number in zip(rows, best.tolist(), strict=True):
            found.append((number, float(row[number])) if np.isfinite(row[number]) else None)
    return found


def semantic_pairs(
    pictures: Path,
    output: Path,
    *,
    palettes: Path | None = None,
    related: int = RELATED,
    independent: int = INDEPENDENT,
    vgg19: Path | None = None,
    seed: int = 0,
    on_picture: Callable[[int, int], None] | None = None,
) -> SemanticResult:
    """Write the pairs of all stills below a folder; the same again for the same pictures and seed.

    related, independent: at most so many pairs, half of the latter with the farthest picture and half with a palette;
    n pictures give at most n of each kind. palettes: see ``read_palettes``; without it they are those of random
    pictures. vgg19: see ``description``. on_picture: told how many of how many are described. Raises InputError for a
    folder with fewer than two pictures that can be read, OutputError where nothing can be written.
    """
    describe = description(vgg19)
    names, features, skipped = _described(pictures, describe, on_picture)
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> list[int]:
        return sorted(rng.permutation(len(names))[:count].tolist())

    rows = list[tuple[str, str, Kind, str]]()
    for kind, count in (("related", related), ("farthest", independent - independent // 2)):
        targets = drawn(count)
        for target, partner in zip(targets, partners(features, targets, farthest=kind == "farthest"), strict=True):
            if partner is not None:
                rows.append((names[target], names[partner[0]], _kind(kind), f"{partner[1]:.6f}"))
    targets = drawn(independent // 2)
    colors = read_palettes(palettes) if palettes is not None else None
    try:
        (output / "palettes").mkdir(parents=True, exist_ok=True)
        for number, target in enumerate(targets):
            source = int(rng.integers(len(colors) if colors is not None else len(names)))
            five = colors[source] if colors is not None else palette_of(read_picture(pictures / names[source]))
            name = f"palettes/{number:05d}.png"
            _save(picture_of_palette(five), output / name)
            rows.append((names[target], name, "palette", ""))
        _write(output / "pairs.csv", describe.name, sorted(rows))
    except OSError as error:
        raise write_failure(error, output) from error
    kinds = [row[2] for row in rows]
    return SemanticResult(
        describe.name, kinds.count("related"), kinds.count("farthest"), kinds.count("palette"), skipped
    )


def read_semantic_pairs(folder: Path, pictures: Path) -> list[SemanticPair]:
    """Pairs that ``semantic_pairs`` wrote to ``folder`` of the stills below ``pictures``. Raises InputError."""
    file = folder / "pairs.csv"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = list(csv.DictReader(line for line in lines if not line.startswith("# feature:")))
        return [
            SemanticPair(
                pictures / row["target"],
                (folder if row["kind"] == "palette" else pictures) / row["reference"],
                _kind(row["kind"]),
                float(row["distance"]) if row["distance"] else None,
            )
            for row in rows
        ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{file} is not a list of semantic pairs; make one with streamcolor data pairs") from error


def read_picture(path: Path) -> Bytes:
    """(H, W, 3) R'G'B'. Raises OSError, ValueError or SyntaxError for a file that is broken."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _described(
    pictures: Path, describe: Described, on_picture: Callable[[int, int], None] | None
) -> tuple[list[str], Floats, list[tuple[str, str]]]:
    """Names below the folder, features (n, 512), and what could not be read."""
    paths = sorted(p for p in pictures.rglob("*") if p.suffix.lower() in STILL_SUFFIXES and p.is_file())
    names, features, skipped = list[str](), list[Floats](), list[tuple[str, str]]()
    for number, path in enumerate(paths, 1):
        name = path.relative_to(pictures).as_posix()
        try:
            features.append(describe.of(read_picture(path)))
            names.append(name)
        except (OSError, ValueError, SyntaxError) as error:
            skipped.append((name, str(error)))
        if on_picture is not None:
            on_picture(number, len(paths))
    if len(names) < 2:
        raise InputError(f"{pictures} holds fewer than two pictures that can be read; pairs need more")
    return names, np.stack(features), skipped


def _kind(text: str) -> Kind:
    for kind in ("related", "farthest", "palette"):
        if text == kind:
            return kind
    raise ValueError(f"no kind {text!r} of pairs")


def _save(picture: Bytes, path: Path) -> None:
    from PIL import Image

    with replaced(path) as part:
        Image.fromarray(picture).save(part, "PNG")


def _write(path: Path, feature: str, rows: Sequence[tuple[str, ...]]) -> None:
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# feature: {feature}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("target", "reference", "kind", "distance"))
        writer.writerows(rows)
