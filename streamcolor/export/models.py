"""Any model by its id as graphs for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from streamcolor.colorizers.contract import Colorizer
from streamcolor.colorizers.propagator import Propagator
from streamcolor.colorizers.registry import create, find, weights_of
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.network import Switches
from streamcolor.errors import CallError, OutputError
from streamcolor.export.graphs import export_graphs
from streamcolor.export.networks import export_autoencoder, export_network
from streamcolor.pipeline.painter import working_size


def export_model(
    model_id: str,
    folder: Path,
    kind: str,
    *,
    film: tuple[int, int],
    weights: Path | None = None,
    size: int | None = None,
    variant: str = "adain",
) -> list[Path]:
    """Write the graphs of a model and ``graphs.json``; the files.

    kind: ``onnx`` or ``torchscript``. film: height and width of the films to be colored. size: shorter side that the
    model works at. variant: of ``stylization``, ``adain`` or ``wct``. Raises CallError for a method without a network
    and for what ONNX cannot say, InputError for weights that do not fit, OutputError for a folder that cannot be
    written.
    """
    model = find(model_id)
    if not model.trained:
        raise CallError(f"{model_id} has no network and so no graph to export")
    if variant != "adain" and model.id != "stylization":
        raise CallError(f"--variant {variant} is for stylization; {model_id} has no variants")
    if model.kind == "backbone":
        file = weights_of(model, weights)
        return export_autoencoder(file, _made(folder), kind, *working_size(*film, size or 256, 16))
    colorizer: Colorizer = create(model_id, weights=weights)
    if isinstance(colorizer, Stylization):
        colorizer.network.switches = Switches(variant=cast(Literal["adain", "wct"], variant))
    shape = working_size(*film, size or colorizer.info.size, colorizer.info.size_multiple)
    if isinstance(colorizer, Propagator):
        return export_graphs(colorizer, _made(folder), kind, *shape)
    if isinstance(colorizer, FrameWise):
        return export_network(colorizer, _made(folder), kind, *shape)
    raise CallError(f"{model_id} has no graph to export")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror}") from error
    return folder
