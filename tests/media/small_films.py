"""The loops that most tests of this folder need: all of a film read, and a film written again."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import av
import numpy as np

from streamcolor.frame import Frame
from streamcolor.media import Packet, open_film, open_writer


class MakeFilm(Protocol):
    """The fixture ``make_film``: a moving test picture at 25 frames/s, written with ffmpeg's options."""

    def __call__(
        self, name: str, *options: str, size: str = "64x48", seconds: float = 0.4, sound: bool = False
    ) -> Path: ...


class Timed(NamedTuple):
    """A frame as the tests compare it: exact time and duration in seconds, luma."""

    time: Fraction
    duration: Fraction
    luma: Any


class Copied(NamedTuple):
    """A packet as the tests compare it: kind of stream, exact time in seconds, content."""

    kind: str
    time: Fraction
    content: bytes


class Contents(NamedTuple):
    frames: list[Timed]
    packets: list[Copied]


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True, stdin=subprocess.DEVNULL)


def raw_planes(path: Path, pixel_format: str) -> bytes:
    """All samples of a film as the ffmpeg program decodes them."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo"]
    return subprocess.run([*command, "-pix_fmt", pixel_format, "-"], check=True, capture_output=True).stdout


def contents(source: str | Path) -> Contents:
    frames: list[Timed] = []
    packets: list[Copied] = []
    with open_film(source) as reader:
        for item in reader:
            if isinstance(item, Packet):
                packet = item.packet
                time = (packet.pts or 0) * Fraction(packet.time_base)
                packets.append(Copied(item.stream.type, time, bytes(packet)))
            else:
                frames.append(Timed(item.pts * item.time_base, item.duration * item.time_base, item.luma.copy()))
    return Contents(frames, packets)


def neutral(shape: tuple[int, int], depth: int) -> Any:
    return np.full(shape, 1 << depth - 1, np.uint8 if depth == 8 else np.uint16)


def recode(source: str | Path, target: str | Path, **options: Any) -> Any:
    """Write a film again with neutral chroma; returns the writer."""
    with open_film(source) as reader:
        writer = open_writer(target, reader.info, source=reader, **options)
        chroma = neutral(writer.chroma_shape, writer.depth)
        for item in reader:
            if isinstance(item, Frame):
                writer.write(item, chroma, chroma)
            else:
                writer.copy(item)
        writer.finish()
    return writer


def write_timed(
    path: Path, times: list[int], time_base: Fraction, *, codec: str = "ffv1", pixel_format: str = "gray"
) -> None:
    """A film of noise whose frames have exactly these time stamps."""
    rng = np.random.default_rng(len(times))
    # MP4 and MOV hold the start of a film in units of the whole file, milliseconds by default.
    exact_start = {"movie_timescale": str(time_base.denominator)} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", container_options=exact_start) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format  # type: ignore[attr-defined]
        stream.time_base = stream.codec_context.time_base = time_base  # type: ignore[assignment]
        for time in times:
            picture = av.VideoFrame(64, 48, pixel_format)
            for plane in picture.planes:
                plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
            picture.pts, picture.time_base = time, time_base
            container.mux(stream.encode(picture))  # type: ignore[attr-defined]
        container.mux(stream.encode(None))  # type: ignore[attr-defined]
