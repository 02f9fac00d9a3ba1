"""What a run was, in a file beside its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from streamcolor import __version__
from streamcolor.errors import InputError
from streamcolor.media.atomic import replaced


def checksum(path: Path | None) -> str:
    """SHA-256 of a file of weights, "none" without one. Raises InputError when it cannot be read."""
    try:
        return "none" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def write_card(
    output: Path,
    model_id: str,
    network: nn.Module,
    *,
    recipe: Mapping[str, Any],
    pretrained: Mapping[str, str],
    data: Mapping[str, int],
) -> Path:
    """``card.yaml`` in the folder of a run. Raises OutputError when it cannot be written.

    pretrained: SHA-256 of the weights of each part that came from elsewhere, or "none". data: what was found in the
    folder, in numbers.
    """
    parameters = list(network.parameters())
    facts = {
        "model": model_id,
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "pretrained": dict(pretrained),
        "data": dict(data),
        "recipe": _plain(recipe),
        "streamcolor": __version__,
        "torch": str(torch.__version__),
    }
    with replaced(output / "card.yaml") as part:
        part.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    return output / "card.yaml"


def _plain(value: Any) -> Any:
    """As YAML knows it: paths become text, tuples lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
