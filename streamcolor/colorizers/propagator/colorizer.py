"""``propagator`` behind the contract: entries of the cache become memories of the network and back."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.colorizers.propagator.matching import Memory
from streamcolor.colorizers.propagator.network import AB_SCALE, PropagatorNetwork
from streamcolor.errors import InputError
from streamcolor.frame import Chroma

# How far a query looks in the frame before it and in older ones, in cells of stride 8 (pixels / 8).
RECENT_RADIUS = 6
OLDER_RADIUS = 12


class Propagator:
    """Attention over references and recent frames; chroma at stride 4 of the working size."""

    info = ColorizerInfo(
        id="propagator",
        title="attention over references and recent frames (default)",
        paper="streamcolor",
        references=True,
        size=240,
        size_multiple=16,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        """weights: a safetensors file of ``PropagatorNetwork``. Raises InputError when it is not one."""
        self.device = torch.device(device)
        self.network = PropagatorNetwork()
        try:
            self.network.load_state_dict(load_file(weights))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise InputError(f"{weights} does not hold the weights of propagator") from error
        self.network.eval().requires_grad_(False).to(self.device)

    def encode(self, reference: Reference) -> Entry:
        """Keys and colors of a reference; where it is transparent its colors are not trusted."""
        with torch.inference_mode():
            features = self.network.encoder(self._scaled(reference.lightness))
            opaque = reference.opaque.to(self.device)
            trust = F.avg_pool2d(opaque, 4)
            ab = F.avg_pool2d(reference.ab.to(self.device) * opaque, 4) / trust.clamp_min(1e-3)
            memory = Memory.of(features, ab / AB_SCALE, trust)
        return Entry(_tensors(memory), reference.frame)

    def step(self, lightness: Tensor, cache: ReferenceCache, frame: int) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has stride 4."""
        with torch.inference_mode():
            features = self.network.encoder(self._scaled(lightness))
            references = [_memory(entry) for entry in cache.permanent]
            recent = [
                _memory(entry, RECENT_RADIUS if frame - (entry.frame or 0) <= 1 else OLDER_RADIUS)
                for entry in cache.rolling
            ]
            output = self.network(features, references, recent)
            trust = torch.sigmoid(output.trust_logit4)
            memory = Memory.of(features, output.ab4, trust)
            ab = (output.ab4[0] * AB_SCALE).clamp(-110, 110)
        return Chroma(ab.cpu(), trust[0].cpu()), Entry(_tensors(memory), frame)

    def _scaled(self, lightness: Tensor) -> Tensor:
        scaled = lightness.to(self.device) / 100 - 0.5
        return scaled.contiguous(memory_format=torch.channels_last)


def _memory(entry: Entry, radius: int = 0) -> Memory:
    held = entry.tensors
    return Memory(held["key4"], held["key8"], held["key16"], held["value4"], radius)


def _tensors(memory: Memory) -> dict[str, Tensor]:
    return {"key4": memory.key4, "key8": memory.key8, "key16": memory.key16, "value4": memory.value4}
