"""Every model by its id. A new model is one file that satisfies the contract and one row here."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from streamcolor.errors import CallError, DeviceError, InputError

if TYPE_CHECKING:
    from streamcolor.colorizers.contract import Colorizer


@dataclass(frozen=True, slots=True)
class Model:
    """A row of ``streamcolor models``.

    home: ``module:class``, imported when the model is made.
    kind: ``colorizer``, or ``backbone`` for a part of one that is trained on its own.
    parameters: of the network at the paper's full size; 0 for a method without one.
    trained: it has weights, whether they ship or not.
    weights: name of the file in ``streamcolor/weights`` that ships, or None.
    sha256: of that file; checked before it is loaded.
    """

    id: str
    title: str
    paper: str
    home: str
    references: bool
    parameters: int = 0
    kind: Literal["colorizer", "backbone"] = "colorizer"
    trained: bool = False
    weights: str | None = None
    sha256: str | None = None


MODELS: tuple[Model, ...] = (
    Model(
        "propagator",
        "attention over references and recent frames (default)",
        "streamcolor",
        "streamcolor.colorizers.propagator:Propagator",
        references=True,
        parameters=2_671_970,
        trained=True,
        weights="propagator.safetensors",
        sha256="0ba700633c44823fa54641ad4da76302f8c02d0d3fd1d482aa70c435c501c7f6",
    ),
    Model(
        "propagator-b",
        "propagator at three times the width, for a GPU",
        "streamcolor",
        "streamcolor.colorizers.propagator:PropagatorBig",
        references=True,
        parameters=12_355_808,
        trained=True,
    ),
    Model(
        "chroma-prior",
        "plausible, restrained colors of a frame by itself; propagator's guess for what no reference shows",
        "streamcolor",
        "streamcolor.colorizers.prior:ChromaPrior",
        references=False,
        parameters=2_680_958,
        trained=True,
        weights="chroma-prior.safetensors",
        sha256="28a8de8393e5a006e8ddf6ea24bf0f78b49d8eba8acd82f8205a446d7a43f244",
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
    Model(
        "unet-basic",
        "small U-Net without references, the baseline of stable-colorizer",
        "Bansal, Stable Image Colorization via Reference Image Cross-Attention",
        "streamcolor.colorizers.stable:UnetBasic",
        references=False,
        parameters=177_132,
        trained=True,
        weights="unet-basic.safetensors",
        sha256="046e372456bf5d1ca3290d5607e5f4333395e460ce626a3e68e4666c25bfb29e",
    ),
    Model(
        "stable-colorizer",
        "small U-Net that attends to an encoding of the references",
        "Bansal, Stable Image Colorization via Reference Image Cross-Attention",
        "streamcolor.colorizers.stable:StableColorizer",
        references=True,
        parameters=309_452,
        trained=True,
        weights="stable-colorizer.safetensors",
        sha256="7cda171bf7a135163a1378b626bab2aec27e46ba742cb9a884ee085a97a0ac70",
    ),
    Model(
        "autoencoder",
        "backbone of stable-colorizer: encodes references",
        "Bansal, Stable Image Colorization via Reference Image Cross-Attention",
        "streamcolor.colorizers.stable:Autoencoder",
        references=False,
        parameters=131_721,
        kind="backbone",
        trained=True,
        weights="autoencoder.safetensors",
        sha256="650f51ba55e20110bd1bef2e55d55152a4ab5825198a2df2e808dab890b7f501",
    ),
    Model(
        "agin",
        "cycle GAN with class activation attention and adaptive group-instance normalization",
        "Gao et al. 2020, Attentional Colorization Networks with Adaptive Group-Instance Normalization",
        "streamcolor.colorizers.agin:Agin",
        references=False,
        parameters=10_589_888,
        trained=True,
    ),
    Model(
        "resnet-cnn",
        "ResNet-18 front and upsampling decoder",
        "Efthymiadis et al., Deep Learning Image Colorization",
        "streamcolor.colorizers.cnn:ResnetCnn",
        references=False,
        parameters=917_666,
        trained=True,
    ),
    Model(
        "cnn-classifier",
        "color and class learned together, global features fused",
        "Efthymiadis et al., Deep Learning Image Colorization",
        "streamcolor.colorizers.cnn:CnnClassifier",
        references=False,
        parameters=42_317_501,
        trained=True,
    ),
    Model(
        "unet-gan",
        "pix2pix U-Net against a PatchGAN",
        "Efthymiadis et al., Deep Learning Image Colorization",
        "streamcolor.colorizers.unet_gan:UnetGan",
        references=False,
        parameters=54_409_858,
        trained=True,
    ),
    Model(
        "attention-unet-gan",
        "U-Net with attention gates against a PatchGAN",
        "Efthymiadis et al., Deep Learning Image Colorization",
        "streamcolor.colorizers.unet_gan:AttentionUnetGan",
        references=False,
        parameters=34_868_230,
        trained=True,
    ),
    Model(
        "attention-exemplar",
        "attention over references and a database of colors, joined by a gate",
        "Yin et al., Yes, Attention Is All You Need, for Exemplar based Colorization",
        "streamcolor.colorizers.attention_exemplar:AttentionExemplar",
        references=True,
        parameters=30_240_265,
        trained=True,
    ),
    Model(
        "stylization",
        "statistics of the references (AdaIN or WCT), refined by a hint-driven U-Net",
        "Xu et al. 2020, Stylization-Based Architecture for Fast Deep Exemplar Colorization",
        "streamcolor.colorizers.stylization:Stylization",
        references=True,
        parameters=42_610_309,
        trained=True,
    ),
)


# Other names: the default propagator is the small one.
ALIASES = {"propagator-s": "propagator"}


def find(model_id: str) -> Model:
    """The row of a model. Raises CallError that names the nearest ids."""
    for model in MODELS:
        if model.id == ALIASES.get(model_id, model_id):
            return model
    names = [model.id for model in MODELS]
    near = difflib.get_close_matches(model_id, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    raise CallError(f"no model {model_id!r}: {hint}")


def create(
    model_id: str,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    stabilize: bool = True,
) -> Colorizer:
    """Make a colorizer ready to run.

    weights: a safetensors file instead of the one that ships, or the folder of a training run. stabilize: models that
    color every frame for itself are steadied along the motion. precision: fp32, bf16, fp16 or auto, which is bf16 where
    the processor computes in it and the model loses nothing by it, fp32 otherwise. Raises CallError for an unknown id
    or precision, for a part of a model, or for weights given to a method that has none, InputError for a file that does
    not hold them, DeviceError for a precision that the device does not have.
    """
    model = find(model_id)
    if model.kind != "colorizer":
        raise CallError(f"{model_id!r} colors nothing by itself: {model.title}")
    if precision not in ("auto", "fp32", "bf16", "fp16"):
        raise CallError(f"no precision {precision!r}: choose auto, fp32, bf16 or fp16")
    if not model.trained:
        if weights is not None:
            raise CallError(f"model {model_id!r} has no weights; leave --weights out")
        plain: Colorizer = _home(model)()
        return plain
    if precision == "fp16" and device == "cpu":
        raise DeviceError("a processor has no fp16 arithmetic; take --precision fp32 or bf16")
    from streamcolor.colorizers.stabilization import FrameWise

    kind = _home(model)
    file = weights_of(model, weights)
    options = {"stabilize": stabilize} if issubclass(kind, FrameWise) else {}
    if precision == "auto":
        precision = "bf16" if kind.info.bf16 and device == "cpu" and computes_in_bf16() else "fp32"
    colorizer: Colorizer = kind(file, device, precision, **options)
    return colorizer


def _home(model: Model) -> Any:
    module, _, name = model.home.partition(":")
    return getattr(import_module(module), name)


def weights_of(model: Model, weights: Path | None) -> Path:
    """The file that ships, or the one that was given, or the one in a given folder of a training run."""
    return shipped_weights(model) if weights is None else _in_run(weights)


def _in_run(weights: Path) -> Path:
    """The file of a training run whose folder was given."""
    if not weights.is_dir():
        return weights
    file = weights / "average.safetensors"
    if not file.exists():
        raise InputError(f"{weights} is no folder of a training run: it holds no {file.name}")
    return file


def shipped_weights(model: Model) -> Path:
    """Path of the weights inside the package, their hash checked. Raises InputError when they are damaged."""
    path = Path(str(resources.files("streamcolor") / "weights" / str(model.weights)))
    if model.weights is None or not path.exists():
        raise InputError(
            f"no weights of {model.id} come with streamcolor; "
            f"train them (streamcolor train {model.id} --data DIR --output RUN) and give --weights"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != model.sha256:
        raise InputError(f"{path} is damaged or not the file that ships with streamcolor; install the package again")
    return path


def computes_in_bf16() -> bool:
    """Whether this processor has instructions for bf16 and torch can tell; without them bf16 is slow."""
    import torch

    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


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
