"""``streamcolor export KIND``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Config, Size, Verbose, Weights
from streamcolor.errors import CallError, OutputError

KINDS = ("onnx", "torchscript")


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="onnx or torchscript.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the graphs.")],
    model: Annotated[str, typer.Option("--model", metavar="ID", help="propagator or propagator-b.")] = "propagator",
    film: Annotated[str, typer.Option("--film", metavar="WxH", help="Size of the films to be colored.")] = "1920x1080",
    weights: Weights = None,
    size: Size = None,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Write a model as graphs for hosts without Python, and graphs.json that says what goes in and out."""
    from streamcolor.colorizers.registry import create

    if kind not in KINDS:
        raise CallError(f"no kind {kind!r} to export: choose {' or '.join(KINDS)}")
    width, cross, height = film.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise CallError(f"--film {film} is not a size such as 1920x1080")
    colorizer = create(model, weights=weights)
    from streamcolor.colorizers.propagator import Propagator
    from streamcolor.export.graphs import export_graphs
    from streamcolor.pipeline.painter import working_size

    if not isinstance(colorizer, Propagator):
        raise CallError(f"{model} has no graph to export: choose propagator or propagator-b")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {output} cannot be made: {error.strerror}") from error
    shape = working_size(int(height), int(width), size or colorizer.info.size, colorizer.info.size_multiple)
    for path in export_graphs(colorizer, output, kind, *shape):
        typer.echo(path)
