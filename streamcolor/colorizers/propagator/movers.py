"""What moves by itself and not with the camera: what goes together belongs together.

A dancer in front of a crowd looks like the crowd, but does not move like it ("common fate", Wertheimer 1923). The
motion of the camera is a homography fitted to the flow between a frame and the one before (RANSAC, Fischler and Bolles
1981); what the flow deviates from it is independent motion (Irani and Anandan 1998, "A Unified Approach to Moving
Object Detection in 2D and 3D Scenes"). Reads of the references take less from places that move otherwise (``Matcher``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.colorizers.propagator.motion import STRIDE, pool
from streamcolor.colorizers.tracks import Between, Float32, Tracks, at, coordinates, held_places

_Values = TypeVar("_Values", bound=np.generic)

# The homography is fitted to one pixel in so many across and down, which it may miss by so many pixels.
GRID = 16
MISS = 1.5
FEWEST = 12
# No camera turns so far from one frame to the next that a place of one of them lies on the horizon of the other: a
# homography that shrinks a place by more is fitted to flow that means nothing.
LEAST_SCALE = 0.01
# A deviation of this many pixels, beside the usual one of the frame (parallax), counts as half moving.
HALF = 1.0
# Share of the frame before in how far a place moves, where flow is believed.
INERTIA = 0.5
# What is known of a place of a reference counts for half after so many frames of belief, and fades by this much a frame
# once it is lost: who stood there may have gone for a walk.
ENOUGH = 1.0
FADE = 0.9
# What is taken from a cosine where one place moves by itself and the other does not: where learning starts.
APART = 0.2


@dataclass(frozen=True, slots=True)
class Movers:
    """State. moving: (h/4, w/4) in [0, 1], how far the places of a frame move by themselves.

    references: (K, 2, h/8, w/8), sums over the frames until now, for the places of each reference: of ``moving`` where
    tracks found them, weighted by trust, and of trust.
    """

    moving: Float32
    references: Float32

    @classmethod
    def of(cls, between: Between, held: Mapping[str, Tensor], identities: Sequence[int]) -> Movers:
        """In a new frame, by the flow to the one before and what is ``held`` of that (see ``tensors``).

        identities: of the references, in their order in the cache.
        """
        moving = independent(between)
        if "moving" in held:
            flow = _middles(between.back) / np.float32(STRIDE)
            before = at(held["moving"].numpy(force=True), *coordinates(flow))
            moving += np.float32(INERTIA) * _middles(between.believed) * (before - moving)
        height, width = moving.shape
        sums = np.zeros((len(identities), 2, height // 2, width // 2), np.float32)
        if "moved" in held:
            for number, place in held_places(held, identities).items():
                sums[number] = held["moved"][place].numpy(force=True)
        return cls(moving, sums)

    def query(self) -> Float32:
        """(1, h/8, w/8): ``moving`` by cells of stride 8."""
        return pool(self.moving, 2)[None]

    def memories(self) -> Float32:
        """(K, 2, h/8, w/8): how far each place of a reference moves, and how far that is known, both in [0, 1]."""
        moving, trust = self.references[:, 0], self.references[:, 1]
        return np.stack([moving / np.maximum(trust, 1e-6), trust / (trust + ENOUGH)], 1)

    def tensors(self, tracks: Tracks) -> dict[str, Tensor]:
        """What the next frame needs: the state, with what the tracks of this one say of the references."""
        _, _, height, width = self.references.shape
        sums = np.float32(FADE) * self.references
        for number, (flow, trust) in enumerate(zip(tracks.maps, tracks.trust, strict=True)):
            # In cells of stride 8: the middles of those of stride 4, and where tracks say that they lie.
            x, y = (values / 2 + 0.25 for values in coordinates(_middles(flow) / np.float32(STRIDE)))
            cell = np.clip(np.floor(y), 0, height - 1) * width + np.clip(np.floor(x), 0, width - 1)
            # Four places of the frame to a cell.
            weight = _middles(trust) / 4
            for row, values in enumerate((weight * self.moving, weight)):
                counted = np.bincount(cell.ravel().astype(np.int64), values.ravel(), height * width)
                sums[number, row] += counted.reshape(height, width).astype(np.float32)
        return {"moving": torch.from_numpy(self.moving), "moved": torch.from_numpy(sums)}


def _middles(values: NDArray[_Values]) -> NDArray[_Values]:
    """(h, w, ...) -> (h/4, w/4, ...): the middle of every cell of stride 4."""
    return values[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def independent(between: Between) -> Float32:
    """(h/4, w/4) in [0, 1): how far the places of a frame move otherwise than the camera; 0 where that is not known."""
    first = GRID // 2
    believed = between.believed[first::GRID, first::GRID]
    height, width = between.believed.shape
    y, x = np.mgrid[first:height:GRID, first:width:GRID].astype(np.float32)
    here = np.stack([x, y], 2)[believed]
    there = here + between.back[first::GRID, first::GRID][believed]
    flow = _middles(between.back)
    camera = None
    if len(here) >= FEWEST:
        camera, _ = cv2.findHomography(here, there, cv2.RANSAC, MISS, maxIters=200, confidence=0.99)
    if camera is None:
        return np.zeros(flow.shape[:2], np.float32)
    y, x = np.mgrid[STRIDE // 2 : height : STRIDE, STRIDE // 2 : width : STRIDE].astype(np.float32)
    to_x, to_y, scale = (row[0] * x + row[1] * y + row[2] for row in camera.astype(np.float32))
    if not scale.min() > LEAST_SCALE:
        return np.zeros(flow.shape[:2], np.float32)
    right, down = cv2.split(flow)
    squared = (right - (to_x / scale - x)) ** 2 + (down - (to_y / scale - y)) ** 2
    return np.asarray(squared / (squared + HALF**2 + np.median(squared)), np.float32)


def as_query(moving: Tensor, apart: Tensor) -> Tensor:
    """moving (B, 1, h, w) in [0, 1] as three more channels of queries (B, h, w, 3). apart: () >= 0.

    Their product with ``as_keys`` is -apart known (moving here - moving there)^2.
    """
    here = moving.permute(0, 2, 3, 1)
    return apart * torch.cat([here.square(), here, torch.ones_like(here)], 3)


def as_keys(moved: Tensor) -> Tensor:
    """``Memory.moved`` as three more channels of keys (B, 3, cells), see ``as_query``."""
    there, known = moved.flatten(2).chunk(2, 1)
    return known * torch.cat([-torch.ones_like(there), 2 * there, -there.square()], 1)
