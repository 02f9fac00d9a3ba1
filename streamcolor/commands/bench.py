"""``streamcolor bench``: how fast things are on this machine."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Json
from streamcolor.errors import CallError

app = typer.Typer(help="Measure the speed of streamcolor on this machine.", no_args_is_help=True)

_SELF = (sys.executable, "-c", "from streamcolor.commands import main; main()")
# Bytes that a pipe of Linux holds (pipe(7)): where several pictures fit, their wait in it is what would be measured.
_PIPE = 65_536
# One thread: more would hold a frame each.
_NULL = (
    "ffmpeg", "-v", "error", "-f", "nut", "-i", "-", "-fps_mode", "passthrough", "-vf", "null",
    "-c:v", "rawvideo", "-threads", "1", "-flush_packets", "1", "-f", "nut", "-",
)  # fmt: skip


@app.callback()
def _root() -> None:
    pass


@app.command("filter")
def filter_command(
    options: Annotated[
        str, typer.Argument(metavar="KEY=VALUE:...", help="Of the filter; see: streamcolor filter -h.")
    ] = "",
    size: Annotated[str, typer.Option("--size", metavar="WIDTHxHEIGHT", help="Of the pictures.")] = "1280x720",
    rate: Annotated[str, typer.Option("--rate", "-r", metavar="RATE", help="Frames per second of a live film.")] = "25",
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=20, help="Most frames of a measurement.")] = 200,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="Most seconds of one.")] = 20.0,
    json_: Json = False,
) -> None:
    """Frames/s and delay of the pipe filter with and without its model, beside ffmpeg's null filter."""
    from streamcolor.pipeline.filter import filter_options
    from streamcolor.pipeline.speed import Feed, measure, write_key

    filter_options(options)
    feed = Feed(*_size(size), _rate(rate), frames, seconds)
    with tempfile.TemporaryDirectory() as folder:
        key = "" if "ref=" in options else f"ref='{write_key(Path(folder, 'key.png'), feed)}'"
        text = ":".join(part for part in (options, key) if part)
        commands = {
            "ffmpeg -vf null": _NULL,
            "streamcolor filter model=none": (*_SELF, "filter", "model=none"),
            f"streamcolor filter {options}".rstrip(): (*_SELF, "filter", text),
        }
        if shutil.which("ffmpeg") is None:
            del commands["ffmpeg -vf null"]
        rows = [measure(name, command, feed) for name, command in commands.items()]
    if json_:
        typer.echo(json.dumps([asdict(row) for row in rows]))
        return
    typer.echo(f"{f'NUT, {size} yuv420p':44s} {'frames/s':>9s} {'delay':>9s} {'p95':>9s}   at frames/s")
    for row in rows:
        delays = f"{row.delay_median:6.1f} ms {row.delay_p95:6.1f} ms"
        typer.echo(f"{row.name:44s} {row.frames_per_second:9.1f} {delays}   {row.pace:.1f}")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 16 and int(height) >= 16):
        raise CallError(f"--size {text} is not a size; write WIDTHxHEIGHT, such as 1280x720")
    if int(width) * int(height) * 3 // 2 < _PIPE:
        raise CallError(f"--size {text} is too small to measure: pictures wait in the buffer of the pipe; try 320x180")
    return int(width), int(height)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise CallError(f"--rate {text} is not a rate; write 24, 23.976 or 24000/1001") from error
    if not 0 < rate <= 1000:
        raise CallError(f"--rate {text} is out of range; frames per second lie between 0 and 1000")
    return rate
