"""What optical flow says of a frame, at the stride of the chroma: two more candidates for the fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.tracks import Between, Float32, Tracks, sample
from streamcolor.frame import Link

STRIDE = 4
# What a pixel that flow has lost counts for beside one that it holds, where a cell has both.
LOST = 0.01
# The longest pause, in frames, between attempts to find a reference of which flow holds little.
PATIENCE = 32


def follow(
    here: Float32,
    held: Mapping[str, Tensor] | None,
    references: Sequence[Entry],
    frame: int,
    between: Between | None = None,
) -> Tracks:
    """``Tracks.follow`` as this model has it: down to single pixels, with patience, one reference at a time."""
    return Tracks.follow(here, held, references, frame, fine=True, patience=PATIENCE, most=1, between=between)


@dataclass(frozen=True, slots=True)
class Motion:
    """Candidates from flow at stride 4, ab in units of 110; None where there is nothing to follow.

    tracked: (B, 4, h/4, w/4): color in the references, how far it is believed, difference in L* / 100.
    carried: (B, 5, h/4, w/4): color of the frame looked at last and trust in it, belief in the flow, difference.
    """

    tracked: Tensor | None = None
    carried: Tensor | None = None

    TRACKED: ClassVar[int] = 4
    CARRIED: ClassVar[int] = 5

    def filled(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Both, zeros where there is none."""
        batch, _, height, width = like.shape
        tracked, carried = (
            like.new_zeros(batch, count, height, width) if held is None else held
            for held, count in ((self.tracked, self.TRACKED), (self.carried, self.CARRIED))
        )
        return tracked, carried


@dataclass(frozen=True, slots=True)
class Followed:
    """What tracks say of a frame at working size: ab (h, w, 2), how far it is believed (h, w), |difference of L*|."""

    ab: Float32
    certain: Float32
    gap: Float32

    @classmethod
    def of(cls, tracks: Tracks, here: Float32, references: Sequence[Entry], frame: int) -> Followed:
        ab, certain, there = tracks.colors_and_lightness(references, frame)
        return cls(ab, certain, np.abs(here - there))

    def reduced(self, stride: int) -> tuple[Float32, Float32]:
        """Colors (h/s, w/s, 2), the mean of what is believed in each cell, and the mean belief (h/s, w/s)."""
        weight = np.maximum(self.certain, LOST)
        return pool(self.ab * weight[..., None], stride) / pool(weight, stride)[..., None], pool(self.certain, stride)

    def candidate(self) -> Float32:
        """(4, h/4, w/4) as in ``Motion.tracked``."""
        color, certain = self.reduced(STRIDE)
        return np.stack([color[..., 0] / 110, color[..., 1] / 110, certain, pool(self.gap, STRIDE) / 100])


@dataclass(frozen=True, slots=True)
class Way:
    """Where the places of a frame lay in the last one that the network looked at, which ``seen`` is the L* (h, w) of.

    flow: (h, w, 2) pixels, x + flow lies in that frame. believed: (h, w) in [0, 1].
    """

    flow: Float32
    believed: Float32
    seen: Float32

    @classmethod
    def back(cls, between: Between, held: Mapping[str, Tensor]) -> Way:
        """The way of a frame, by the flow to the one before and by what is ``held`` of that (see ``tensors``)."""
        if "way" not in held:
            return cls(between.back, between.believed.astype(np.float32), held["lightness"].numpy(force=True))
        flow, believed, seen = (held[name].numpy(force=True) for name in ("way", "way_believed", "seen"))
        onward = sample(flow, between.back)
        return cls(between.back + onward, between.believed * sample(believed, between.back), seen)

    def tensors(self) -> dict[str, Tensor]:
        """What the next frame needs when the network did not look at this one."""
        named = {"way": self.flow, "way_believed": self.believed, "seen": self.seen}
        return {name: torch.from_numpy(values) for name, values in named.items()}

    def reduced(self, here: Float32) -> Float32:
        """(4, h/4, w/4): the flow in cells of stride 4 (x, y), belief, difference in L* / 100 from ``here`` (h, w)."""
        gap = np.abs(here - sample(self.seen, self.flow))
        flow = pool(self.flow, STRIDE) / STRIDE
        return np.stack([flow[..., 0], flow[..., 1], pool(self.believed, STRIDE), pool(gap, STRIDE) / 100])


def link_of(between: Between, stride: int) -> Link:
    """The flow between a frame and the one before it, both ways, in cells of ``stride`` pixels."""
    flows = (pool(flow, stride) / np.float32(stride) for flow in (between.back, between.forth))
    beliefs = (pool(held.astype(np.float32), stride) for held in (between.believed, between.returned))
    return Link(*flows, *beliefs)


def carry(value4: Tensor, flow4: Tensor) -> Tensor:
    """``Motion.carried`` from the values of the frame looked at last (B, c, h/4, w/4) and ``Way.reduced`` (B, ...)."""
    _, _, height, width = value4.shape
    x = torch.arange(width, device=value4.device) + flow4[:, 0]
    y = torch.arange(height, device=value4.device)[:, None] + flow4[:, 1]
    grid = torch.stack([x * (2 / (width - 1)) - 1, y * (2 / (height - 1)) - 1], 3)
    moved = F.grid_sample(value4, grid, mode="bilinear", padding_mode="border", align_corners=True)
    return torch.cat([moved, flow4[:, 2:]], 1)


def pool(values: Float32, stride: int) -> Float32:
    """Means over cells: (h, w) or (h, w, c) -> (h/s, w/s) or (h/s, w/s, c)."""
    height, width = values.shape[:2]
    small = cv2.resize(values, (width // stride, height // stride), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)
