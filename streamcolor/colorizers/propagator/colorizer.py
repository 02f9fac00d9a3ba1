"""``propagator`` behind the contract: entries of the cache become memories of the network and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Precision, Reference
from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.prior import shipped_network
from streamcolor.colorizers.prior.colorizer import look, told
from streamcolor.colorizers.prior.network import PriorNetwork, Seen
from streamcolor.colorizers.propagator.detail import detailed
from streamcolor.colorizers.propagator.encoder import BIG, SMALL
from streamcolor.colorizers.propagator.foresight import Foresight, Scouted
from streamcolor.colorizers.propagator.memory import Memory
from streamcolor.colorizers.propagator.motion import Followed, Motion, carry
from streamcolor.colorizers.propagator.movers import Movers
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.tracks import Float32
from streamcolor.frame import Chroma

# How far a query looks in the frame before it and in older ones, in cells of stride 8 (pixels / 8).
RECENT_RADIUS = 3
OLDER_RADIUS = 12
# What trust is worth as confidence where nothing guides: the model has learned to go on with what came before, and it
# cannot know that this was a guess too.
UNGUIDED = 0.25
# Mean confidence of a frame: up to the first of these, colors that are not sure lean on the prior in full, from the
# second on not at all. The prior is a candidate of the fusion too, but the fusion has been trained on runs of a dozen
# frames: after fifty on its own colors it is too bold.
KNOWN = (0.4, 0.75)
# How far a place goes to the guess, and the trust up to which it goes all that way and from which on it stays at what
# the fusion made of all: a mean of candidates that disagree is grey, of red and navy for a coat, of green and sky for
# leaves. What is remembered for the next frame is that mean all the same.
GUESS_SHARE = 0.5
UNSURE = (0.45, 0.6)
# The prior looks at every so many frames, in between it stays: things do not change what they are.
GUESS_EVERY = 4
# Confidence in a color that flow has followed from a reference, where that is all there is.
TRACKED = 0.8
# Share of the prior of the frame before, where flow is believed: it looks at frames one by one, and would flicker.
STEADY = 0.85
# How many references a frame is colored from, and how many frames away one counts as near.
AT_ONCE = 3
NEAR = 48


class Propagator:
    """Attention over references and recent frames, and what flow follows; chroma at stride 2 of the working size."""

    info = ColorizerInfo(
        id="propagator",
        references=True,
        size=304,
        size_multiple=16,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
        bf16=True,
        linked=True,
    )

    size = SMALL

    def __init__(self, weights: Path, device: str = "cpu", precision: Precision = "fp32") -> None:
        """weights: a safetensors file of ``PropagatorNetwork``. Raises InputError when it is not one."""
        name = self.info.id
        network = loaded(PropagatorNetwork(self.size), read_weights(weights, name), weights, name)
        self._take(network, shipped_network(), device, precision)

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
        self._foresight = Foresight(ThreadPoolExecutor(1, "tracks"))

    def encode(self, reference: Reference) -> Entry:
        """Keys and colors of a reference; where it is transparent its colors are not trusted."""
        with torch.inference_mode(), self._autocast():
            light = self._scaled(reference.lightness)
            features = self.network.encoder(light, look(self.prior, light))
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

    def step(
        self, lightness: Tensor, cache: ReferenceCache, frame: int, following: Sequence[Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has stride 2.

        Of two frames that are averaged with each other the network looks at one, and at both where flow is lost.
        """
        here = np.array(lightness[0, 0].numpy())
        held = cache.rolling[-1] if cache.rolling else None
        guides = choose(cache.permanent, here, frame)
        scouted = self._foresight.ask(here, held, guides, frame)
        if not following:
            return self._look(lightness, cache, scouted)
        coming = [light[0, 0].numpy() for light in following]
        self._foresight.prepare(scouted, coming, lambda light, number: choose(cache.permanent, light, number))
        return self._rest(cache, scouted) if scouted.rests.result() else self._look(lightness, cache, scouted)

    def _look(self, lightness: Tensor, cache: ReferenceCache, scouted: Scouted) -> tuple[Chroma, Entry]:
        """Color a frame by all there is; what flow tells is awaited as late as possible."""
        here, guides, frame = scouted.here, scouted.guides, scouted.frame
        held = cache.rolling[-1].tensors if cache.rolling else None
        with torch.inference_mode(), self._autocast():
            light = self._scaled(lightness)
            seen = look(self.prior, light)
            features = self.network.encoder(light, seen)
            movers = scouted.arrived.result().movers
            references = self._guiding(guides, movers)
            recent = [
                _memory(entry, RECENT_RADIUS if frame - (entry.frame or 0) <= 1 else OLDER_RADIUS)
                for entry in cache.rolling
            ]
            moving8 = None if movers is None else self._there(movers.query())
            found = self.network.find(features, references, recent, moving8)
            guessed = self._guess(seen, features.light4, held, frame)
            course = scouted.course
            way = None if course.way4 is None else self._there(course.way4)
            motion = Motion(
                None if course.tracked4 is None else self._there(course.tracked4),
                None if way is None or held is None else carry(held["value4"], way),
            )
            output = self.network.blend(features, found, motion, guessed["guess4"])
            ab = (output.ab4.float() * AB_SCALE).clamp(-110, 110)
            trust = torch.sigmoid(output.trust_logit4.float())
            memory = Memory.of(features, ab / AB_SCALE, trust)
            if guides:
                guess = output.candidate("guess").float() * AB_SCALE
                ab = ab + GUESS_SHARE * share_below(UNSURE, trust) * (guess - ab)
            confidence = trust if guides else UNGUIDED * trust
            prior = averaged(guessed["guess4"].float(), None if held is None else held["prior4"], way)
            unknown = share_below(KNOWN, confidence.mean())
            ab = ab + unknown * (1 - confidence) * (prior * AB_SCALE - ab)
        shown = {"shown4": torch.cat([ab / AB_SCALE, confidence], 1), "prior4": prior}
        tensors = _tensors(memory) | course.tensors(rested=False) | guessed | shown
        chroma = _enlarged(ab, confidence, here, course.followed)
        return replace(chroma, link=course.link), Entry(tensors, frame)

    def _rest(self, cache: ReferenceCache, scouted: Scouted) -> tuple[Chroma, Entry]:
        """Color a frame by flow alone: from the references, else from the frame looked at last."""
        here, course, held = scouted.here, scouted.course, cache.rolling[-1].tensors
        assert course.way4 is not None
        with torch.inference_mode():
            carried = carry(held["shown4"], self._there(course.way4))
            ab, confidence = carried[:, :2] * AB_SCALE, carried[:, 2:3] * carried[:, 3:4]
            own = torch.zeros_like(confidence)
            if course.tracked4 is not None:
                tracked = self._there(course.tracked4)
                own = tracked[:, 2:3]
                ab = ab + own * (tracked[:, :2] * AB_SCALE - ab)
                confidence = torch.maximum(confidence, TRACKED * own)
        tensors = dict(held) | course.tensors(rested=True)
        chroma = _enlarged(ab, confidence, here, course.followed)
        return replace(chroma, link=course.link, own=_doubled(own)), Entry(tensors, scouted.frame)

    def _guiding(self, guides: Sequence[Entry], movers: Movers | None) -> list[Memory]:
        """The references as memories, with what is known of how their places move."""
        if movers is None:
            return [_memory(entry) for entry in guides]
        moved = [self._there(known) for known in movers.memories()]
        return [replace(_memory(entry), moved8=known) for entry, known in zip(guides, moved, strict=True)]

    def _guess(self, seen: Seen, light4: Tensor, held: Mapping[str, Tensor] | None, frame: int) -> dict[str, Tensor]:
        """What ``chroma-prior`` says of this or a late frame (1, 2, h/4, w/4), ab / 110, and of which."""
        if held is not None and frame - int(held["guessed"]) < GUESS_EVERY:
            return {name: held[name] for name in ("guess4", "guessed")}
        return {"guess4": told(self.prior, seen, light4), "guessed": torch.tensor(frame)}

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


def share_below(bounds: tuple[float, float], confidence: Tensor) -> Tensor:
    """How far to lean on something else, in [0, 1]: 1 up to the first of the bounds, 0 from the second, a ramp between.

    confidence: in [0, 1], of any shape, which is also that of the result.
    """
    low, high = bounds
    return ((high - confidence) / (high - low)).clamp(0, 1)


def averaged(prior: Tensor, before: Tensor | None, flow: Tensor | None) -> Tensor:
    """The prior of a frame (1, 2, h/4, w/4), averaged along the motion with that ``before``; flow: ``Way.reduced``."""
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

    So a frame costs the same whether its shot has three references or three hundred, and colors of places that the film
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


def _enlarged(ab: Tensor, trust: Tensor, here: Float32, followed: Followed | None) -> Chroma:
    """Stride 4 to stride 2, with detail. ab (1, 2, h/4, w/4), trust (1, 1, h/4, w/4), here (h, w) L*."""
    sharp = detailed(np.ascontiguousarray(ab[0].permute(1, 2, 0).numpy(force=True)), here, followed)
    fine = torch.from_numpy(np.ascontiguousarray(sharp.transpose(2, 0, 1)))
    return Chroma(fine.clamp(-110, 110), _doubled(trust))


def _doubled(share: Tensor) -> Tensor:
    """(1, 1, h/4, w/4) to (1, h/2, w/2), for a chroma."""
    return F.interpolate(share.cpu(), scale_factor=2, mode="bilinear", align_corners=False)[0]


def _memory(entry: Entry, radius: int = 0) -> Memory:
    held = entry.tensors
    return Memory(held["key4"], held["key8"], held["key16"], held["value4"], held["light4"], radius)


def _tensors(memory: Memory) -> dict[str, Tensor]:
    return {name: getattr(memory, name) for name in ("key4", "key8", "key16", "value4", "light4")}
