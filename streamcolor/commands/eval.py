"""``streamcolor eval``: how well a model colors clips from their own frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.options import (
    Config,
    Device,
    Json,
    Model,
    Precision,
    Quiet,
    Size,
    Stabilize,
    Threads,
    Verbose,
    Weights,
)


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
        Path | None, typer.Option("--strips", metavar="DIR", help="Contact sheets: truth, input, result, error.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Report with tables, plots and contact sheets.")
    ] = None,
    measures: Annotated[
        str,
        typer.Option("--measures", metavar="LIST", help="More figures: these, ab (a*, b* alone), aesthetics; or none."),
    ] = "warp,flicker,his,lpips,fid",
    lpips_backbone: Annotated[
        list[Path] | None,
        typer.Option(
            "--lpips-backbone",
            metavar="FILE",
            help="torchvision's weights of AlexNet, VGG-16 or SqueezeNet 1.1; may be repeated.",
        ),
    ] = None,
    fid_backbone: Annotated[
        Path | None, typer.Option("--fid-backbone", metavar="FILE", help="pytorch-fid's weights of Inception-v3.")
    ] = None,
    aesthetics_backbone: Annotated[
        Path | None,
        typer.Option("--aesthetics-backbone", metavar="FILE", help="NIMA's weights on VGG-16; asks for aesthetics."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Scores as JSON.")] = None,
    raw_rgb: Annotated[
        bool,
        typer.Option(
            "--raw-rgb",
            help="Score the picture that the network emits, with its own luma and not steadied; few models have one.",
        ),
    ] = False,
    model: Model = "propagator",
    weights: Weights = None,
    device: Device = "auto",
    precision: Precision = "auto",
    stabilize: Stabilize = True,
    size: Size = None,
    threads: Threads = 0,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    config: Config = None,
) -> None:
    """Color clips from their first frame and compare: PSNR, SSIM, CIEDE2000, CDC, colorfulness, HIS, luma.

    cdc is to be near cdc_gt, colour near 1, luma 0; grey is the psnr of the uncolored film. Warp error, flicker and
    his_ref, HIS with the reference, stand beside the truth's own; LPIPS, FID and aesthetics need the weights of
    others, from files or from a folder named in STREAMCOLOR_BACKBONES. With --raw-rgb, luma says how far the model
    moved it.
    """
    from rich.console import Console

    from streamcolor.evaluation.html import jpeg, page
    from streamcolor.evaluation.measures import choose_measures
    from streamcolor.evaluation.metrics import Picture
    from streamcolor.evaluation.protocols import evaluate, write_rgb_film
    from streamcolor.evaluation.report import (
        Results,
        check_folder,
        check_place,
        measures_table,
        table,
        to_json,
        write_strip,
        write_whole,
    )
    from streamcolor.pipeline.emitted import emitted_pictures
    from streamcolor.pipeline.run import RunOptions, run

    def color_film(film: Path, pictures: list[str], target: Path) -> None:
        asked = RunOptions(
            film=film,
            references=pictures,
            output=target,
            codec="ffv1",
            model=model,
            weights=weights,
            device=device,
            precision=precision,
            stabilize=stabilize,
            size=size,
            threads=threads,
        )
        if raw_rgb:
            write_rgb_film(emitted_pictures(asked), target)
        else:
            run(asked)

    chosen = choose_measures(
        measures,
        lpips_backbones=lpips_backbone or (),
        fid_backbone=fid_backbone,
        aesthetics_backbone=aesthetics_backbone,
        device=device,
    )
    for path in (output, html):
        if path is not None:
            check_place(path)
    if strips is not None:
        check_folder(strips)
    sheets: dict[str, bytes] = {}

    def keep(clip: str, sheet: Picture) -> None:
        if strips is not None:
            write_strip(strips, clip, sheet)
        if html is not None:
            sheets[clip] = jpeg(sheet)

    scores = []
    for score in evaluate(
        data,
        color_film,
        references=references,
        clips=clip,
        frames=frames,
        keep=keep if strips is not None or html is not None else None,
        measures=chosen.measures,
    ):
        scores.append(score)
        if not quiet:
            typer.echo(f"{score.clip}: psnr {score.psnr:.2f} dB (grey {score.grey:.2f})", err=True)
    options = {"model": model, "references": references, "size": size, "frames": frames, "raw_rgb": raw_rgb}
    results = Results(scores, options, chosen.columns, chosen.pooled(), chosen.missing)
    text = to_json(results)
    if output is not None:
        write_whole(output, text.encode())
    if html is not None:
        write_whole(html, page(results, sheets).encode())
    if json_:
        typer.echo(text)
    else:
        # A table that is cut off on a narrow screen or in a pipe helps nobody.
        tables = table(scores), measures_table(results)
        needed = [Console(width=1000).measure(each).minimum for each in tables]
        console = Console(width=max(Console().width, 120, *needed))
        console.print(*tables)
    for sentence in () if quiet else chosen.missing.values():
        typer.echo(sentence, err=True)
