"""``streamcolor eval``: how well a model colors clips from their own frames."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Config, Device, Json, Model, Quiet, Size, Threads, Verbose, Weights
from streamcolor.errors import OutputError


def command(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of color clips (8-bit, BT.709).")],
    references: Annotated[
        str, typer.Option("--references", help="first, 'first,last', none, or unrelated (of another clip).")
    ] = "first",
    clip: Annotated[
        list[str] | None, typer.Option("--clip", metavar="NAME", help="Only this; may be repeated.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=0, help="Only the first so many frames of each clip.")] = 0,
    strips: Annotated[
        Path | None, typer.Option("--strips", metavar="DIR", help="Contact sheets: film, truth, output, error.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Scores as JSON.")] = None,
    model: Model = "propagator",
    weights: Weights = None,
    device: Device = "auto",
    size: Size = None,
    threads: Threads = 0,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Color clips from their first frame and compare: PSNR, SSIM, CIEDE2000, CDC, colorfulness, HIS, luma.

    cdc is to be near cdc_gt, colour near 1, luma 0; grey is the psnr of the uncolored film.
    """
    from rich.console import Console

    from streamcolor.evaluation.protocols import evaluate
    from streamcolor.evaluation.report import table, to_json, write_strip
    from streamcolor.pipeline.run import RunOptions, run

    def color_film(film: Path, pictures: list[str], target: Path) -> None:
        run(
            RunOptions(
                film=film,
                references=pictures,
                output=target,
                codec="ffv1",
                model=model,
                weights=weights,
                device=device,
                size=size,
                threads=threads,
            )
        )

    scores = []
    keep = None if strips is None else partial(write_strip, strips)
    for score in evaluate(data, color_film, references=references, clips=clip, frames=frames, keep=keep):
        scores.append(score)
        if not quiet:
            typer.echo(f"{score.clip}: psnr {score.psnr:.2f} dB (grey {score.grey:.2f})", err=True)
    text = to_json(scores, {"model": model, "references": references, "size": size, "frames": frames})
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"the scores {output} cannot be written: {error.strerror}") from error
    if json_:
        typer.echo(text)
    else:
        console = Console()
        # A table that is cut off on a narrow screen or in a pipe helps nobody.
        Console(width=max(console.width, 120)).print(table(scores))
