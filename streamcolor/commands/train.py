"""``streamcolor train MODEL``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from streamcolor.commands.configuration import read_configuration
from streamcolor.commands.options import Quiet, Verbose
from streamcolor.errors import CallError, DeviceError, InputError

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
OnStep = Callable[[int, dict[str, float]], None]
# Hyper-parameters of the model are options too: whatever its recipe has.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def _configured(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of ``--config``: options of the command become defaults, the rest hyper-parameters."""
    if path is not None:
        options = {str(p.name) for p in context.command.params} - {"config"}
        values = read_configuration(path, None)
        context.default_map = {**(context.default_map or {}), **{k: v for k, v in values.items() if k in options}}
        context.obj = {k: v for k, v in values.items() if k not in options}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file with any options and hyper-parameters; the command line wins.",
        is_eager=True,
        callback=_configured,
    ),
]


def command(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model; see: streamcolor models.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder with color stills and clips.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Run folder: checkpoints, losses, recipe.")
    ],
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Length of the schedule.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0, help="Highest learning rate.")] = None,
    start_from: Annotated[
        Path | None, typer.Option("--start-from", metavar="FILE", help="Weights to start from.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the run folder.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and samples.")] = 0,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int, typer.Option("--devices", min=1, help="How many of them.")] = 1,
    precision: Annotated[str, typer.Option("--precision", help="fp32, bf16 or fp16 (mixed).")] = "fp32",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Processor threads of a step.")] = 1,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Train a model from nothing on a folder of stills and clips; RUN/average.safetensors goes to run --weights.

    Hyper-parameters of the model are options too (--batch 4 --epochs 30 --no-attention); configs/train/MODEL.yaml has
    those that the paper or the recipe sets, and a name that does not exist is answered with the list of all.
    """
    from streamcolor.colorizers.registry import ALIASES, choose_device

    if precision not in PRECISIONS:
        raise CallError(f"no precision {precision!r}: choose {', '.join(PRECISIONS)}")
    accelerator = choose_device(device).partition(":")[0]
    if precision == "fp16" and accelerator == "cpu":
        raise DeviceError("fp16 is not trained on a processor; take bf16 or fp32")
    try:
        from streamcolor.train.loop import LoopRecipe
        from streamcolor.train.recipes import family_of, read_recipe, words_to_settings
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install 'streamcolor[train]'") from error
    loop = LoopRecipe(
        output=output,
        seed=seed,
        threads=threads,
        accelerator=accelerator,
        devices=devices,
        precision=PRECISIONS[precision],
        start_from=start_from,
    )
    settings: dict[str, Any] = {**(context.obj or {}), **words_to_settings(context.args)}
    model = ALIASES.get(model, model)
    recipe = read_recipe(model, data, loop, settings, rate=rate, steps=max_steps)
    if not data.is_dir():
        raise InputError(f"there is no folder {data} to train on")
    with _shown(max_steps, quiet=quiet) as on_step:
        typer.echo(family_of(model).train(recipe, resume=resume, on_step=on_step))


@contextmanager
def _shown(steps: int | None, *, quiet: bool) -> Iterator[OnStep | None]:
    """A bar on a terminal, lines elsewhere, nothing but warnings when quiet."""
    bar = sys.stderr.isatty() and not quiet
    logging.basicConfig(level=logging.WARNING if quiet or bar else logging.INFO, format="%(message)s")
    for chatty in ("lightning_fabric", "lightning.fabric"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if not bar:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[loss]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=steps, loss="")
        yield lambda step, mean: progress.update(task, completed=step, loss=f"loss {sum(mean.values()):.4f}")
