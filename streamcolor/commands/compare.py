"""``streamcolor compare``: every model on the same data with the same budget, in one table."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Quiet, Verbose
from streamcolor.errors import InputError

OnStep = Callable[[int, dict[str, float]], None]


def command(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="Rows, data, budget, expectations: configs/compare.yaml.")
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder with color stills and clips.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Runs, results.csv, RESULTS.md and RESULTS.png.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Only this row and what it needs; may be repeated."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="N", min=0.001, help="Training of every learned row.")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", metavar="PIXELS", min=32, help="Side of the pictures.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.")] = "cpu",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train every row of a configuration, score it on what was held back, and write one report.

    Run again, it goes on where it was stopped; rows that are done stay. A row that fails does not stop the others.
    """
    from streamcolor.colorizers.registry import choose_device

    if not data.is_dir():
        raise InputError(f"there is no folder {data} to compare on")
    try:
        from streamcolor.train.comparison import Places, compare
        from streamcolor.train.rows import read_comparison
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install 'streamcolor[train]'") from error
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    seconds = None if minutes is None else 60 * minutes
    comparison = read_comparison(config, size=size, seconds=seconds)
    places = Places(data, output, choose_device(device))
    with _shown(quiet=quiet) as on_step:
        say = (lambda _: None) if quiet else (lambda line: typer.echo(line, err=True))
        typer.echo(compare(comparison, places, only=only or (), say=say, on_step=on_step))


@contextmanager
def _shown(*, quiet: bool) -> Iterator[OnStep | None]:
    """Steps on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield lambda step, mean: status.update(f"step {step}, loss {sum(mean.values()):.4f}")
