"""Pairs of a reference and a target from a folder of videos: first and last frame, 256 x 256, as PNG.

Bansal, "Stable Image Colorization via Reference Image Cross-Attention", section 4.1.2: 2,776 videos of KoNViD-1k and
KoNViD-150k-B; any folder of videos will do. What is written:

    OUT/pairs/ID/first.png, last.png    ID is the path of the video without its suffix
    OUT/manifest.csv                    a line per pair: split, checksums (SHA-256), what was damaged
    OUT/skipped.csv                     videos without a pair, and why
    OUT/journal.jsonl                   what is done; a run that is stopped goes on from here
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from streamcolor.errors import InputError
from streamcolor.media.atomic import replaced, write_failure
from streamcolor.train.ends import first_and_last
from streamcolor.train.footage import CLIP_SUFFIXES

log = logging.getLogger(__name__)

Split = Literal["train", "validation"]
SIZE = 256


@dataclass(frozen=True)
class Video:
    """A line of the journal. ``video``: path below the folder of videos; error: why it has no pair, or None."""

    id: str
    video: str
    bytes: int
    size: int
    sha256: str = ""
    first_sha256: str = ""
    last_sha256: str = ""
    damaged: bool = False
    decoder: str = ""
    error: str | None = None


@dataclass(frozen=True)
class Result:
    """Numbers of pairs, and the videos that gave none with the reasons."""

    train: int
    validation: int
    done_before: int
    damaged: list[str]
    skipped: list[tuple[str, str]]


def split_of(ids: Iterable[str], seed: int = 0) -> dict[str, Split]:
    """80 % to train on, by video: sorted ids in the order of a seeded permutation, the first floor(0.8 n).

    Below 100 ids max(1, floor(n / 5)) are validated on, and none of a single one.
    """
    names = sorted(ids)
    count = len(names)
    kept = count - count * 4 // 5 if count >= 100 else min(max(1, count // 5), count - 1)
    order = np.random.default_rng(seed).permutation(count)
    return {names[i]: "train" if place < count - kept else "validation" for place, i in enumerate(order)}


def konvid_pairs(
    videos: Path,
    output: Path,
    *,
    size: int = SIZE,
    workers: int = 0,
    on_video: Callable[[int, int], None] | None = None,
) -> Result:
    """Write the pairs of all videos below a folder; those that are there already stay.

    workers: videos that are read at a time, 0 for as many as there are processors. on_video: told how many of how
    many are done. Raises InputError for a folder without videos or without one that can be used, OutputError where
    nothing can be written.
    """
    found = _named(videos)
    if not found:
        raise InputError(f"{videos} holds no videos ({', '.join(CLIP_SUFFIXES)})")
    try:
        output.mkdir(parents=True, exist_ok=True)
        journal = output / "journal.jsonl"
        done = {line.id: line for line in _read(journal) if _still_there(line, found, videos, output, size)}
        before = len(done)
        if on_video is not None:
            on_video(before, len(found))
        with journal.open("a", encoding="utf-8") as file, ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            # A line that was broken off must not take the next one with it.
            file.write("\n" if journal.stat().st_size else "")
            waiting = [
                pool.submit(_extract, id, videos, path, output, size) for id, path in found.items() if id not in done
            ]
            try:
                for number, future in enumerate(as_completed(waiting), before + 1):
                    line = future.result()
                    done[line.id] = line
                    _append(file, line)
                    if on_video is not None:
                        on_video(number, len(found))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return _finish(output, done, before)
    except OSError as error:
        raise write_failure(error, output) from error


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """Lines of a manifest: id, split, video, sha256, first, first_sha256, last, last_sha256, damaged, decoder."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _named(videos: Path) -> dict[str, Path]:
    """Videos by id; two that differ in their suffix alone keep it."""
    paths = sorted(p for p in videos.rglob("*") if p.suffix.lower() in CLIP_SUFFIXES and p.is_file())
    names = [path.relative_to(videos) for path in paths]
    stems = [name.with_suffix("").as_posix() for name in names]
    return {
        stem if stems.count(stem) == 1 else name.as_posix().replace(".", "-"): path
        for stem, name, path in zip(stems, names, paths, strict=True)
    }


def _extract(id: str, videos: Path, path: Path, output: Path, size: int) -> Video:
    from PIL import Image

    line: dict[str, Any] = {"id": id, "video": path.relative_to(videos).as_posix()}
    line |= {"bytes": path.stat().st_size, "size": size}
    try:
        ends = first_and_last(path, size)
    except InputError as error:
        return Video(**line, error=str(error))
    folder = output / "pairs" / id
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("first", ends.first), ("last", ends.last)):
        with replaced(folder / f"{name}.png") as part:
            Image.fromarray(picture).save(part, "PNG")
        line[f"{name}_sha256"] = _checksum(folder / f"{name}.png")
    return Video(**line, sha256=_checksum(path), damaged=ends.damaged, decoder=ends.decoder)


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _append(file: TextIO, line: Video) -> None:
    file.write(json.dumps(asdict(line)) + "\n")
    file.flush()


def _read(journal: Path) -> list[Video]:
    """Lines of an earlier run; the last one may have been broken off."""
    lines = []
    if journal.exists():
        for text in filter(None, journal.read_text(encoding="utf-8").splitlines()):
            try:
                lines.append(Video(**json.loads(text)))
            except (ValueError, TypeError):
                log.info("left out a broken line of %s", journal)
    return lines


def _still_there(line: Video, found: Mapping[str, Path], videos: Path, output: Path, size: int) -> bool:
    """The pair is what it was, of the same video at the same size. Videos without a pair are tried again."""
    if line.error is not None or line.size != size or line.id not in found:
        return False
    path, folder = found[line.id], output / "pairs" / line.id
    if path.relative_to(videos).as_posix() != line.video or path.stat().st_size != line.bytes:
        return False
    pictures = {folder / "first.png": line.first_sha256, folder / "last.png": line.last_sha256}
    return all(path.exists() and _checksum(path) == checksum for path, checksum in pictures.items())


def _finish(output: Path, done: Mapping[str, Video], before: int) -> Result:
    usable = sorted((line for line in done.values() if line.error is None), key=lambda line: line.id)
    broken = sorted((line.video, str(line.error)) for line in done.values() if line.error is not None)
    _table(output / "skipped.csv", ("video", "reason"), broken)
    if not usable:
        raise InputError(f"none of the {len(done)} videos could be read; {output / 'skipped.csv'} says why")
    splits = split_of(line.id for line in usable)
    columns = ("id", "split", "video", "sha256", "first", "first_sha256", "last", "last_sha256", "damaged", "decoder")
    rows = []
    for line in usable:
        first, last = (f"pairs/{line.id}/{name}.png" for name in ("first", "last"))
        ends = (first, line.first_sha256, last, line.last_sha256)
        rows.append((line.id, splits[line.id], line.video, line.sha256, *ends, int(line.damaged), line.decoder))
    _table(output / "manifest.csv", columns, rows)
    train = list(splits.values()).count("train")
    damaged = [line.video for line in usable if line.damaged]
    return Result(train, len(usable) - train, before, damaged, broken)


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with replaced(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
