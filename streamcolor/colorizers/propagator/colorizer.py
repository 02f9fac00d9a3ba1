"""``propagator`` behind the contract: entries of the cache become memories of the network and back."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Precision, Reference
from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.prior import shipped_network
from streamcolor.colorizers.prior.colorizer import guess
from streamcolor.colorizers.prior.network import PriorNetwork
from streamcolor.colorizers.propagator.detail import FINE, detailed
from streamcolor.colorizers.propagator.encoder import BIG, SMALL
from streamcolor.colorizers.propagator.matching import Memory
from streamcolor.colorizers.propagator.motion import Followed, Motion, carry, flow_before, link_of
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.tracks import Float32, Tracks
from streamcolor.errors import InputError
from streamcolor.frame import Chroma, Link

# How far a query looks in the frame before it and in older ones, in cells of stride 8 (pixels / 8).
RECENT_RADIUS = 6
OLDER_RADIUS = 12
# What trust is worth as confidence where nothing guides: the model has learned to go on with what came before, and it
# cannot know that this was a guess too.
UNGUIDED = 0.25
# Mean confidence of a frame: up to the first of these, colors that are not sure lean on the prior in full, from the
# second on not at all. The prior is a candidate of the fusion too, but the fusion has been trained on runs of a dozen
# frames: after fifty on its own colors it is too bold.
KNOWN = (0.4, 0.75)
# Share of the prior of the frame before, where flow is believed: it looks at each frame anew, and would flicker.
STEADY = 0.85
# How many references a frame is colored from, and how many frames away one counts as near.
AT_ONCE = 4
NEAR = 48


class Propagator:
    """Attention over references and recent frames; chroma at stride 4 of the working size."""

    info = ColorizerInfo(
        id="propagator",
        references=True,
        size=288,
        size_multiple=16,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
        bf16=True,
        linked=True,
    )

    size = SMALL

    def __init__(self, weights: Path, device: str = "cpu", precision: Precision = "fp32") -> None:
        """weights: a safetensors file of ``PropagatorNetwork``. Raises InputError when it is not one."""
        network = PropagatorNetwork(self.size)
        try:
            network.load_state_dict(load_file(weights))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise InputError(f"{weights} does not hold the weights of {self.info.id}") from error
        self._take(network.eval().requires_grad_(False), shipped_network(), device, precision)

    @classmethod
    def around(
        cls,
        network: PropagatorNetwork,
        prior: PriorNetwork,
        device: str = "cpu",
        precision: Precision = "fp32",
    ) -> Propagator:
        """A colorizer that works with networks as they are, in training for one."""
        colorizer = cls.__new__(cls)
        colorizer._take(network, prior, device, precision)
        return colorizer

    def _take(self, network: PropagatorNetwork, prior: PriorNetwork, device: str, precision: Precision) -> None:
        self.device = torch.device(device)
        self.precision = precision
        # Both pictures and weights: oneDNN otherwise reorders the weights at every convolution.
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.network: PropagatorNetwork = network.to(self.device, **layout)
        self.prior: PriorNetwork = prior.to(self.device, **layout)
        self._beside = ThreadPoolExecutor(1, "tracks")

    def encode(self, reference: Reference) -> Entry:
        """Keys and colors of a reference; where it is transparent its colors are not trusted."""
        with torch.inference_mode(), self._autocast():
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
            "thumbnail": thumbnail(reference.lightness[0, 0].numpy()),
        }
        return Entry(_tensors(memory) | picture, reference.frame)

    def step(self, lightness: Tensor, cache: ReferenceCache, frame: int) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has stride 2."""
        here = np.array(lightness[0, 0].numpy())
        held = cache.rolling[-1] if cache.rolling else None
        guides = choose(cache.permanent, here, frame)
        # Flow needs no torch: it runs beside the network.
        following = self._beside.submit(_follow, here, held, guides, frame)
        with torch.inference_mode(), self._autocast():
            features = self.network.encoder(self._scaled(lightness))
            references = [_memory(entry) for entry in guides]
            recent = [
                _memory(entry, RECENT_RADIUS if frame - (entry.frame or 0) <= 1 else OLDER_RADIUS)
                for entry in cache.rolling
            ]
            found = self.network.find(features, references, recent)
            prior = guess(self.prior, self._scaled(lightness), features.light4)
            tracks, followed, flow, link = following.result()
            moved = None if flow is None else self._there(flow)
            motion = Motion(
                None if followed is None else self._there(followed.candidate()),
                None if moved is None or held is None else carry(held.tensors["value4"], moved),
            )
            output = self.network.blend(features, found, motion, prior)
            ab = (output.ab4.float() * AB_SCALE).clamp(-110, 110)
            trust = torch.sigmoid(output.trust_logit4.float())
            memory = Memory.of(features, ab / AB_SCALE, trust)
            confidence = trust if guides else UNGUIDED * trust
            prior = averaged(prior.float(), None if held is None else held.tensors["prior4"], moved)
            ab = ab + unknown_share(confidence) * (1 - confidence) * (prior * AB_SCALE - ab)
        tensors = _tensors(memory) | tracks.tensors(here) | {"prior4": prior}
        return replace(_enlarged(ab, confidence, here, followed), link=link), Entry(tensors, frame)

    def _autocast(self) -> torch.autocast:
        """Mixed precision where it is asked for; colors and trust are kept in float32 all the same."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32")

    def _there(self, values: Float32) -> Tensor:
        return torch.from_numpy(values)[None].to(self.device)

    def _scaled(self, lightness: Tensor) -> Tensor:
        scaled = lightness.to(self.device) / 100 - 0.5
        return scaled.contiguous(memory_format=torch.channels_last)


class PropagatorBig(Propagator):
    """The same with three times the width: for a GPU, or for films that may take their time."""

    info = replace(Propagator.info, id="propagator-b")
    size = BIG


def unknown_share(confidence: Tensor) -> Tensor:
    """() in [0, 1]: how far the unsure colors of a frame of this confidence (1, 1, h, w) lean on the prior."""
    low, high = KNOWN
    return ((high - confidence.mean()) / (high - low)).clamp(0, 1)


def averaged(prior: Tensor, before: Tensor | None, flow: Tensor | None) -> Tensor:
    """The prior of a frame (1, 2, h/4, w/4), averaged along the motion with that ``before``; flow: ``flow_before``."""
    if before is None or flow is None:
        return prior
    return prior + STEADY * flow[:, 2:3] * (carry(before, flow)[:, :2] - prior)


def thumbnail(lightness: Float32) -> Tensor:
    """(9, 16) of L* (h, w), mean 0 and norm 1: the scalar product of two is their correlation."""
    small = cv2.resize(lightness, (16, 9), interpolation=cv2.INTER_AREA)
    small = small - small.mean()
    return torch.from_numpy(np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32))


def choose(references: Sequence[Entry], here: Float32, frame: int) -> Sequence[Entry]:
    """At most ``AT_ONCE`` of the references: those near in time, then the most alike; in their order in the cache.

    So a frame costs the same whether its shot has four references or four hundred, and colors of places that the film
    has left long ago do not wash out those of the place it is in.
    """
    if len(references) <= AT_ONCE:
        return references
    likeness = (
        torch.stack([entry.tensors["thumbnail"].cpu() for entry in references]).flatten(1) @ thumbnail(here).flatten()
    )
    near = [entry.frame is not None and abs(entry.frame - frame) <= NEAR for entry in references]
    distance = [abs((entry.frame or 0) - frame) if close else 0 for entry, close in zip(references, near, strict=True)]
    order = sorted(range(len(references)), key=lambda n: (not near[n], distance[n], -float(likeness[n])))
    return [references[n] for n in sorted(order[:AT_ONCE])]


def _follow(
    here: Float32, held: Entry | None, references: Sequence[Entry], frame: int
) -> tuple[Tracks, Followed | None, Float32 | None, Link | None]:
    """Tracks of a frame, what ``Motion`` is made of (tracked colors, flow to the frame before), and ``Chroma.link``."""
    before = None if held is None else held.tensors
    tracks = Tracks.follow(here, before, references, frame, fine=True)
    followed = Followed.of(tracks, here, references, frame) if references else None
    return (
        tracks,
        followed,
        flow_before(tracks, here, None if before is None else before["lightness"].numpy(force=True)),
        # Where frames in between were not colored, what is held is older than the frame before.
        link_of(tracks, FINE) if held is not None and held.frame == frame - 1 else None,
    )


def _enlarged(ab: Tensor, trust: Tensor, here: Float32, followed: Followed | None) -> Chroma:
    """Stride 4 to stride 2, with detail. ab (1, 2, h/4, w/4), trust (1, 1, h/4, w/4), here (h, w) L*."""
    sharp = detailed(np.ascontiguousarray(ab[0].permute(1, 2, 0).numpy(force=True)), here, followed)
    fine = torch.from_numpy(np.ascontiguousarray(sharp.transpose(2, 0, 1)))
    confidence = F.interpolate(trust.cpu(), scale_factor=2, mode="bilinear", align_corners=False)[0]
    return Chroma(fine.clamp(-110, 110), confidence)


def _memory(entry: Entry, radius: int = 0) -> Memory:
    held = entry.tensors
    return Memory(held["key4"], held["key8"], held["key16"], held["value4"], held["light4"], radius)


def _tensors(memory: Memory) -> dict[str, Tensor]:
    return {name: getattr(memory, name) for name in ("key4", "key8", "key16", "value4", "light4")}
