"""``streamcolor train MODEL``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Config, Quiet, Verbose

app = typer.Typer(help="Train a model from nothing on a folder of stills and clips.", no_args_is_help=True)


@app.command("propagator")
def propagator(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder with color stills and clips.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Run folder: checkpoints, losses, recipe.")
    ],
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Length of the schedule.")] = 9000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Sequences in a step.")] = 4,
    rate: Annotated[float, typer.Option("--rate", min=0, help="Highest learning rate.")] = 1e-3,
    frames: Annotated[
        int, typer.Option("--frames", min=2, max=16, help="Frames in a sequence after the reference.")
    ] = 4,
    height: Annotated[int, typer.Option("--height", min=64, help="Of a training frame, a multiple of 16.")] = 192,
    width: Annotated[int, typer.Option("--width", min=64, help="Of a training frame, a multiple of 16.")] = 192,
    start_from: Annotated[
        Path | None, typer.Option("--start-from", metavar="FILE", help="Weights to start from.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the run folder.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and samples.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processor threads of a step.")] = 1,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Train the default model; RUN/average.safetensors can be given to run --weights at any time."""
    from streamcolor.errors import CallError, InputError
    from streamcolor.train.propagator import PropagatorRecipe, train
    from streamcolor.train.sequences import SequenceRecipe

    if height % 16 or width % 16:
        raise CallError(f"--height {height} and --width {width} must be multiples of 16")
    if not data.is_dir():
        raise InputError(f"there is no folder {data} to train on")
    logging.basicConfig(level=logging.WARNING if quiet else logging.INFO, format="%(message)s")
    recipe = PropagatorRecipe(
        data=data,
        output=output,
        steps=max_steps,
        batch=batch,
        rate=rate,
        seed=seed,
        threads=threads,
        start_from=start_from,
        sequences=SequenceRecipe(height=height, width=width, frames=frames),
    )
    typer.echo(train(recipe, resume=resume))
