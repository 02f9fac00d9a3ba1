"""Colors carried by optical flow alone: the baseline that every learned model must beat.

``tracks`` says where a pixel lies in the references; what it cannot say is taken from the frame before along the
flow, and what that cannot say either is filled from its surroundings (``levin``).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.colorizers.levin import spread_strokes
from streamcolor.colorizers.tracks import Float32, Tracks, sample
from streamcolor.frame import Chroma

KNOWN = 0.05
# Long side at which holes are filled.
_FILL_SIDE = 128


class Flow:
    """DIS flow from the references, anchored and checked; holes are filled from what is known around them."""

    info = ColorizerInfo(
        id="flow",
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
            "identity": torch.tensor(reference.identity),
        }
        return Entry(tensors, reference.frame)

    def step(
        self, lightness: Tensor, cache: ReferenceCache, frame: int, following: Sequence[Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has the working size."""
        here = np.array(lightness[0, 0].numpy())
        if not cache.permanent:
            empty = torch.zeros(2, *here.shape)
            return Chroma(empty, empty[:1].clone()), None
        held = cache.rolling[-1].tensors if cache.rolling else None
        tracks = Tracks.follow(here, held, cache.permanent, frame)
        ab, confidence = tracks.colors(cache.permanent, frame)
        unknown = confidence < KNOWN
        if held is not None and tracks.between is not None:
            carried = unknown & tracks.between.believed
            ab[carried] = sample(held["colored"].numpy(), tracks.between.back)[carried]
            unknown &= ~tracks.between.believed
        if unknown.any():
            ab = fill(here, ab, unknown)
        state = tracks.tensors(here) | {"colored": torch.from_numpy(ab)}
        colors = torch.from_numpy(np.ascontiguousarray(ab.transpose(2, 0, 1)))
        return Chroma(colors, torch.from_numpy(confidence)[None]), Entry(state, frame)


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
