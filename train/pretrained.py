"""Weights of others that ``stylization`` starts from, out of files that the user names. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcolor.colorizers.loading import read_weights
from streamcolor.colorizers.stylization.colorization import ColorizationNetwork
from streamcolor.colorizers.stylization.transfer import TransferNetwork
from streamcolor.errors import InputError
from streamcolor.evaluation.backbones import read_state

# Place of each convolution in ``features`` of torchvision's VGG19.
VGG19 = {
    "conv1_1": 0,
    "conv1_2": 2,
    "conv2_1": 5,
    "conv2_2": 7,
    "conv3_1": 10,
    "conv3_2": 12,
    "conv3_3": 14,
    "conv3_4": 16,
    "conv4_1": 19,
}
# The blocks of Zhang et al. 2016 and 2017 that the colorization sub-net starts from (section 4.1).
ZHANG_BLOCKS = ("model1", "model2", "model3", "model4")


def take_vgg19(network: TransferNetwork, path: Path) -> None:
    """Put VGG19 into the encoder: torchvision's names, up to ``features.19``; the rest of the file is not needed.

    Raises InputError when the file does not hold it.
    """
    tensors = read_tensors(path, "VGG19")
    kinds = ("weight", "bias")
    names = {f"{layer}.{kind}": f"features.{place}.{kind}" for layer, place in VGG19.items() for kind in kinds}
    _take(network.encoder, {own: (theirs, tensors.get(theirs)) for own, theirs in names.items()}, path, "VGG19")


def take_zhang(network: ColorizationNetwork, path: Path) -> None:
    """Put the first four blocks of Zhang et al. 2016 or 2017 into the network, by the names of their published code.

    The network of 2016 sees nothing but lightness: the weights of hints and mask become zero. Raises InputError when
    the file does not hold them.
    """
    what = "Zhang et al. 2016 or 2017"
    tensors = dict(read_tensors(path, what))
    first = tensors.get("model1.0.weight")
    if first is not None and first.ndim == 4 and first.shape[1] == 1:
        tensors["model1.0.weight"] = torch.cat([first, first.new_zeros(len(first), 3, *first.shape[2:])], 1)
    names = [name for name in network.state_dict() if name.startswith(ZHANG_BLOCKS) and not name.endswith("_tracked")]
    # model1 is also how model10 begins.
    names = [name for name in names if name.partition(".")[0] in ZHANG_BLOCKS]
    _take(network, {name: (name, tensors.get(name)) for name in names}, path, what)


def read_tensors(path: Path, what: str) -> Mapping[str, Tensor]:
    """Tensors of a safetensors file or of a PyTorch checkpoint of weights alone. Raises InputError."""
    return read_weights(path, what) if path.suffix == ".safetensors" else read_state(path)


def _take(module: nn.Module, found: Mapping[str, tuple[str, Tensor | None]], path: Path, what: str) -> None:
    own = module.state_dict()
    for name, (theirs, tensor) in found.items():
        if tensor is None or tensor.shape != own[name].shape:
            lacks = "lacks" if tensor is None else f"has in shape {tuple(tensor.shape)}, not {tuple(own[name].shape)},"
            raise InputError(f"{path} does not hold the weights of {what}: it {lacks} {theirs}")
    module.load_state_dict({name: tensor for name, (_, tensor) in found.items() if tensor is not None}, strict=False)
