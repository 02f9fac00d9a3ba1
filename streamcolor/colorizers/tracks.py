"""Where every pixel of a frame lies in the references, followed by optical flow from frame to frame.

DIS flow (Kroeger, Timofte, Dai, Van Gool, "Fast Optical Flow using Dense Inverse Search", 2016), checked forwards and
backwards. The map of a reference is accumulated along the film and anchored to the reference again before it
drifts; colors are sampled once, from the reference, and so do not blur. The film comes in one direction only: a
reference that lies ahead is reached by direct flow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.colorizers.cache import Entry

Float32 = NDArray[np.float32]
Grey = NDArray[np.uint8]

# How often, in frames, a map is anchored; more often when less of it is believed than ``LITTLE``.
ANCHOR_EVERY = 8
LITTLE = 0.6
# An anchor that makes so much more of the picture believed, on the mean of trust, was worth its while.
WORTH = 0.04
DECAY = 0.98
# Weight of a place that a map points to although nobody believes it.
LEAST = 1e-6
# Largest difference in L* between a pixel and the one it is said to come from.
LIGHTNESS_TOLERANCE = 12.0
# A place is flat where L* deviates by less than this in a window of so many pixels. Flow slips there and does no harm:
# it may come back so many pixels away, if the lightness agrees more closely, and counts as one that is off by little.
FLAT = 3.0
FLAT_WINDOW = 9
FLAT_RESIDUAL = 12.0
FLAT_TOLERANCE = 4.0
FLAT_OFF = 0.2
# OpenCV refuses pictures that are smaller; they are continued by their border.
_LEAST_SIDE = 16


def to_grey(lightness: Float32) -> Grey:
    """The picture that flow sees: round(2.55 L*)."""
    return np.asarray(np.rint(lightness * 2.55), np.uint8)


def flow_between(a: Grey, b: Grey, start: Float32 | None = None, *, fine: bool = False) -> Float32:
    """(h, w, 2) displacement in pixels: what lies at x in ``a`` lies at x + flow in ``b``. start: first guess.

    OpenCV's preset MEDIUM, which stops at half of the size. fine: down to single pixels, with fewer and shorter
    searches and nothing smoothed afterwards, in about the same time.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    if fine:
        dis.setFinestScale(0)
        dis.setPatchStride(5)
        dis.setGradientDescentIterations(12)
        dis.setVariationalRefinementIterations(0)
    height, width = a.shape
    margin = (0, max(_LEAST_SIDE - height, 0), 0, max(_LEAST_SIDE - width, 0))
    if any(margin):
        a, b = (np.asarray(cv2.copyMakeBorder(grey, *margin, cv2.BORDER_REPLICATE), np.uint8) for grey in (a, b))
        start = None
    found = dis.calc(a, b, np.empty(0, np.float32) if start is None else start.copy())
    return np.ascontiguousarray(found[:height, :width], np.float32)


def sample(values: Float32, flow: Float32) -> Float32:
    """Values (h, w) or (h, w, c) at x + flow, bilinear; beyond the border its nearest pixel."""
    return at(values, *coordinates(flow))


def coordinates(flow: Float32) -> tuple[Float32, Float32]:
    """x + flow, as x and y (h, w)."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def at(values: Float32, x: Float32, y: Float32) -> Float32:
    """Values (h, w) or (h, w, c) at places x, y (h', w'), bilinear; beyond the border its nearest pixel."""
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def agreement(
    forth: Float32, back: Float32, here: Float32, there: Float32, *, flat: bool = False
) -> tuple[NDArray[np.bool_], Float32]:
    """Where a flow is to be believed, and its forward-backward residual in pixels, (h, w) each.

    |f + b(x + f)|^2 <= 0.01 (|f|^2 + |b(x + f)|^2) + 0.5, the lightness agrees within 12, and x + f is inside. flat:
    flow is also believed where it slips in a place without texture (see ``FLAT``), as its color is the same around it.
    """
    height, width = here.shape
    x, y = coordinates(forth)
    right, down = _channels(forth)
    returned_right, returned_down = _channels(at(back, x, y))
    residual = _squared(right + returned_right, down + returned_down)
    loop = residual <= 0.01 * (_squared(right, down) + _squared(returned_right, returned_down)) + 0.5
    gap = cv2.absdiff(here, at(there, x, y))
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    believed, off = loop & (gap <= LIGHTNESS_TOLERANCE), np.sqrt(residual)
    if flat:
        slips = ~loop & (residual < FLAT_RESIDUAL**2) & (gap <= FLAT_TOLERANCE) & (_variance(here) < FLAT**2)
        believed |= slips
        np.minimum(off, np.float32(FLAT_OFF), out=off, where=slips)
    return believed & inside, off


def _channels(values: Float32) -> list[Float32]:
    """(h, w, c) or (h, w) -> (h, w) each: numpy is several times slower on every second value."""
    return [np.asarray(channel, np.float32) for channel in cv2.split(values)]


def _variance(values: Float32) -> Float32:
    """(h, w) in the window around every place."""
    window = (FLAT_WINDOW, FLAT_WINDOW)
    return np.asarray(cv2.blur(values * values, window) - cv2.blur(values, window) ** 2, np.float32)


def _squared(right: Float32, down: Float32) -> Float32:
    return right * right + down * down


@dataclass(frozen=True, slots=True)
class Between:
    """How a frame and the one before it lie to each other, both ways: flow (h, w, 2) in pixels, belief in it (h, w).

    back, believed: from the frame to the one before. forth, returned: from the one before to the frame.
    """

    back: Float32
    believed: NDArray[np.bool_]
    forth: Float32
    returned: NDArray[np.bool_]

    @classmethod
    def of(cls, here: Float32, before: Float32, *, fine: bool = False) -> Between:
        """here, before: L* (h, w). fine: see ``flow_between``; belief with ``flat`` (see ``agreement``)."""
        now, then = to_grey(here), to_grey(before)
        back, forth = flow_between(now, then, fine=fine), flow_between(then, now, fine=fine)
        believed, _ = agreement(back, forth, here, before, flat=fine)
        returned, _ = agreement(forth, back, before, here, flat=fine)
        return cls(back, believed, forth, returned)


def held_places(held: Mapping[str, Tensor], identities: Sequence[int]) -> dict[int, int]:
    """The number of each reference, of those that have one, and its place in what is ``held`` of the frame before."""
    places = {identity: place for place, identity in enumerate(held["identity"].tolist())}
    return {number: places[identity] for number, identity in enumerate(identities) if identity in places}


@dataclass(slots=True)
class Tracks:
    """State of the references that are followed, in their order in the cache.

    identity: (K,) ``Reference.identity`` of each.
    maps: (K, h, w, 2) pixels; x + map lies in the reference. trust: (K, h, w) in [0, 1].
    entered: (K,) number of the frame at which each was first seen. fine: see ``Between.of``.
    pause, wait: (K,) while little is believed: how many frames lie between anchors, how many of them are left.
    between: how the frame and the one before lie to each other; None where nothing is held of that.
    """

    identity: NDArray[np.int64]
    maps: Float32
    trust: Float32
    entered: NDArray[np.int64]
    pause: NDArray[np.int64]
    wait: NDArray[np.int64]
    fine: bool = False
    between: Between | None = None

    @classmethod
    def follow(
        cls,
        here: Float32,
        held: Mapping[str, Tensor] | None,
        references: Sequence[Entry],
        frame: int,
        *,
        fine: bool = False,
        patience: int = 1,
        most: int | None = None,
        between: Between | None = None,
    ) -> Tracks:
        """The tracks in a new frame ``here`` ((h, w) L*) from those ``held`` of the one before (see ``tensors``).

        An entry of a reference holds ``lightness`` (h, w) and ``identity`` (). fine: see ``Between.of``. patience:
        where little is believed, a reference is looked for in every frame; while that brings nothing, in every second,
        fourth and so on, up to this number of frames. most: of the references that are followed already only so many
        are anchored again, those nearest in time. between: of the frame and the one before, where somebody knows it
        already.
        """
        count, (height, width) = len(references), here.shape
        tracks = cls(
            identity=np.array([int(entry.tensors["identity"]) for entry in references], np.int64),
            maps=np.zeros((count, height, width, 2), np.float32),
            trust=np.zeros((count, height, width), np.float32),
            entered=np.full(count, frame, np.int64),
            pause=np.ones(count, np.int64),
            wait=np.zeros(count, np.int64),
            fine=fine,
        )
        # Frames that had no reference leave no tracks behind.
        known: frozenset[int] = frozenset()
        if held is not None and "maps" in held:
            tracks.between = between or Between.of(here, held["lightness"].numpy(force=True), fine=fine)
            known = tracks._move_on(tracks.between, held)
        for number, entry in enumerate(references):
            if number not in known:
                tracks._anchor(number, here, entry, None)
        for number, lost in tracks._due(sorted(known), references, frame, most=most):
            if lost:
                tracks._look_for(number, here, references[number], patience)
            else:
                tracks._anchor(number, here, references[number], tracks.maps[number])
        same = [np.array_equal(here, entry.tensors["lightness"].numpy(force=True)) for entry in references]
        if any(same):
            # The frame is a reference: nobody else has a say.
            tracks.trust[np.logical_not(same)] = 0
        return tracks

    def origin(self, number: int, entry: Entry) -> int:
        """Number of the frame that a reference counts from: its own, or the one at which it came in."""
        return entry.frame if entry.frame is not None else int(self.entered[number])

    def colors(self, references: Sequence[Entry], frame: int) -> tuple[Float32, Float32]:
        """What the references say: mean by trust and nearness in time (h, w, 2), and the sum of trust (h, w).

        Where no map is believed the color is that of the place it points to all the same. An entry holds ``ab``
        (h, w, 2) and ``opaque`` (h, w) beside ``lightness``.
        """
        ab, certain = self._means(references, frame, ("ab",))
        return np.dstack(ab), certain

    def colors_and_lightness(self, references: Sequence[Entry], frame: int) -> tuple[Float32, Float32, Float32]:
        """What ``colors`` says, and the mean L* (h, w) of the places that it took its colors from."""
        (*ab, lightness), certain = self._means(references, frame, ("ab", "lightness"))
        return np.dstack(ab), certain, lightness

    def _means(self, references: Sequence[Entry], frame: int, names: Sequence[str]) -> tuple[list[Float32], Float32]:
        """As ``colors``, (h, w) of every channel of these tensors of the entries, and the sum of trust (h, w).

        Channel by channel: numpy is three times as slow where a weight is shared by two.
        """
        certain, total = np.zeros((2, *self.trust.shape[1:]), np.float32)
        sums: list[Float32] = []
        for number, entry in enumerate(references):
            x, y = coordinates(self.maps[number])
            opaque = entry.tensors["opaque"].numpy(force=True)
            shown = np.ones_like(certain) if opaque.all() else (at(opaque, x, y) > 0.5).astype(np.float32)
            values = [
                channel for name in names for channel in _channels(at(entry.tensors[name].numpy(force=True), x, y))
            ]
            sure = self.trust[number] * shown
            certain += sure
            if len(references) == 1:
                # Its weight cancels out.
                return [value * shown for value in values], np.minimum(certain, 1)
            weight = (sure + LEAST * shown) / (1 + abs(frame - self.origin(number, entry)))
            parts = [value * weight for value in values]
            sums = [before + part for before, part in zip(sums, parts, strict=True)] if sums else parts
            total += weight
        share = 1 / np.maximum(total, 1e-12)
        return [value * share for value in sums], np.minimum(certain, 1)

    def tensors(self, here: Float32) -> dict[str, Tensor]:
        """What the next frame needs: the state and this frame's ``lightness``."""
        return {
            "identity": torch.from_numpy(self.identity),
            "lightness": torch.from_numpy(here),
            "maps": torch.from_numpy(self.maps),
            "trust": torch.from_numpy(self.trust),
            "entered": torch.from_numpy(self.entered),
            "pause": torch.from_numpy(self.pause),
            "wait": torch.from_numpy(self.wait),
        }

    def _move_on(self, between: Between, held: Mapping[str, Tensor]) -> frozenset[int]:
        """Take the maps of the frame before along the flow to it; which of the references had one."""
        known = held_places(held, self.identity.tolist())
        x, y = coordinates(between.back)
        for number, place in known.items():
            self.maps[number] = between.back + at(held["maps"][place].numpy(force=True), x, y)
            trust = at(held["trust"][place].numpy(force=True), x, y)
            self.trust[number] = DECAY * between.believed * trust
            self.entered[number] = int(held["entered"][place])
            self.pause[number], self.wait[number] = int(held["pause"][place]), int(held["wait"][place])
        return frozenset(known)

    def _due(
        self, known: Sequence[int], references: Sequence[Entry], frame: int, *, most: int | None
    ) -> list[tuple[int, bool]]:
        """Which of the ``known`` to anchor, and whether because little of it is believed; counts pauses down."""
        ages = {number: abs(frame - self.origin(number, references[number])) for number in known}
        near = sorted(known, key=lambda number: ages[number])[:most]
        regular = [number for number in near if ages[number] % ANCHOR_EVERY == 0]
        little = [number for number in near if number not in regular and self.trust[number].mean() < LITTLE]
        ready = [number for number in little if self.wait[number] == 0]
        self.wait[little] = np.maximum(self.wait[little] - 1, 0)
        return [(number, number in ready) for number in sorted([*regular, *ready])]

    def _look_for(self, number: int, here: Float32, entry: Entry, patience: int) -> None:
        """Anchor a map of which little is believed; a longer pause where that has brought nothing."""
        before = self.trust[number].mean()
        self._anchor(number, here, entry, self.maps[number])
        worth_it = self.trust[number].mean() - before >= WORTH
        self.pause[number] = 1 if worth_it else min(2 * int(self.pause[number]), patience)
        self.wait[number] = self.pause[number] - 1

    def _anchor(self, number: int, here: Float32, entry: Entry, start: Float32 | None) -> None:
        """Flow straight to the reference, from a first guess where there is one; taken where it comes back."""
        there = entry.tensors["lightness"].numpy(force=True)
        if np.array_equal(here, there):
            self.maps[number], self.trust[number] = 0, 1
            return
        now, then = to_grey(here), to_grey(there)
        forth = flow_between(now, then, start, fine=self.fine)
        back = flow_between(then, now, None if start is None else -start, fine=self.fine)
        believed, residual = agreement(forth, back, here, there, flat=self.fine)
        self.maps[number] = forth if start is None else np.where(believed[..., None], forth, start)
        trust = self.trust[number]
        self.trust[number] = np.where(believed, np.maximum(trust, np.exp(-residual / 2)), trust)
