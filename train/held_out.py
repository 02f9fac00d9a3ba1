"""The data of a comparison: what is trained on, and what is held back, made from one folder of stills and clips.

    DATA/train/stills/*.png, train/clips/ID/first.png, last.png    every learned row sees these
    DATA/probe/*.png                                               a few of them, to measure the time of a step
    DATA/held/stills/*.png, held/pairs.csv                         never trained on; see ``semantic_pairs``
    DATA/pairs/                                                    see ``pairs.konvid_pairs``

Four fifths of the stills by name and of the clips by name are to train on, always the same (``split_of``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from streamcolor.errors import InputError
from streamcolor.evaluation.protocols import decode
from streamcolor.film.shots import FrameReady, ShotFinder
from streamcolor.frame import Frame
from streamcolor.media.atomic import replaced, write_failure
from streamcolor.pipeline.painter import working_size
from streamcolor.train.ends import Bytes, resized
from streamcolor.train.exemplars import opened
from streamcolor.train.footage import CLIP_SUFFIXES, STILL_SUFFIXES
from streamcolor.train.pairs import konvid_pairs, read_manifest, split_of
from streamcolor.train.rows import Amounts
from streamcolor.train.semantic_pairs import read_picture, read_semantic_pairs, semantic_pairs

# Two parts of a still, of three quarters of its sides, make a pair: so much larger are stills kept.
_SPARE = 4 / 3
_PROBED = 128
# Pictures with a mean distance of the channels below this are grey.
_LEAST_SPREAD = 4.0
# Sides of frames are multiples of what the strictest model wants.
_SIDE = 16


@dataclass(frozen=True)
class Target:
    """A picture that is never trained on, and references for it; (size, size, 3) uint8 R'G'B'.

    related: the picture that resembles it most. independent: the one that resembles it least, or a palette.
    """

    name: str
    truth: Bytes
    related: Bytes
    independent: Bytes


@dataclass(frozen=True)
class Clip:
    """A film that is never trained on: frames of one shot, (h, w, 3) uint8 R'G'B' with the shorter side as given."""

    name: str
    frames: list[Bytes]


@dataclass(frozen=True)
class Counts:
    """What there is, in numbers."""

    stills: int
    clips: int
    held_stills: int
    held_clips: int
    skipped: int


def prepare(root: Path, output: Path, amounts: Amounts, size: int, seed: int = 0) -> Counts:
    """Make the folders above in ``output``, once.

    Raises InputError when ``root`` has nothing to train on and hold back, or was another when they were made;
    OutputError where nothing can be written.
    """
    names = _files(root, STILL_SUFFIXES)
    clips = _files(root, CLIP_SUFFIXES)
    if len(names) < 3 and len(clips) < 3:
        raise InputError(f"{root} holds fewer than three stills and three clips; there is nothing to compare on")
    wanted = {"amounts": amounts.model_dump(mode="json"), "size": size, "seed": seed, "files": [*names, *clips]}
    done = output / "data.json"
    if done.exists():
        made = json.loads(done.read_text(encoding="utf-8"))
        if made["of"] != wanted:
            raise InputError(f"{output} was made of other data, or for another size: name another --output")
        return Counts(**made["counts"])
    try:
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        trained, held, skipped = _stills(root, names, output, amounts, size, seed)
        trained_clips, held_back = _clips(root, clips, output, amounts, size)
        counts = Counts(trained, trained_clips, held, held_back, skipped)
        if not counts.stills + counts.clips or not counts.held_stills + counts.held_clips:
            raise InputError(f"{root} holds too few color pictures to train on some and hold others back")
        with replaced(done) as part:
            part.write_text(json.dumps({"of": wanted, "counts": asdict(counts)}), encoding="utf-8")
    except OSError as error:
        raise write_failure(error, output) from error
    return counts


def targets(output: Path, amounts: Amounts, size: int, seed: int = 0) -> list[Target]:
    """The stills that are scored, by name."""
    folder = output / "held"
    if not (folder / "pairs.csv").exists():
        return []
    references: dict[str, dict[str, Path]] = {}
    for pair in read_semantic_pairs(folder, folder / "stills"):
        references.setdefault(pair.target.name, {})[pair.kind] = pair.reference
    whole = sorted(name for name, kinds in references.items() if len(kinds) == 3)
    chosen = sorted(np.random.default_rng(seed).permutation(len(whole))[: amounts.targets].tolist())
    found = []
    for place, number in enumerate(chosen):
        kinds = references[whole[number]]
        # Half of what is independent is a picture, half a palette, as in the paper.
        independent = kinds["palette" if place % 2 else "farthest"]
        pictures = (folder / "stills" / whole[number], kinds["related"], independent)
        found.append(Target(whole[number], *(resized(read_picture(path), size) for path in pictures)))
    return found


def held_clips(root: Path, output: Path, amounts: Amounts, size: int) -> list[Clip]:
    """The clips that are scored: of each the first shot, as far as the largest distance reaches."""
    if not (output / "pairs" / "manifest.csv").exists():
        return []
    rows = [row for row in read_manifest(output / "pairs") if row["split"] == "validation"]
    found = []
    for row in rows[: amounts.held_clips]:
        frames = first_shot(root / row["video"], size, max(amounts.distances) + 1)
        if len(frames) > 1:
            found.append(Clip(row["id"], frames))
    return found


def first_shot(path: Path, size: int, most: int) -> list[Bytes]:
    """Frames of the first shot of a film, at most so many, small. Raises InputError for what does not decode."""
    finder, shot, waiting = ShotFinder(), list[Bytes](), dict[int, Bytes]()

    def take(ready: Sequence[FrameReady]) -> bool:
        for one in ready:
            if one.shot.number > 0 or one.blending is not None or len(shot) == most:
                return False
            shot.append(waiting.pop(one.frame.index))
        return True

    for number, (rgb, luma) in enumerate(decode(path)):
        height, width = working_size(luma.shape[0], luma.shape[1], size, _SIDE)
        waiting[number] = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        if not take(finder.push(Frame(luma, 8, number, number, Fraction(1, 25)))):
            return shot
    take(finder.flush())
    return shot


def _files(root: Path, suffixes: Sequence[str]) -> list[str]:
    found = (path for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in found)


def _stills(
    root: Path, names: Sequence[str], output: Path, amounts: Amounts, size: int, seed: int
) -> tuple[int, int, int]:
    """Small copies; how many are trained on, held back, and could not be read."""
    splits = split_of(names) if names else {}
    counts, skipped = {"train": 0, "validation": 0}, 0
    places = {"train": output / "train" / "stills", "validation": output / "held" / "stills"}
    most = {"train": amounts.stills, "validation": amounts.held_stills}
    for folder in (*places.values(), output / "probe"):
        folder.mkdir(parents=True)
    for number in np.random.default_rng(seed).permutation(len(names)).tolist():
        side = splits[names[number]]
        if counts[side] == most[side]:
            continue
        try:
            picture = opened(read_picture(root / names[number]), round(size * _SPARE))
        except (OSError, ValueError, SyntaxError):
            skipped += 1
            continue
        if np.ptp(picture[::4, ::4].astype(np.int16), -1).mean() < _LEAST_SPREAD:
            continue
        counts[side] += 1
        file = places[side] / f"{names[number].replace('/', '-')}.png"
        write_picture(picture, file)
        if side == "train" and counts[side] <= _PROBED:
            shutil.copyfile(file, output / "probe" / file.name)
    held = counts["validation"]
    if held > 1:
        semantic_pairs(places["validation"], output / "held", related=held, independent=2 * held, seed=seed)
    return counts["train"], held, skipped


def _clips(root: Path, names: Sequence[str], output: Path, amounts: Amounts, size: int) -> tuple[int, int]:
    """First and last frames of the clips that are trained on; how many those are, and how many are held back."""
    if not names:
        return 0, 0
    konvid_pairs(root, output / "pairs", size=size, workers=1)
    rows = read_manifest(output / "pairs")
    held = [row for row in rows if row["split"] == "validation"][: amounts.held_clips]
    trained = [row for row in rows if row["split"] == "train"][: amounts.clips]
    for row, place in (*((row, "train") for row in trained), *((row, "held") for row in held)):
        folder = output / place / "clips" / row["id"].replace("/", "-")
        folder.mkdir(parents=True)
        for end in ("first", "last"):
            shutil.copyfile(output / "pairs" / row[end], folder / f"{end}.png")
    return len(trained), len(held)


def write_picture(picture: Bytes, path: Path) -> None:
    """(h, w, 3) R'G'B' as PNG. Raises OutputError where it cannot be written."""
    from PIL import Image

    with replaced(path) as part:
        Image.fromarray(picture).save(part, "PNG")
