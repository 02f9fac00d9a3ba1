"""The one place where the stages of a run are joined: decode, color, encode."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from streamcolor.errors import Interrupted
from streamcolor.media.described import Described, taken_for
from streamcolor.media.pipes import STANDARD_OUTPUT, PipeTarget
from streamcolor.media.reader import open_film
from streamcolor.media.sequence import NUMBER, is_pattern
from streamcolor.media.streams import Packet
from streamcolor.media.writer import open_writer
from streamcolor.pipeline.chain import Coloring, paint_through
from streamcolor.pipeline.layout import Layout, colorizers_of, needs_pictures, read_steps
from streamcolor.pipeline.node import Node
from streamcolor.pipeline.painter import Painted, Planes, ShotReport
from streamcolor.pipeline.stages import flow_through

# Items between two stages: enough to keep all of them busy, and few where every one is a delay.
_QUEUE, _LIVE_QUEUE = 8, 2
# Parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class RunOptions:
    """A run as the user asked for it; ``streamcolor run --help`` explains those that are not named here.

    film: a file, an image sequence (``shot.%06d.png``) or ``-`` for stdin.
    references: files, ``FILE@FRAME``, ``FILE@TIMECODE`` or folders.
    output: default is the film's name with ``.color`` before its suffix.
    size: working short side in pixels; default is the model's own.
    depth: bits of the encoded film; default is the film's own.
    rate: frames per second of an image sequence.
    precision: see ``colorizers.registry.create``.
    stabilize: average colors along the motion, in the model (see there) or behind it (``averaging``).
    lookahead: frames that are held to see cuts and dissolves coming.
    cuts: frame numbers where shots start; default is to find them.
    cap: bytes that the reference cache may hold.
    sat: factor on the colors' a* and b*.
    mix: share of the new color; the rest is the chroma that the film came with.
    enable: expression of FFmpeg's time line; where it does not hold, pictures keep the chroma they came with.
    vf: FFmpeg's filters with ``streamcolor`` among them, as ``-vf`` of ffmpeg has them.
    described: what the user says of the film because its container cannot.
    pipe: where ``-`` as output goes, and in which format.
    live: no frame waits longer than it must; one that breaks off at the end is left out.
    """

    film: str | Path
    references: Sequence[str | Path] = ()
    output: str | Path | None = None
    model: str = "propagator"
    weights: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    stabilize: bool = True
    size: int | None = None
    fit: str = "refuse"
    codec: str | None = None
    depth: int | None = None
    crf: int | None = None
    preset: str | None = None
    rate: Fraction | None = None
    lookahead: int = 24
    cuts: Sequence[int] | None = None
    cap: int | None = None
    threads: int = 0
    overwrite: bool = False
    sat: float = 1.0
    mix: float = 1.0
    enable: str | None = None
    vf: str | None = None
    described: Described | None = None
    pipe: PipeTarget = STANDARD_OUTPUT
    live: bool = False

    def node(self) -> Node:
        """The one place that colors, where ``vf`` does not name others."""
        values: dict[str, Any] = {name.name: getattr(self, name.name) for name in fields(Node)}
        values["references"] = tuple(str(reference) for reference in self.references)
        values["cuts"] = None if self.cuts is None else tuple(self.cuts)
        return Node(**values)


@dataclass(frozen=True)
class Progress:
    """Where a run stands, after every frame. total: frames of the film, or None when nobody knows."""

    frames: int
    total: int | None
    seconds: float
    pts_seconds: float
    shot: int
    confidence: float


@dataclass(frozen=True)
class RunReport:
    """What came of a run. ``suggestions``: frames that a new reference would help most, worst first."""

    output: str
    frames: int
    seconds: float
    damaged: int
    shots: list[ShotReport]
    suggestions: list[int]
    unused_references: list[str]
    notices: list[str] = field(default_factory=list)


def default_output(film: str | Path) -> str:
    """``film.mp4`` -> ``film.color.mp4``; a container that is not written becomes Matroska; ``-`` stays."""
    if str(film) == "-":
        return "-"
    path = Path(film)
    if is_pattern(path):
        return str(path.with_name(NUMBER.sub(r"color.\g<0>", path.name, count=1)))
    suffix = path.suffix if path.suffix.lower() in {".mp4", ".m4v", ".mov", ".mkv"} else ".mkv"
    return str(path.with_name(f"{path.stem}.color{suffix}"))


def run(
    options: RunOptions,
    progress: Callable[[Progress], None] | None = None,
    notify: Callable[[Sequence[str]], None] | None = None,
) -> RunReport:
    """Color a film. Raises the StreamcolorError that fits; nothing half-written is left behind.

    ``progress`` is called after every frame, from the encoding thread; ``notify`` once before the first frame, with
    the sentences that are known by then.
    """
    started = time.monotonic()
    steps = read_steps(options.vf, options.node())
    prepare_torch(options.threads)
    colorizers = colorizers_of(steps)
    output = str(options.output) if options.output is not None else default_output(options.film)
    with open_film(
        options.film,
        rate=options.rate,
        threads=options.threads,
        described=options.described,
        live=options.live,
        pictured=needs_pictures(steps),
    ) as reader:
        layout = Layout(steps, reader)
        writer = open_writer(
            output,
            layout.film,
            source=reader,
            codec=options.codec,
            depth=options.depth,
            crf=options.crf,
            preset=options.preset,
            overwrite=options.overwrite,
            threads=options.threads,
            pipe=options.pipe,
        )
        done = 0

        def write(item: Painted | Packet) -> None:
            nonlocal done
            if isinstance(item, Packet):
                writer.copy(item)
                return
            writer.write(item.frame, *item.planes)
            done += 1
            if progress is not None:
                seconds = time.monotonic() - started
                progress(Progress(done, layout.film.frames, seconds, item.frame.seconds, item.shot, item.confidence))

        try:
            told = None if options.described is None else taken_for(reader.info, options.described, reader.container)
            notices = [*([told] if told else []), *([writer.notice] if writer.notice else []), *writer.left_out]
            if notify is not None:
                notify(notices)
            planes = Planes(writer.chroma_shape, writer.depth)
            stages = layout.stages(colorizers, planes)
            length = _LIVE_QUEUE if options.live else _QUEUE
            flow_through(layout.items, lambda items: paint_through(stages, items, planes), write, length=length)
            written = writer.finish()
        except KeyboardInterrupt:
            writer.abort()
            raise Interrupted(_stopped(done, output)) from None
        except BaseException:
            writer.abort()
            raise
    colorings = [stage for stage in stages if isinstance(stage, Coloring)]
    shots = colorings[0].shots
    return RunReport(
        output=str(written),
        frames=done,
        seconds=time.monotonic() - started,
        damaged=reader.damaged,
        shots=shots,
        suggestions=suggest(shots),
        unused_references=[picture.name for coloring in colorings for picture in coloring.unused()],
        notices=[
            *notices,
            *reader.losses,
            *(sentence for coloring in colorings for sentence in coloring.beyond_the_end()),
            *([f"{writer.respaced} frames were not one frame apart, and now are"] if writer.respaced else []),
        ],
    )


def _stopped(done: int, output: str) -> str:
    if output == "-":
        return f"stopped after {done} frames"
    return f"stopped after {done} frames and left nothing behind; the same command starts again"


def suggest(shots: Sequence[ShotReport], most: int = 5) -> list[int]:
    """The weakest frame of the shots that are least sure of their colors, counted by length, worst first."""
    gains = [((1 - shot.confidence) * (shot.stop - shot.start), shot.weakest) for shot in shots]
    return [frame for _, frame in sorted(gains, key=lambda gain: -gain[0])[:most]]


def prepare_torch(threads: int) -> None:
    """Settings of this process under which frames are colored. threads: 0 for as many as there are processors."""
    import cv2
    import torch

    # One processor is left to decoding and encoding: threads that wait for each other would spin on it.
    count = threads or max((os.cpu_count() or 2) - 1, 1)
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    torch.set_flush_denormal(True)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks: it gives them back and fetches them anew, page by page, several times a frame.

    That is half the time of a read of the references. Other C libraries have no ``mallopt`` and need none.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    mallopt(_M_TRIM_THRESHOLD, 256 << 20)
