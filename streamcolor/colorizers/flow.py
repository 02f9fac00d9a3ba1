"""Colors carried by optical flow: the baseline that every learned model must beat.

For every reference an accumulated map says where each pixel of the frame lies in it, with a confidence. The maps
follow the flow from frame to frame (DIS: Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse
Search", 2016) and are anchored to the reference again before they drift; colors are sampled once from the
reference, never from a colored frame, so they do not blur. The film comes in one direction only: a reference that lies
ahead is reached by direct flow, checked forwards and backwards, at the first frame and at every anchoring.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.colorizers.levin import spread_strokes
from streamcolor.frame import Chroma

Float32 = NDArray[np.float32]
Grey = NDArray[np.uint8]

ANCHOR_EVERY = 8
ANCHOR_BELOW = 0.6
DECAY = 0.98
KNOWN = 0.05
# Largest difference in L* between a pixel and the one it is said to come from.
LIGHTNESS_TOLERANCE = 12.0
# Long side at which holes are filled.
_FILL_SIDE = 128


def flow_between(a: Grey, b: Grey, start: Float32 | None = None) -> Float32:
    """(h, w, 2) displacement in pixels: what lies at x in ``a`` lies at x + flow in ``b``. start: first guess."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    guess = None if start is None else np.ascontiguousarray(start)
    return np.asarray(dis.calc(a, b, guess), np.float32)


def sample(values: Float32, flow: Float32) -> Float32:
    """Values (h, w) or (h, w, c) at x + flow, bilinear; beyond the border its nearest pixel."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    moved = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def agreement(forth: Float32, back: Float32, here: Float32, there: Float32) -> tuple[NDArray[np.bool_], Float32]:
    """Where a flow is to be believed, and its forward-backward residual in pixels, (h, w) each.

    |f + b(x + f)|^2 <= 0.01 (|f|^2 + |b(x + f)|^2) + 0.5, the lightness agrees within 12, and x + f is inside.
    """
    height, width = here.shape
    returned = sample(back, forth)
    residual = ((forth + returned) ** 2).sum(-1)
    loop = residual <= 0.01 * ((forth**2).sum(-1) + (returned**2).sum(-1)) + 0.5
    alike = np.abs(here - sample(there, forth)) <= LIGHTNESS_TOLERANCE
    x = np.arange(width) + forth[..., 0]
    y = np.arange(height)[:, None] + forth[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return loop & alike & inside, np.asarray(np.sqrt(residual), np.float32)


class Flow:
    """DIS flow from the references, anchored and checked; holes are filled from what is known around them."""

    info = ColorizerInfo(
        id="flow",
        title="optical flow (DIS) from the references, confidence-checked",
        paper="streamcolor",
        references=True,
        size=480,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def encode(self, reference: Reference) -> Entry:
        """The reference as it is: flow needs its picture and its colors."""
        tensors = {
            "lightness": reference.lightness[0, 0].contiguous(),
            "ab": reference.ab[0].permute(1, 2, 0).contiguous(),
            "opaque": reference.opaque[0, 0].contiguous(),
        }
        return Entry(tensors, reference.frame)

    def step(self, lightness: Tensor, cache: ReferenceCache, frame: int) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has the working size."""
        here = np.ascontiguousarray(lightness[0, 0].numpy())
        if not cache.permanent:
            empty = torch.zeros(2, *here.shape)
            return Chroma(empty, empty[:1].clone()), None
        held = cache.rolling[-1].tensors if cache.rolling else None
        maps, trust, entered, followed, believed = self._follow(here, held, len(cache.permanent), frame)
        for number, entry in enumerate(cache.permanent):
            age = abs(frame - (entry.frame if entry.frame is not None else int(entered[number])))
            if number >= (0 if held is None else len(held["entered"])):
                maps[number], trust[number] = self._anchor(here, entry, None, trust[number])
            elif age % ANCHOR_EVERY == 0 or trust[number].mean() < ANCHOR_BELOW:
                maps[number], trust[number] = self._anchor(here, entry, maps[number], trust[number])
        same = [np.array_equal(here, entry.tensors["lightness"].numpy()) for entry in cache.permanent]
        if any(same):
            # The frame is a reference: nobody else has a say.
            trust[np.logical_not(same)] = 0
        ab, confidence = self._colors(here, cache, maps, trust, entered, frame)
        unknown = confidence < KNOWN
        if held is not None:
            carried = unknown & believed
            ab[carried] = sample(held["ab"].numpy(), followed)[carried]
            unknown &= ~believed
        if unknown.any():
            ab = fill(here, ab, unknown)
        state = {
            "lightness": lightness[0, 0].clone(),
            "ab": torch.from_numpy(ab),
            "maps": torch.from_numpy(maps),
            "trust": torch.from_numpy(trust),
            "entered": torch.from_numpy(entered),
        }
        colors = torch.from_numpy(np.ascontiguousarray(ab.transpose(2, 0, 1)))
        certain = torch.from_numpy(np.minimum(confidence, 1.0))[None]
        return Chroma(colors, certain), Entry(state, frame)

    def _follow(
        self, here: Float32, held: Mapping[str, Tensor] | None, count: int, frame: int
    ) -> tuple[Float32, Float32, NDArray[np.int64], Float32, NDArray[np.bool_]]:
        """Maps (K, h, w, 2) and trust (K, h, w) moved on by the flow to the frame before, and that flow."""
        height, width = here.shape
        maps, trust = np.zeros((count, height, width, 2), np.float32), np.zeros((count, height, width), np.float32)
        entered = np.full(count, frame, np.int64)
        if held is None:
            return maps, trust, entered, np.zeros((height, width, 2), np.float32), np.zeros(here.shape, bool)
        before = held["lightness"].numpy()
        back = flow_between(to_grey(here), to_grey(before))
        forth = flow_between(to_grey(before), to_grey(here))
        believed, _ = agreement(back, forth, here, before)
        for number in range(min(count, len(held["entered"]))):
            maps[number] = back + sample(held["maps"][number].numpy(), back)
            trust[number] = DECAY * believed * sample(held["trust"][number].numpy(), back)
            entered[number] = int(held["entered"][number])
        return maps, trust, entered, back, believed

    def _anchor(self, here: Float32, entry: Entry, start: Float32 | None, trust: Float32) -> tuple[Float32, Float32]:
        """Flow straight to the reference, from a first guess where there is one; believed where it comes back."""
        there = entry.tensors["lightness"].numpy()
        if np.array_equal(here, there):
            return np.zeros((*here.shape, 2), np.float32), np.ones(here.shape, np.float32)
        forth = flow_between(to_grey(here), to_grey(there), start)
        back = flow_between(to_grey(there), to_grey(here), None if start is None else -start)
        believed, residual = agreement(forth, back, here, there)
        kept = forth if start is None else np.where(believed[..., None], forth, start)
        return np.asarray(kept, np.float32), np.asarray(
            np.where(believed, np.maximum(trust, np.exp(-residual / 2)), trust), np.float32
        )

    def _colors(
        self,
        here: Float32,
        cache: ReferenceCache,
        maps: Float32,
        trust: Float32,
        entered: NDArray[np.int64],
        frame: int,
    ) -> tuple[Float32, Float32]:
        """Mean of what the references say (h, w, 2), by trust and nearness in time, and the sum of trust (h, w)."""
        total = np.zeros((*here.shape, 1), np.float32)
        ab = np.zeros((*here.shape, 2), np.float32)
        certain = np.zeros(here.shape, np.float32)
        for number, entry in enumerate(cache.permanent):
            opaque = sample(entry.tensors["opaque"].numpy(), maps[number])
            sure = trust[number] * (opaque > 0.5)
            since = abs(frame - (entry.frame if entry.frame is not None else int(entered[number])))
            weight = (sure / (1 + since))[..., None]
            ab += weight * sample(entry.tensors["ab"].numpy(), maps[number])
            total += weight
            certain += sure
        return np.asarray(ab / np.maximum(total, 1e-12), np.float32), certain


def to_grey(lightness: Float32) -> Grey:
    """The picture that flow sees: round(2.55 L*)."""
    return np.asarray(np.rint(lightness * 2.55), np.uint8)


def fill(lightness: Float32, ab: Float32, unknown: NDArray[np.bool_]) -> Float32:
    """Colors for unknown pixels from the known ones: spread at small size (``levin``), enlarged along luma edges.

    ab: (h, w, 2). Without any known pixel the unknown ones are grey.
    """
    height, width = lightness.shape
    scale = min(1.0, _FILL_SIDE / max(height, width))
    size = (max(round(width * scale), 2), max(round(height * scale), 2))
    known = cv2.resize((~unknown).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    result = np.array(ab, np.float32)
    if not (known > 0.5).any():
        result[unknown] = 0
        return result
    light = np.asarray(cv2.resize(lightness, size, interpolation=cv2.INTER_AREA), np.float32)
    colors = cv2.resize(ab * ~unknown[..., None], size, interpolation=cv2.INTER_AREA)
    colors = colors / np.maximum(known[..., None], 1e-6)
    spread = spread_strokes(light, np.asarray(colors.transpose(2, 0, 1), np.float32), known > 0.5)
    large = cv2.resize(np.ascontiguousarray(spread.transpose(1, 2, 0)), (width, height), interpolation=cv2.INTER_LINEAR)
    result[unknown] = large[unknown]
    return result
