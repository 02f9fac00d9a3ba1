"""Weights from a file into a network, or a sentence that says what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from streamcolor.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def read_weights(path: Path, model_id: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file. Raises InputError when it is not one."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} does not hold the weights of {model_id}") from error


def loaded(network: Network, tensors: Mapping[str, Tensor], path: Path, model_id: str) -> Network:
    """The network with these weights, in evaluation mode and without gradients.

    Raises InputError that names the first weight that the file or the network lacks, or whose shape differs.
    """
    own = network.state_dict()
    wrong = [name for name in {*own, *tensors} if name not in own or name not in tensors]
    wrong += [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if wrong:
        raise InputError(
            f"{path} does not hold the weights of {model_id}: {len(wrong)} do not fit, {min(wrong)} for one"
        )
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)
