"""Options that recur: the same word means the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamcolor.commands.configuration import apply_configuration

Model = Annotated[str, typer.Option("--model", metavar="ID", help="Model that colors; see: streamcolor models.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Safetensors or the folder of a training run, not what ships."),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or mps.")]
Precision = Annotated[str, typer.Option("--precision", metavar="NAME", help="auto, fp32, bf16 or fp16 (on a GPU).")]
Stabilize = Annotated[
    bool,
    typer.Option("--stabilize/--no-stabilize", help="Steady the colors along the motion of the film."),
]
Size = Annotated[int | None, typer.Option("--size", metavar="PIXELS", min=32, help="Working short side.")]
Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=0, help="Processor threads; 0: as many as there are.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", "-y", help="Replace an output that is there.")]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Traceback with an error.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML file with any of these options; the command line wins.",
        is_eager=True,
        callback=apply_configuration,
    ),
]
