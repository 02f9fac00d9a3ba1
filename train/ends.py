"""First and last frames of videos and of their shots, R'G'B' at one size.

Decoded by decord where it is installed, which seeks fast in long files, else and whenever it fails by PyAV.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamcolor.errors import InputError
from streamcolor.film.shots import FrameReady, ShotFinder
from streamcolor.frame import Frame
from streamcolor.media.pyav import OPEN_OPTIONS

Bytes = NDArray[np.uint8]
Filter = Literal["bilinear", "bicubic"]

# Decoding for the last frame starts so long before the end (or at the key frame before that).
_TAIL_SECONDS = 2


@dataclass(frozen=True)
class Ends:
    """First and last decodable frame, (size, size, 3) uint8 R'G'B'.

    damaged: something before the last frame or after it did not decode. decoder: ``decord`` or ``pyav``.
    """

    first: Bytes
    last: Bytes
    damaged: bool
    decoder: str


def resized(rgb: Bytes, size: int, filtering: Filter = "bilinear") -> Bytes:
    """(H, W, 3) -> (size, size, 3): with antialiasing, the aspect is not kept."""
    from PIL import Image

    resample = Image.Resampling.BILINEAR if filtering == "bilinear" else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(rgb).resize((size, size), resample))


def first_and_last(path: Path, size: int = 256, filtering: Filter = "bilinear") -> Ends:
    """Ends of a video. Raises InputError when fewer than two frames decode."""
    ends = _by_decord(path, size, filtering)
    if ends is not None:
        return ends
    try:
        with av.open(str(path), **OPEN_OPTIONS) as container:
            return _by_pyav(container, path, size, filtering)
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error


def shot_ends(path: Path, size: int = 256, filtering: Filter = "bilinear") -> list[Ends]:
    """Ends of every shot of two frames or more, without the frames of dissolves. Raises InputError as above."""
    finder, shots = ShotFinder(), _Shots()
    try:
        with av.open(str(path), **OPEN_OPTIONS) as container:
            stream = _stream(container, path)
            for index, picture in enumerate(_pictures(container, stream, shots.errors)):
                shots.waiting[index] = _small(picture, size, filtering)
                luma = np.asarray(picture.to_ndarray(format="gray"), np.uint8)
                shots.take(finder.push(Frame(luma, 8, index, index, Fraction(1, 25))))
    except (av.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error
    shots.take(finder.flush())
    found = [Ends(shot[0], shot[-1], bool(shots.errors), "pyav") for shot in shots.found.values() if len(shot) > 1]
    if not found:
        raise InputError(f"{path} holds fewer than two pictures that decode")
    return found


class _Shots:
    """First and last picture of each shot by its number; ``waiting``: pictures whose shot is not known yet."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[Bytes, ...]] = {}
        self.waiting: dict[int, Bytes] = {}
        self.errors: list[Exception] = []

    def take(self, frames: list[FrameReady]) -> None:
        for ready in frames:
            picture = self.waiting.pop(ready.frame.index)
            if ready.blending is None:
                self.found[ready.shot.number] = (*self.found.get(ready.shot.number, ())[:1], picture)


def _by_pyav(container: InputContainer, path: Path, size: int, filtering: Filter) -> Ends:
    stream, errors = _stream(container, path), list[Exception]()
    first = next(_pictures(container, stream, errors), None)
    last = None
    if first is not None and container.duration is not None and container.duration > _TAIL_SECONDS * av.time_base:
        last = _tail(container, stream, errors)
    if last is None or first is None or last.pts == first.pts:
        container.seek(0)
        last = None
        for last in _pictures(container, stream, errors):
            first = first or last
    if first is None or last is None or last.pts == first.pts:
        raise InputError(f"{path} holds fewer than two pictures that decode")
    damaged = bool(errors) or first.is_corrupt or last.is_corrupt
    return Ends(_small(first, size, filtering), _small(last, size, filtering), damaged, "pyav")


def _tail(container: InputContainer, stream: VideoStream, errors: list[Exception]) -> VideoFrame | None:
    """The last picture, decoded from the last key frame that is 2 s before the end; None when nothing is there."""
    last, duration = deque[VideoFrame](), container.duration or 0
    try:
        container.seek((container.start_time or 0) + duration - _TAIL_SECONDS * av.time_base)
        last = deque(_pictures(container, stream, errors), 1)
    except av.FFmpegError as error:
        errors.append(error)
    return last[0] if last else None


def _small(picture: VideoFrame, size: int, filtering: Filter) -> Bytes:
    return resized(np.asarray(picture.to_ndarray(format="rgb24"), np.uint8), size, filtering)


def _pictures(container: InputContainer, stream: VideoStream, errors: list[Exception]) -> Iterator[VideoFrame]:
    """What decodes from here on; what does not is noted in ``errors``."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError as error:
                errors.append(error)
    except av.FFmpegError as error:
        errors.append(error)


def _stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise InputError(f"{path} holds no pictures")
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    return stream


def _by_decord(path: Path, size: int, filtering: Filter) -> Ends | None:
    """None without decord, or when it cannot read the video, as it cannot most damaged ones."""
    try:
        decord = import_module("decord")
    except (ImportError, OSError):
        return None
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        if len(reader) < 2:
            return None
        first, last = (resized(reader[number].asnumpy(), size, filtering) for number in (0, len(reader) - 1))
    except (decord.DECORDError, RuntimeError, IndexError):
        return None
    return Ends(first, last, False, "decord")


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
