"""``streamcolor run``: color a film."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction
from typing import Annotated

import typer

from streamcolor.commands.options import (
    Config,
    Device,
    Json,
    Model,
    Overwrite,
    Precision,
    Quiet,
    Size,
    Stabilize,
    Threads,
    Verbose,
    Weights,
)
from streamcolor.errors import CallError


def command(
    film: Annotated[
        str | None, typer.Argument(metavar="FILM", help="A film, an image sequence (shot.%06d.png) or - for stdin.")
    ] = None,
    film_i: Annotated[str | None, typer.Option("-i", metavar="FILM", hidden=True)] = None,
    ref: Annotated[
        list[str] | None,
        typer.Option(
            "--ref",
            metavar="PATH",
            help="Color picture that guides: FILE, FILE@FRAME, FILE@HH:MM:SS:FF or a FOLDER; may be repeated.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Default: FILM with .color before its suffix, .mkv where that cannot be written; - for stdout.",
        ),
    ] = None,
    model: Model = "propagator",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    stabilize: Stabilize = True,
    size: Size = None,
    fit: Annotated[
        str, typer.Option("--fit", help="A reference of another aspect ratio: refuse, crop, pad or stretch.")
    ] = "refuse",
    codec: Annotated[
        str | None,
        typer.Option("--codec", "-c:v", metavar="NAME", help="libx264, libx265, ffv1, prores, dnxhd or dnxhr."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="BITS", help="Bits of a sample in the output.")
    ] = None,
    crf: Annotated[int | None, typer.Option("--crf", "-crf", min=0, max=51, help="Quality of x264 and x265.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-preset", help="Speed of x264 and x265.")] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", "-r", metavar="RATE", help="Frames per second of an image sequence: 24, 24000/1001."),
    ] = None,
    lookahead: Annotated[int, typer.Option("--lookahead", min=0, max=250, help="Frames held to see cuts coming.")] = 24,
    cut: Annotated[
        list[int] | None,
        typer.Option("--cut", metavar="FRAME", min=0, help="A shot starts here; instead of finding cuts."),
    ] = None,
    cache_mb: Annotated[int, typer.Option("--cache-mb", min=16, help="Cap of the reference cache in MiB.")] = 512,
    sat: Annotated[float, typer.Option("--sat", min=0, max=10, help="Factor on the saturation of the colors.")] = 1.0,
    mix: Annotated[
        float, typer.Option("--mix", min=0, max=1, help="Share of the new color; the rest is what the film had.")
    ] = 1.0,
    enable: Annotated[
        str | None,
        typer.Option(
            "--enable", metavar="EXPRESSION", help="Color where this holds: 'between(t,10,20)', as in ffmpeg."
        ),
    ] = None,
    vf: Annotated[
        str | None,
        typer.Option(
            "--vf", "-vf", metavar="FILTERS", help="ffmpeg's filters around: 'yadif,streamcolor,scale=1920:-2'."
        ),
    ] = None,
    threads: Threads = 0,
    overwrite: Overwrite = False,
    progress: Annotated[
        str | None, typer.Option("--progress", metavar="FILE", help="ffmpeg's key=value progress; pipe:1 is stdout.")
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Color a film from reference pictures; luma, timing and sound stay as they are.

    streamcolor run film.mp4 --ref keyframe.png      writes film.color.mp4
    """
    from streamcolor.commands.progress import ProgressBlocks, ProgressLine, summary
    from streamcolor.pipeline.run import Progress, RunOptions, run

    source = film or film_i
    if source is None or (film and film_i):
        raise CallError("name one film: streamcolor run FILM --ref KEYFRAME")
    options = RunOptions(
        film=source,
        references=ref or (),
        output=output,
        model=model,
        weights=weights,
        device=device,
        precision=precision,
        stabilize=stabilize,
        size=size,
        fit=fit,
        codec=codec,
        depth=depth,
        crf=crf,
        preset=preset,
        rate=_rate(rate),
        lookahead=lookahead,
        cuts=cut or None,
        cap=cache_mb * 2**20,
        threads=threads,
        overwrite=overwrite,
        sat=sat,
        mix=mix,
        enable=enable,
        vf=vf,
    )
    with ProgressLine(quiet=quiet) as line, ProgressBlocks(progress) as blocks:

        def show(now: Progress) -> None:
            line.show(now)
            blocks.write(now)

        report = run(options, show)
    if json_:
        typer.echo(json.dumps(asdict(report)))
    if not quiet:
        for sentence in summary(report, guided=bool(ref)):
            typer.echo(sentence, err=True)


def _rate(text: str | None) -> Fraction | None:
    try:
        rate = Fraction(text) if text is not None else None
    except (ValueError, ZeroDivisionError) as error:
        raise CallError(f"--rate {text} is not a rate; write 24, 23.976 or 24000/1001") from error
    if rate is not None and not 0 < rate <= 1000:
        raise CallError(f"--rate {text} is out of range; frames per second lie between 0 and 1000")
    return rate
