"""The one place where the stages of a run are joined: decode, color, encode."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from streamcolor.colorizers.registry import choose_device, create
from streamcolor.errors import Interrupted
from streamcolor.film.references import ReferencePlanner, load_references
from streamcolor.film.shots import ShotFinder
from streamcolor.media.reader import open_film
from streamcolor.media.streams import Packet
from streamcolor.media.writer import open_writer
from streamcolor.pipeline.painter import Painted, Painter, Planes, ShotReport
from streamcolor.pipeline.stages import flow_through


@dataclass(frozen=True)
class RunOptions:
    """A run as the user asked for it; every field is an option of ``streamcolor run``.

    film: a file, an image sequence (``shot.%06d.png``) or ``-`` for stdin.
    references: files, ``FILE@FRAME``, ``FILE@TIMECODE`` or folders.
    output: default is the film's name with ``.color`` before its suffix.
    size: working short side in pixels; default is the model's own.
    depth: bits of the encoded film; default is the film's own.
    rate: frames per second of an image sequence.
    lookahead: frames that are held to see cuts and dissolves coming.
    cuts: frame numbers where shots start; default is to find them.
    cap: bytes that the reference cache may hold.
    """

    film: str | Path
    references: Sequence[str | Path] = ()
    output: str | Path | None = None
    model: str = "propagator"
    weights: Path | None = None
    device: str = "auto"
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
    if "%" in path.name:
        head, _, rest = path.name.partition("%")
        return str(path.with_name(f"{head}color.%{rest}"))
    suffix = path.suffix if path.suffix.lower() in {".mp4", ".m4v", ".mov", ".mkv"} else ".mkv"
    return str(path.with_name(f"{path.stem}.color{suffix}"))


def run(options: RunOptions, progress: Callable[[Progress], None] | None = None) -> RunReport:
    """Color a film. Raises the StreamcolorError that fits; nothing half-written is left behind.

    ``progress`` is called after every frame, from the encoding thread.
    """
    started = time.monotonic()
    device = choose_device(options.device)
    _prepare_torch(options.threads)
    colorizer = create(options.model, weights=options.weights, device=device)
    output = str(options.output) if options.output is not None else default_output(options.film)
    with open_film(options.film, rate=options.rate, threads=options.threads) as reader:
        film = reader.info
        references = load_references(
            [str(r) for r in options.references],
            rate=film.rate,
            width=film.width,
            height=film.height,
            sample_aspect=film.sample_aspect,
            fit=options.fit,
        )
        writer = open_writer(
            output,
            film,
            source=reader,
            codec=options.codec,
            depth=options.depth,
            crf=options.crf,
            preset=options.preset,
            overwrite=options.overwrite,
            threads=options.threads,
        )
        finder = ShotFinder(lookahead=options.lookahead, cuts=options.cuts)
        planner = ReferencePlanner(references)
        planes = Planes(writer.chroma_shape, writer.depth)
        painter = Painter(film, planes, colorizer, finder, planner, size=options.size, cap=options.cap)
        done = 0

        def write(item: Painted | Packet) -> None:
            nonlocal done
            if isinstance(item, Packet):
                writer.copy(item)
                return
            writer.write(item.frame, item.cb, item.cr)
            done += 1
            if progress is not None:
                seconds = time.monotonic() - started
                progress(Progress(done, film.frames, seconds, item.frame.seconds, item.shot, item.confidence))

        try:
            flow_through(reader, painter.paint, write)
            written = writer.finish()
        except KeyboardInterrupt:
            writer.abort()
            raise Interrupted(
                f"stopped after {done} frames and left nothing behind; the same command starts again"
            ) from None
        except BaseException:
            writer.abort()
            raise
    return RunReport(
        output=str(written),
        frames=done,
        seconds=time.monotonic() - started,
        damaged=reader.damaged,
        shots=painter.shots,
        suggestions=suggest(painter.shots),
        unused_references=[picture.name for picture in planner.unused()],
        notices=[
            *([writer.notice] if writer.notice else []),
            *writer.left_out,
            *(
                f"{picture.name} is named for frame {picture.frame}, but the film ends at {done - 1}"
                for picture in references
                if picture.frame is not None and picture.frame >= done
            ),
        ],
    )


def suggest(shots: Sequence[ShotReport], most: int = 5) -> list[int]:
    """The weakest frame of the shots that are least sure of their colors, counted by length, worst first."""
    gains = [((1 - shot.confidence) * (shot.stop - shot.start), shot.weakest) for shot in shots]
    return [frame for _, frame in sorted(gains, key=lambda gain: -gain[0])[:most]]


def _prepare_torch(threads: int) -> None:
    import torch

    # One processor is left to decoding and encoding: threads of torch that wait for each other would spin on it.
    torch.set_num_threads(threads or max((os.cpu_count() or 2) - 1, 1))
    torch.set_flush_denormal(True)
