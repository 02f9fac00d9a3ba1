"""Weights of others that training starts from, out of files that the user names. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcolor.colorizers.loading import read_weights
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
