"""``streamcolor models``: what can color a film here."""

from __future__ import annotations

import json

import typer

from streamcolor.commands.options import Json


def command(json_: Json = False) -> None:
    """List the models: paper, size, whether references guide them, whether their weights are here."""
    from streamcolor.colorizers.registry import MODELS, shipped_weights
    from streamcolor.errors import InputError

    rows = []
    for model in MODELS:
        here = "to be trained" if model.trained else "none needed"
        if model.weights is not None:
            try:
                shipped_weights(model)
                here = "shipped"
            except InputError:
                here = "missing"
        rows.append(
            {
                "id": model.id,
                "kind": model.kind,
                "parameters": model.parameters,
                "references": model.references,
                "weights": here,
                "paper": model.paper,
                "title": model.title,
            }
        )
    if json_:
        typer.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        colors = "references" if row["references"] else "automatic"
        use = colors if row["kind"] == "colorizer" else str(row["kind"])
        typer.echo(f"{row['id']:20s} {row['parameters']:>12,d} parameters  {use:10s}  weights: {row['weights']}")
        typer.echo(f"{'':20s} {row['title']}; {row['paper']}")
