"""``streamcolor filter``: color a film on its way from standard input to standard output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from streamcolor.commands.options import Quiet, Verbose
from streamcolor.errors import CallError, OutputError

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_EXAMPLE = (
    "ffmpeg -i FILM -map 0 -c copy -c:v rawvideo -f nut - | streamcolor filter ref=KEY.png | ffmpeg -f nut -i - OUT"
)


def command(
    options: Annotated[
        str, typer.Argument(metavar="KEY=VALUE:...", help="Written as filters of ffmpeg are; see above.")
    ] = "",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Color a film between two ffmpegs: stdin to stdout, options as ffmpeg's filters have them.

    ffmpeg -i FILM -map 0 -c copy -c:v rawvideo -f nut - | streamcolor filter ref=KEY.png | ffmpeg -f nut -i - OUT

    As options of run: ref (FILE, FILE@FRAME, FILE@TIMECODE or a FOLDER; may come again), model (none: pictures pass as
    they came), weights, device, precision, size, fit, sat, mix, enable, cut, cache_mb, depth, threads. latency=6:
    frames held to see cuts coming (lookahead of run), and four more to steady colors (not with stabilize=0).
    format=nut, mkv, ffv1 or y4m: of the output. What the container of stdin cannot say: matrix, range, primaries,
    transfer, field (progressive, tff, bff), sar. A ':' in a value is put in quotes or behind a backslash.
    """
    from streamcolor.pipeline.filter import filter_options
    from streamcolor.pipeline.node import NO_MODEL
    from streamcolor.pipeline.run import run

    asked = filter_options(options)
    if sys.stdout is None:
        raise OutputError(f"standard output is closed; pipe it on: {_EXAMPLE}")
    for descriptor, name, way in ((_STDIN, "input", "pipe a film in"), (_STDOUT, "output", "pipe it on")):
        if os.isatty(descriptor):
            raise CallError(f"standard {name} is a terminal; {way}: {_EXAMPLE}")

    def warn(sentences: Sequence[str]) -> None:
        if sentences and not quiet:
            typer.echo(f"streamcolor: {'; '.join(sentences)}", err=True)

    with _media_only() as descriptor:
        said: list[str] = []

        def notify(sentences: Sequence[str]) -> None:
            said.extend(sentences)
            warn(sentences)

        report = run(filter_options(options, descriptor), notify=notify)
    speed = report.frames / max(report.seconds, 1e-6)
    lost = f", {report.damaged} broken or cut off" if report.damaged else ""
    later = report.notices[len(said) :]
    idle = [name for name in report.unused_references if not any(sentence.startswith(name) for sentence in later)]
    unused = [f"{name} resembles no shot and was not used" for name in idle]
    guessed = [] if asked.references or asked.model == NO_MODEL else ["without ref= the colors are guessed"]
    warn([f"{report.frames} frames{lost}, {speed:.1f} frames/s", *guessed, *later, *unused])


@contextlib.contextmanager
def _media_only() -> Iterator[int]:
    """A descriptor for the media; whatever else is printed on standard output goes to standard error meanwhile."""
    sys.stdout.flush()
    media = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield media
    finally:
        sys.stdout.flush()
        os.dup2(media, _STDOUT)
        os.close(media)
