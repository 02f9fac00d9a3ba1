"""Every model by its id. A new model is one file that satisfies the contract and one row here."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING

from streamcolor.errors import CallError, DeviceError, InputError

if TYPE_CHECKING:
    from streamcolor.colorizers.contract import Colorizer


@dataclass(frozen=True, slots=True)
class Model:
    """A row of ``streamcolor models``.

    home: ``module:class``, imported when the model is made.
    parameters: of the network at the paper's full size; 0 for a method without one.
    weights: name of the file in ``streamcolor/weights`` that ships, or None.
    sha256: of that file; checked before it is loaded.
    """

    id: str
    title: str
    paper: str
    home: str
    references: bool
    parameters: int = 0
    weights: str | None = None
    sha256: str | None = None


MODELS: tuple[Model, ...] = (
    Model(
        "propagator",
        "attention over references and recent frames (default)",
        "streamcolor",
        "streamcolor.colorizers.propagator:Propagator",
        references=True,
        parameters=1_083_214,
        weights="propagator.safetensors",
        sha256="ecfa1d3d5cb80bf2a5f513c1ec25099d31d29104defe5a5f2a84786df8eb100f",
    ),
    Model(
        "flow",
        "optical flow (DIS) from the references, confidence-checked",
        "streamcolor (baseline; DIS flow: Kroeger et al. 2016)",
        "streamcolor.colorizers.flow:Flow",
        references=True,
    ),
    Model(
        "welsh",
        "color transfer by luminance and texture statistics",
        "Welsh, Ashikhmin, Mueller 2002, Transferring Color to Greyscale Images",
        "streamcolor.colorizers.welsh:Welsh",
        references=True,
    ),
)


def find(model_id: str) -> Model:
    """The row of a model. Raises CallError that names the nearest ids."""
    for model in MODELS:
        if model.id == model_id:
            return model
    names = [model.id for model in MODELS]
    near = difflib.get_close_matches(model_id, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise CallError(f"no model {model_id!r}: {hint}")


def create(model_id: str, *, weights: Path | None = None, device: str = "cpu") -> Colorizer:
    """Make a colorizer ready to run.

    weights: a safetensors file instead of the one that ships. Raises CallError for an unknown id or for weights
    given to a method that has none, InputError for a file that does not hold them.
    """
    model = find(model_id)
    module, _, name = model.home.partition(":")
    kind = getattr(import_module(module), name)
    if model.weights is None:
        if weights is not None:
            raise CallError(f"model {model_id!r} has no weights; leave --weights out")
        colorizer: Colorizer = kind()
        return colorizer
    trained: Colorizer = kind(weights or shipped_weights(model), device)
    return trained


def shipped_weights(model: Model) -> Path:
    """Path of the weights inside the package, their hash checked. Raises InputError when they are damaged."""
    path = Path(str(resources.files("streamcolor") / "weights" / str(model.weights)))
    if not path.exists():
        raise InputError(f"the weights of {model.id} are not installed; train them with: streamcolor train {model.id}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != model.sha256:
        raise InputError(f"{path} is damaged or not the file that ships with streamcolor; install the package again")
    return path


def choose_device(name: str) -> str:
    """``auto`` becomes cuda, mps or cpu. Raises CallError for an unknown name, DeviceError for one not here."""
    import torch

    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if here[device])
    kind = name.partition(":")[0]
    if kind not in here:
        raise CallError(f"no device {name!r}: choose auto, cpu, cuda or mps")
    if not here[kind]:
        raise DeviceError(f"there is no {kind} device on this machine (or this torch was built without it)")
    return name
