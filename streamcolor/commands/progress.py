"""How a run is shown: a bar on a terminal, lines elsewhere, ffmpeg's blocks for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamcolor.errors import OutputError
from streamcolor.pipeline.run import Progress as State
from streamcolor.pipeline.run import RunReport

SECONDS_BETWEEN_LINES = 10.0


class ProgressLine:
    """One bar on a terminal; on anything else a plain line every ten seconds; nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._last = time.monotonic()

    def __enter__(self) -> ProgressLine:
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=None, note="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, now: State) -> None:
        if self._quiet:
            return
        speed = now.frames / max(now.seconds, 1e-6)
        note = f"{speed:.1f} frames/s  shot {now.shot + 1}  confidence {now.confidence:.2f}"
        if self._bar is not None:
            self._bar.update(self._task, completed=now.frames, total=now.total, note=note)
        elif time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            total = f" of {now.total}" if now.total else ""
            sys.stderr.write(f"{now.frames}{total} frames  {note}\n")


class ProgressBlocks:
    """ffmpeg's ``-progress``: key=value lines about once a second, ended by ``progress=continue`` or ``end``."""

    def __init__(self, target: str | None) -> None:
        self._target = target
        self._file: IO[str] | None = None
        self._last = 0.0
        self._now: State | None = None

    def __enter__(self) -> ProgressBlocks:
        if self._target == "pipe:1":
            self._file = sys.stdout
        elif self._target == "pipe:2":
            self._file = sys.stderr
        elif self._target is not None:
            try:
                self._file = open(self._target, "w", encoding="utf-8")  # noqa: PTH123
            except OSError as error:
                raise OutputError(f"the progress file {self._target} cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is None:
            return
        if self._now is not None:
            self._block(self._now, "end")
        if self._file not in (sys.stdout, sys.stderr):
            self._file.close()

    def write(self, now: State) -> None:
        self._now = now
        if self._file is not None and time.monotonic() - self._last >= 1.0:
            self._last = time.monotonic()
            self._block(now, "continue")

    def _block(self, now: State, word: str) -> None:
        assert self._file is not None
        microseconds = round(now.pts_seconds * 1e6)
        hours, rest = divmod(max(microseconds, 0), 3_600_000_000)
        minutes, rest = divmod(rest, 60_000_000)
        lines = {
            "frame": now.frames,
            "fps": f"{now.frames / max(now.seconds, 1e-6):.2f}",
            "out_time_us": microseconds,
            "out_time": f"{hours:02d}:{minutes:02d}:{rest / 1e6:09.6f}",
            "dup_frames": 0,
            "drop_frames": 0,
            "speed": f"{now.pts_seconds / max(now.seconds, 1e-6):.3g}x",
            "progress": word,
        }
        self._file.write("".join(f"{key}={value}\n" for key, value in lines.items()))
        self._file.flush()


def summary(report: RunReport, *, guided: bool) -> Iterator[str]:
    """What a person wants to know at the end of a run, a sentence a line."""
    speed = report.frames / max(report.seconds, 1e-6)
    yield f"{report.output}: {report.frames} frames, {len(report.shots)} shots, {speed:.1f} frames/s"
    for shot in report.shots:
        names = ", ".join(name if score is None else f"{name} (match {score:.2f})" for name, score in shot.references)
        guide = names or (
            "no reference fits: its colors are guessed" if guided else "no reference: its colors are guessed"
        )
        frames = f"frames {shot.start}-{shot.stop - 1}"
        yield f"  shot {shot.number + 1}, {frames}: {guide}; confidence {shot.confidence:.2f}"
    for name in report.unused_references:
        yield f"{name} resembles no shot and was not used; name its frame with {name}@FRAME"
    yield from report.notices
    if report.suggestions:
        frames = ", ".join(str(frame) for frame in report.suggestions)
        if guided:
            yield f"a painted frame would help most at {frames}"
        else:
            yield f"for its real colors paint frame {frames} and run again with --ref PICTURE@{report.suggestions[0]}"
