"""``propagator`` behind the contract: entries of the cache become memories of the network and back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.colorizers.propagator.matching import Memory
from streamcolor.colorizers.propagator.network import AB_SCALE, PropagatorNetwork
from streamcolor.colorizers.tracks import Float32, Tracks
from streamcolor.errors import InputError
from streamcolor.frame import Chroma

# Weight of a color that flow has followed without doubt; measured best between 0.8 and 1 (train/LOG.md).
TRACKED = 0.85
# How far a query looks in the frame before it and in older ones, in cells of stride 8 (pixels / 8).
RECENT_RADIUS = 6
OLDER_RADIUS = 12


class Propagator:
    """Attention over references and recent frames; chroma at stride 4 of the working size."""

    info = ColorizerInfo(
        id="propagator",
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
        self._beside = ThreadPoolExecutor(1, "tracks")
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
        picture = {
            "lightness": reference.lightness[0, 0].contiguous(),
            "ab": reference.ab[0].permute(1, 2, 0).contiguous(),
            "opaque": reference.opaque[0, 0].contiguous(),
            "identity": torch.tensor(reference.identity),
        }
        return Entry(_tensors(memory) | picture, reference.frame)

    def step(self, lightness: Tensor, cache: ReferenceCache, frame: int) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has stride 4."""
        here = np.array(lightness[0, 0].numpy())
        held = cache.rolling[-1].tensors if cache.rolling else None
        # Flow needs no torch: it runs beside the network.
        following = self._beside.submit(Tracks.follow, here, held, cache.permanent, frame) if cache.permanent else None
        with torch.inference_mode():
            features = self.network.encoder(self._scaled(lightness))
            references = [_memory(entry) for entry in cache.permanent]
            recent = [
                _memory(entry, RECENT_RADIUS if frame - (entry.frame or 0) <= 1 else OLDER_RADIUS)
                for entry in cache.rolling
            ]
            output = self.network(features, references, recent)
            ab, trust = output.ab4 * AB_SCALE, torch.sigmoid(output.trust_logit4)
            state = {}
            if following is not None:
                tracks = following.result()
                ab, trust = self._follow_tracks(ab, trust, *tracks.colors(cache.permanent, frame))
                state = tracks.tensors(here)
            ab = ab.clamp(-110, 110)
            memory = Memory.of(features, ab / AB_SCALE, trust)
        return Chroma(ab[0].cpu(), trust[0].cpu()), Entry(_tensors(memory) | state, frame)

    def _follow_tracks(self, ab: Tensor, trust: Tensor, tracked: Float32, certain: Float32) -> tuple[Tensor, Tensor]:
        """Where flow can follow a pixel back to a reference, its color there weighs ``TRACKED``; the network the rest.

        tracked: (h, w, 2) and certain: (h, w) as ``Tracks.colors`` gives them. ab, trust: (1, c, h/4, w/4).
        """
        sure = torch.from_numpy(certain)[None, None].to(self.device)
        colors = torch.from_numpy(tracked).permute(2, 0, 1)[None].to(self.device)
        share = F.avg_pool2d(sure, 4)
        followed = F.avg_pool2d(colors * sure, 4) / share.clamp_min(1e-3)
        weight = TRACKED * share
        return ab + weight * (followed - ab), trust + weight * (1 - trust)

    def _scaled(self, lightness: Tensor) -> Tensor:
        scaled = lightness.to(self.device) / 100 - 0.5
        return scaled.contiguous(memory_format=torch.channels_last)


def _memory(entry: Entry, radius: int = 0) -> Memory:
    held = entry.tensors
    return Memory(held["key4"], held["key8"], held["key16"], held["value4"], radius)


def _tensors(memory: Memory) -> dict[str, Tensor]:
    return {"key4": memory.key4, "key8": memory.key8, "key16": memory.key16, "value4": memory.value4}
