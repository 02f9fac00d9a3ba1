"""How fast a program between two pipes is, and how long it holds a frame: numbered pictures go in and come out."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.errors import DeviceError
from streamcolor.media.luma import frame_luma, plane_view
from streamcolor.media.pipes import BUFFER_BYTES, OutputPipe

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_SCENES = 8
_NUMBER_BYTES = 4
# Part of the throughput at which a program that is slower than the film is fed to measure its delay.
_EASY = 0.7
_PATIENCE = 120.0


@dataclass(frozen=True)
class PipeSpeed:
    """What was measured. pace: frames per second at which the delays (milliseconds) were taken."""

    name: str
    frames_per_second: float
    pace: float
    delay_median: float
    delay_p95: float


@dataclass(frozen=True)
class Feed:
    """The film of a measurement: width and height, frames per second, most frames and most seconds to feed."""

    width: int
    height: int
    rate: Fraction
    frames: int
    seconds: float

    def luma(self, number: int) -> NDArray[np.uint8]:
        """Picture ``number``: grain on a moving texture, as film has it; limited range."""
        rng = np.random.default_rng(number)
        coarse = np.random.default_rng(0).random((12, 20), np.float32)
        field = np.roll(cv2.resize(coarse, (self.width, self.height), interpolation=cv2.INTER_CUBIC), 4 * number, 1)
        grain = rng.normal(0, 0.02, (self.height, self.width)).astype(np.float32)
        return np.asarray(np.clip(16 + 219 * (field + grain), 16, 235), np.uint8)


def measure(name: str, command: Sequence[str], feed: Feed) -> PipeSpeed:
    """Run ``command`` twice: fed as fast as it takes frames, then at the pace of the film (slower if it cannot follow).

    The first half of the frames is not counted: programs look into the stream before they start. Raises DeviceError
    when nothing comes out.
    """
    arrived = _arrivals(command, feed, None)
    counted = arrived[len(arrived) // 2 :]
    elapsed = counted[-1][2] - counted[0][2]
    throughput = (len(counted) - 1) / elapsed if elapsed else 0.0
    pace = min(float(feed.rate), _EASY * throughput)
    paced = _arrivals(command, feed, pace)
    delays = [1000 * (there - sent) for _, sent, there in paced[len(paced) // 2 :]]
    p95 = statistics.quantiles(delays, n=20)[-1] if len(delays) > 1 else delays[0]
    return PipeSpeed(name, throughput, pace, statistics.median(delays), p95)


def _arrivals(command: Sequence[str], feed: Feed, pace: float | None) -> list[tuple[int, float, float]]:
    """(number, time when it was sent, time when it was there) of frames that came through."""
    sent: dict[int, float] = {}
    there: list[tuple[int, float, float]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        said: list[bytes] = []
        errors = process.stderr
        writer = threading.Thread(target=_write, args=(process.stdin, feed, pace, sent), daemon=True)
        listener = threading.Thread(target=lambda: said.append(errors.read()), daemon=True)
        for thread in (writer, listener):
            thread.start()
        with contextlib.suppress(av.error.FFmpegError):
            for number in _read(process.stdout.fileno()):
                there.append((number, sent[number], time.monotonic()))
        process.stdout.close()
        for thread in (writer, listener):
            thread.join(_PATIENCE)
    if len(there) < 2:
        words = b"".join(said).decode(errors="replace").strip().splitlines()
        raise DeviceError(f"{' '.join(command)} let no pictures through: {words[-1] if words else 'it said nothing'}")
    return there


def _write(pipe: IO[bytes], feed: Feed, pace: float | None, sent: dict[int, float]) -> None:
    scenes = [feed.luma(number) for number in range(_SCENES)]
    started = time.monotonic()
    with contextlib.suppress(OSError, av.error.FFmpegError):
        container = av.open(
            OutputPipe(pipe.fileno()), "w", format="nut", buffer_size=BUFFER_BYTES, options={"flush_packets": "1"}
        )
        stream: VideoStream = container.add_stream("rawvideo", rate=feed.rate)
        stream.width, stream.height, stream.pix_fmt = feed.width, feed.height, "yuv420p"
        for number in range(feed.frames):
            now = time.monotonic() - started
            if now > feed.seconds and number > _SCENES:
                break
            picture = _numbered(scenes[number % _SCENES], number)
            if pace is not None and (wait := number / pace - (time.monotonic() - started)) > 0:
                time.sleep(wait)
            sent[number] = time.monotonic()
            container.mux(stream.encode(picture))
        container.close()
    with contextlib.suppress(OSError):
        pipe.close()


def _numbered(luma: NDArray[np.uint8], number: int) -> VideoFrame:
    height, width = luma.shape
    picture = av.VideoFrame(width, height, "yuv420p")
    values = plane_view(picture, 0, 8)
    np.copyto(values, luma)
    values[0, :_NUMBER_BYTES] = np.frombuffer(number.to_bytes(_NUMBER_BYTES, "big"), np.uint8)
    for plane in (1, 2):
        plane_view(picture, plane, 8)[:] = 128
    picture.pts = number
    return picture


def _read(descriptor: int) -> Iterator[int]:
    with av.open(f"pipe:{descriptor}") as container:
        for frame in container.decode(video=0):
            yield int.from_bytes(frame_luma(frame)[0, :_NUMBER_BYTES].tobytes(), "big")


def write_key(path: Path, feed: Feed) -> Path:
    """A picture in color of the film's first frame, for models to follow: warm above, cold below."""
    grey = feed.luma(0).astype(np.float32)
    warmth = np.linspace(30, -30, feed.height, dtype=np.float32)[:, None]
    cv2.imwrite(str(path), np.clip(np.stack((grey - warmth, grey, grey + warmth), -1), 0, 255).astype(np.uint8))
    return path
