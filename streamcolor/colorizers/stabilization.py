"""Steady colors from networks that color every frame for itself.

Within a shot, what a network says of a place is averaged along the motion: the chroma of the frame before is moved by
optical flow to where it is now, and where that flow can be believed it counts as n frames and the new chroma as one,
n being the number of frames in which the place has been followed, up to ``SPAN - 1``. So a place keeps the mean of the
last frames, single frames cannot flicker, and a place that comes into sight has the color the network gives it. After
a cut, and when a reference comes in, the averaging starts anew.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Precision, Reference
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.tracks import Float32, agreement, flow_between, sample, to_grey
from streamcolor.frame import Chroma

Network = TypeVar("Network", bound=nn.Module)
Self = TypeVar("Self", bound="FrameWise")  # type: ignore[type-arg]

SPAN = 8
"""The chroma of a frame weighs at least 1 / SPAN."""

GUIDED, GUESSED = 0.3, 0.1
"""Confidence of networks that do not say how sure they are: a reference makes a color likelier than none."""

# Belief fades over so many pixels (standard deviation) towards the border of a region, so that no seam shows.
_SOFT = 2.0
# A flow that is believed in less of the picture than this is chance: a cut that nobody noticed, or a flash.
_LEAST_BELIEVED = 0.25


def frame_wise(model_id: str, *, references: bool, size: int = 256) -> ColorizerInfo:
    """What a caller must know of a model that colors every frame for itself, of any size: see ``ColorizerInfo``."""
    return ColorizerInfo(model_id, references, size, 1, "Apache-2.0", CachePolicy(recent=1))


class FrameWise(ABC, Generic[Network]):
    """A network that colors every frame for itself, behind the contract; its policy keeps one recent entry.

    A model says in ``network_for`` which network some weights are of, in ``color`` what it makes of a frame and, if
    references guide it, in ``encode`` what is kept of one.
    """

    info: ColorizerInfo
    at_once: ClassVar[int] = 4
    """Most references that a frame is colored from, so that a shot may have any number of them."""

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of the model's network. stabilize: average the chroma along the motion.

        Raises InputError when it is the file of something else.
        """
        tensors = read_weights(weights, self.info.id)
        network = loaded(self.network_for(tensors), tensors, weights, self.info.id)
        self._work_with(network, device, precision, stabilize=stabilize)

    @classmethod
    def around(
        cls: type[Self], network: Network, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> Self:
        """A colorizer that works with a network in evaluation mode as it is, without a file of weights."""
        colorizer = cls.__new__(cls)
        colorizer._work_with(network, device, precision, stabilize=stabilize)
        return colorizer

    def _work_with(self, network: Network, device: str, precision: Precision, *, stabilize: bool) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.precision = precision
        self.stabilize = stabilize

    @classmethod
    @abstractmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> Network:
        """A network of the size that these weights, by their names and shapes, were trained at.

        Where they do not tell, it is that of the paper, and then they do not fit.
        """

    def encode(self, reference: Reference) -> Entry:
        """See ``Colorizer.encode``; a model that nothing guides keeps nothing of it."""
        return Entry({}, reference.frame)

    @abstractmethod
    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """The chroma of one frame, by nothing but its lightness (1, 1, h, w) and these references; float32 on the CPU.

        Called in inference mode and under ``autocast``.
        """

    def step(
        self, lightness: Tensor, cache: ReferenceCache, frame: int, following: Sequence[Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``."""
        with torch.inference_mode(), self.autocast():
            chroma = self.color(lightness, nearest(cache.permanent, frame, self.at_once))
        return steadied(chroma, lightness, cache, frame) if self.stabilize else (chroma, None)

    def autocast(self) -> torch.autocast:
        """Mixed precision where it is asked for."""
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=self.precision != "fp32")


def evenly(ab: Tensor, confidence: float) -> Chroma:
    """Chroma from a* and b* (2, h, w) on any device, clipped to [-110, 110], with one confidence everywhere."""
    ab = ab.float().clamp(-110, 110).cpu()
    return Chroma(ab, torch.full((1, *ab.shape[1:]), confidence))


def nearest(references: Sequence[Entry], frame: int, count: int) -> Sequence[Entry]:
    """At most ``count`` references, in their order: those nearest in time, and then those without a place in it."""
    if len(references) <= count:
        return references
    distance = [math.inf if entry.frame is None else abs(entry.frame - frame) for entry in references]
    chosen = sorted(range(len(references)), key=lambda number: distance[number])[:count]
    return [references[number] for number in sorted(chosen)]


def steadied(chroma: Chroma, lightness: Tensor, cache: ReferenceCache, frame: int) -> tuple[Chroma, Entry]:
    """The chroma of a frame averaged along the motion, and what the next frame needs of it.

    chroma: (2, h / s, w / s) for lightness (1, 1, h, w). cache: its newest rolling entry is that of the frame before.
    """
    here = np.ascontiguousarray(lightness[0, 0].numpy())
    fresh = np.ascontiguousarray(chroma.ab.permute(1, 2, 0).numpy())
    followed = np.zeros(fresh.shape[:2], np.float32)
    held = cache.rolling[-1].tensors if cache.rolling else None
    if held is not None and int(held["references"]) == len(cache.permanent):
        back, belief = _motion(here, held["lightness"].numpy(), fresh.shape[:2])
        followed = np.asarray(belief * sample(held["followed"].numpy(), back), np.float32)
        before = sample(held["ab"].numpy(), back)
        fresh = (fresh + followed[..., None] * before) / (1 + followed[..., None])
    ab = torch.from_numpy(np.ascontiguousarray(fresh.transpose(2, 0, 1)))
    tensors = {
        "lightness": torch.from_numpy(here),
        "ab": torch.from_numpy(fresh),
        "followed": torch.from_numpy(np.minimum(followed + 1, SPAN - 1)),
        "references": torch.tensor(len(cache.permanent)),
    }
    return Chroma(ab, chroma.confidence), Entry(tensors, frame)


def _motion(here: Float32, before: Float32, shape: tuple[int, int]) -> tuple[Float32, Float32]:
    """Flow (h', w', 2) to the frame before and how far it is believed (h', w') in [0, 1], at the chroma's ``shape``."""
    now, then = to_grey(here), to_grey(before)
    back, forth = flow_between(now, then), flow_between(then, now)
    believed, _ = agreement(back, forth, here, before)
    if believed.mean() < _LEAST_BELIEVED:
        believed[:] = False
    belief = believed * cv2.GaussianBlur(believed.astype(np.float32), (0, 0), _SOFT)
    if shape != here.shape:
        scale = np.array([shape[1] / here.shape[1], shape[0] / here.shape[0]], np.float32)
        back = cv2.resize(back, shape[::-1], interpolation=cv2.INTER_AREA) * scale
        belief = cv2.resize(belief, shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(back, np.float32), np.asarray(belief, np.float32)
