"""What flow tells of a frame, found in a thread beside the network: first its motion, then its references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator.detail import FINE
from streamcolor.colorizers.propagator.motion import Followed, Way, follow, link_of
from streamcolor.colorizers.propagator.movers import Movers
from streamcolor.colorizers.tracks import Between, Float32
from streamcolor.frame import Link


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a frame before its references are found in it; None where nothing is held of one before."""

    between: Between | None = None
    movers: Movers | None = None

    @classmethod
    def of(cls, here: Float32, held: Entry | None, references: Sequence[Entry]) -> Arrival:
        """here: L* (h, w). held: of the frame before."""
        if held is None:
            return cls()
        found = Between.of(here, held.tensors["lightness"].numpy(force=True), fine=True)
        identities = [int(entry.tensors["identity"]) for entry in references]
        return cls(found, Movers.of(found, held.tensors, identities))


@dataclass(frozen=True, slots=True)
class Course:
    """What flow tells of a frame. way: None where nothing is held of a frame before. link: see ``Chroma``.

    state: what the next frame needs of the tracks and of what moves. tracked4, way4: what the network is told,
    ``Followed.candidate`` and ``Way.reduced``.
    """

    state: Mapping[str, Tensor]
    followed: Followed | None = None
    tracked4: Float32 | None = None
    way: Way | None = None
    way4: Float32 | None = None
    link: Link | None = None

    @classmethod
    def of(
        cls, here: Float32, held: Entry | None, references: Sequence[Entry], frame: int, arrived: Future[Arrival]
    ) -> Course:
        """arrived: of the same, submitted before to the same worker."""
        arrival = arrived.result()
        tracks = follow(here, None if held is None else held.tensors, references, frame, arrival.between)
        followed = Followed.of(tracks, here, references, frame) if references else None
        tracked4 = None if followed is None else followed.candidate()
        state = tracks.tensors(here)
        if held is None or arrival.between is None:
            return cls(state, followed, tracked4)
        if arrival.movers is not None:
            state |= arrival.movers.tensors(tracks)
        # Where frames in between were not colored, what is held is older than the frame before.
        link = link_of(arrival.between, FINE) if held.frame == frame - 1 else None
        way = Way.back(arrival.between, held.tensors)
        return cls(state, followed, tracked4, way, way.reduced(here), link)

    def tensors(self, *, rested: bool) -> dict[str, Tensor]:
        """What the next frame needs. rested: the network has not looked at this one."""
        return dict(self.state) | (self.way.tensors() if rested and self.way is not None else {})
