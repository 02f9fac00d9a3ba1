"""``streamcolor stylize CONTENT STYLE``: stills that take on the colors of others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from streamcolor.commands.options import Config, Device, Overwrite, Quiet, Verbose, Weights

if TYPE_CHECKING:
    from streamcolor.colorizers.stylization.matching import Variant
    from streamcolor.colorizers.stylization.transfer import Sites
    from streamcolor.pipeline.stylize import Mode


def command(
    content: Annotated[Path, typer.Argument(metavar="CONTENT", help="Picture, or folder of pictures, to be changed.")],
    style: Annotated[
        Path, typer.Argument(metavar="STYLE", help="Picture that lends its colors; of a folder, the one so named.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="Picture; a folder, where CONTENT or STYLE is one.")
    ],
    variant: Annotated[
        str, typer.Option("--variant", help="adain: match means and deviations; wct (slower): covariances.")
    ] = "adain",
    sites: Annotated[
        str, typer.Option("--sites", help="Where: in the encoder (enc), the decoder (dec) or both.")
    ] = "both",
    mode: Annotated[
        str, typer.Option("--mode", help="photo, or grey: color CONTENT anew before, as if it had no colors.")
    ] = "photo",
    keep_luma: Annotated[bool, typer.Option("--keep-luma", help="Take colors alone; the luma stays.")] = False,
    content_labels: Annotated[
        Path | None,
        typer.Option(
            "--content-labels", metavar="PATH", help="Index picture: regions with equal numbers belong together."
        ),
    ] = None,
    style_labels: Annotated[
        Path | None, typer.Option("--style-labels", metavar="PATH", help="The same for STYLE.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Give stills the colors of other pictures, photorealistically.

    streamcolor stylize street.jpg evening.jpg -o street-evening.png --weights stylization.safetensors
    """
    from streamcolor.colorizers.registry import find, weights_of
    from streamcolor.pipeline.stylize import StylizeOptions, stylize

    options = StylizeOptions(
        content,
        style,
        output,
        weights_of(find("stylization"), weights),
        variant=cast("Variant", variant),
        sites=cast("Sites", sites),
        mode=cast("Mode", mode),
        keep_luma=keep_luma,
        content_labels=content_labels,
        style_labels=style_labels,
        device=device,
        overwrite=overwrite,
    )
    stylize(options, None if quiet else lambda path: typer.echo(path, err=True))
