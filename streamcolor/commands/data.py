"""``streamcolor data``: sets to train on, made from what is here."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import Json, Quiet, Verbose
from streamcolor.errors import InputError

app = typer.Typer(help="Make sets to train on.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    pass


@app.command("konvid-pairs")
def konvid_pairs(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="Folder with videos, such as KoNViD's.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for pairs and manifest.csv.")],
    size: Annotated[int, typer.Option("--size", metavar="PIXELS", min=16, help="Both sides of a picture.")] = 256,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=0, help="Videos at a time; 0: as many as processors.")
    ] = 0,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """First and last frame of every video, a reference and a target; run again, it goes on where it was stopped."""
    if not videos.is_dir():
        raise InputError(f"there is no folder {videos} with videos")
    try:
        from streamcolor.train.pairs import konvid_pairs as write
    except ModuleNotFoundError as error:
        raise InputError(f"making pairs needs {error.name}: pip install 'streamcolor[train]'") from error
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with _bar(quiet=quiet or json_) as on_video:
        result = write(videos, output, size=size, workers=workers, on_video=on_video)
    if json_:
        typer.echo(json.dumps(asdict(result)))
        return
    for video, reason in result.skipped:
        typer.echo(f"skipped {video}: {reason}", err=True)
    for video in () if quiet else result.damaged:
        typer.echo(f"damaged {video}: the last frame that decodes was taken", err=True)
    if not quiet:
        typer.echo(
            f"{result.train} pairs to train on, {result.validation} to validate on "
            f"({result.done_before} were there, {len(result.skipped)} videos skipped): {output / 'manifest.csv'}"
        )


@app.command("pairs")
def pairs(
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="Folder with color stills.")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for pairs.csv and palettes.")],
    palettes: Annotated[
        Path | None, typer.Option("--palettes", metavar="FILE", help="Palettes, five #rrggbb a line.")
    ] = None,
    related: Annotated[int, typer.Option("--related", min=0, help="Most semantic-related pairs.")] = 2500,
    independent: Annotated[int, typer.Option("--independent", min=0, help="Most semantic-independent pairs.")] = 2500,
    vgg19: Annotated[
        Path | None, typer.Option("--vgg19", metavar="FILE", help="torchvision's weights; else HOG describes.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice.")] = 0,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Targets with a reference that means the same, and with one that does not: another picture, or a palette."""
    if not pictures.is_dir():
        raise InputError(f"there is no folder {pictures} with pictures")
    try:
        from streamcolor.train.semantic_pairs import semantic_pairs
    except ModuleNotFoundError as error:
        raise InputError(f"making pairs needs {error.name}: pip install 'streamcolor[train]'") from error
    with _bar(quiet=quiet or json_) as on_picture:
        result = semantic_pairs(
            pictures,
            output,
            palettes=palettes,
            related=related,
            independent=independent,
            vgg19=vgg19,
            seed=seed,
            on_picture=on_picture,
        )
    if json_:
        typer.echo(json.dumps(asdict(result)))
        return
    for name, reason in result.skipped:
        typer.echo(f"skipped {name}: {reason}", err=True)
    if not quiet:
        typer.echo(
            f"{result.related} related pairs, {result.farthest} unrelated, {result.palette} with a palette "
            f"(pictures described by {result.feature}): {output / 'pairs.csv'}"
        )


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
