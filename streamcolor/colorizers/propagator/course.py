"""What flow tells of a frame, found in a thread beside the network: first its motion, then its references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator.detail import FINE
from streamcolor.colorizers.propagator.motion import Followed, Way, follow, link_of
from streamcolor.colorizers.propagator.movers import Movers
from streamcolor.colorizers.tracks import Between, Float32, Tracks
from streamcolor.frame import Link


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a frame before its references are found in it; None where nothing is held of one before."""

    between: Between | None = None
    movers: Movers | None = None

    @classmethod
    def of(
        cls,
        here: Float32,
        held: Entry | None,
        references: Sequence[Entry],
        between: Callable[[Float32, Float32], Between],
    ) -> Arrival:
        """here: L* (h, w). held: of the frame before. between: tells ``Between.of`` the two."""
        if held is None:
            return cls()
        found = between(here, held.tensors["lightness"].numpy(force=True))
        identities = [int(entry.tensors["identity"]) for entry in references]
        return cls(found, Movers.of(found, held.tensors, identities))


@dataclass(frozen=True, slots=True)
class Course:
    """What flow tells of a frame. way, movers: None where nothing is held of a frame before. link: see ``Chroma``."""

    tracks: Tracks
    followed: Followed | None = None
    way: Way | None = None
    link: Link | None = None
    movers: Movers | None = None

    @classmethod
    def of(
        cls, here: Float32, held: Entry | None, references: Sequence[Entry], frame: int, arrived: Future[Arrival]
    ) -> Course:
        """arrived: of the same, submitted before to the same worker."""
        arrival = arrived.result()
        tracks = follow(here, None if held is None else held.tensors, references, frame, arrival.between)
        followed = Followed.of(tracks, here, references, frame) if references else None
        if held is None or arrival.between is None:
            return cls(tracks, followed)
        # Where frames in between were not colored, what is held is older than the frame before.
        link = link_of(arrival.between, FINE) if held.frame == frame - 1 else None
        return cls(tracks, followed, Way.back(arrival.between, held.tensors), link, arrival.movers)

    def tensors(self, here: Float32) -> dict[str, Tensor]:
        """What the next frame needs; here: L* (h, w) of this one."""
        moved = {} if self.movers is None else self.movers.tensors(self.tracks)
        return self.tracks.tensors(here) | moved
