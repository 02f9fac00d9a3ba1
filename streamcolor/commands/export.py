"""``streamcolor export KIND``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Config, Size, Verbose, Weights
from streamcolor.errors import CallError

KINDS = ("onnx", "torchscript")
VARIANTS = ("adain", "wct")


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="onnx or torchscript.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the graphs.")],
    model: Annotated[str, typer.Option("--model", metavar="ID", help="Any model with a network.")] = "propagator",
    film: Annotated[str, typer.Option("--film", metavar="WxH", help="Size of the films to be colored.")] = "1920x1080",
    variant: Annotated[
        str, typer.Option("--variant", help="Of stylization: adain, or wct (torchscript alone).")
    ] = "adain",
    weights: Weights = None,
    size: Size = None,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Write a model as graphs for hosts without Python, and graphs.json that says what goes in and out."""
    from streamcolor.export.models import export_model

    if kind not in KINDS:
        raise CallError(f"no kind {kind!r} to export: choose {' or '.join(KINDS)}")
    width, cross, height = film.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise CallError(f"--film {film} is not a size such as 1920x1080")
    if variant not in VARIANTS:
        raise CallError(f"no variant {variant!r} of stylization: choose {' or '.join(VARIANTS)}")
    for path in export_model(
        model, output, kind, film=(int(height), int(width)), weights=weights, size=size, variant=variant
    ):
        typer.echo(path)
