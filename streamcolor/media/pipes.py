"""Streams that cannot seek: what standard output can be, and headers that libavformat leaves without sample aspect."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from streamcolor.media import matroska, nut

if sys.platform == "linux":
    import fcntl

# A frame goes to the pipe in few pieces, because each takes the interpreter lock.
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PipeFormat:
    """What ``format=`` of the filter names: a container, by the suffix of its files, and a codec."""

    suffix: str
    codec: str


PIPE_FORMATS = {
    "nut": PipeFormat(".nut", "rawvideo"),
    "mkv": PipeFormat(".mkv", "rawvideo"),
    "ffv1": PipeFormat(".mkv", "ffv1"),
    "y4m": PipeFormat(".y4m", "rawvideo"),
}


@dataclass(frozen=True, slots=True)
class PipeTarget:
    """Where a stream goes: a format and an open file descriptor."""

    format: PipeFormat
    descriptor: int = 1


STANDARD_OUTPUT = PipeTarget(PIPE_FORMATS["nut"])


class OutputPipe:
    """A file descriptor as PyAV writes to it: no seeking; every piece goes out before ``write`` returns.

    patch: changes a piece on its way, or None. As fast as libavformat's own ``pipe:`` (1,100 frames/s of 720p).
    Raises BrokenPipeError, through PyAV, when the reader has gone away.
    """

    def __init__(self, descriptor: int, patch: Callable[[bytes], bytes] | None = None) -> None:
        widen(descriptor)
        self._descriptor = descriptor
        self._patch = patch

    def write(self, data: bytes) -> int:
        rest = memoryview(data if self._patch is None else self._patch(bytes(data)))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        return len(data)


def widen(descriptor: int) -> None:
    """Let a pipe hold most of a frame, so that both its ends need not take turns many times a frame (Linux)."""
    if sys.platform == "linux":
        # Not a pipe, or more than this user may have: it works as it is.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, BUFFER_BYTES)


def header_patch(muxer: str, aspect: Fraction | None, path: Path) -> Callable[[bytes], bytes] | None:
    """What ``OutputPipe`` must do for pictures with this sample aspect in FFmpeg's ``muxer``; None for nothing.

    path: for messages. A Matroska stream must have a title with ``matroska.NAME_PADDING``.
    """
    if aspect is None or aspect == 1:
        return None
    if muxer == "nut":
        return lambda data: nut.with_sample_aspect(data, aspect)
    if muxer == "yuv4mpegpipe":
        return _First(lambda data: _y4m_with_sample_aspect(data, aspect))
    if muxer == "matroska":
        return _First(lambda data: matroska.with_sample_aspect(data, aspect, path))
    return None


class _First:
    """Changes the first piece of a stream only: libavformat hands the header over in one."""

    def __init__(self, patch: Callable[[bytes], bytes]) -> None:
        self._patch: Callable[[bytes], bytes] | None = patch

    def __call__(self, data: bytes) -> bytes:
        patch, self._patch = self._patch, None
        return data if patch is None else patch(data)


def _y4m_with_sample_aspect(data: bytes, aspect: Fraction) -> bytes:
    """The stream header of YUV4MPEG2 (yuv4mpeg(5)) is a line of parameters; A is the sample aspect."""
    header, end, rest = data.partition(b"\n")
    told = f"A{aspect.numerator}:{aspect.denominator}".encode()
    words = [told if word[:1] == b"A" else word for word in header.split(b" ")]
    return b" ".join(words) + end + rest


def raw_video_tag(subsampling: str, depth: int) -> str:
    """FourCC by which FFmpeg knows planar Y'CbCr again where only a FourCC is kept (libavcodec/raw.c)."""
    if depth == 8:
        return {"420": "I420", "422": "Y42B", "444": "444P"}[subsampling]
    return f"Y3{chr({'420': 11, '422': 10, '444': 0}[subsampling])}{chr(depth)}"
