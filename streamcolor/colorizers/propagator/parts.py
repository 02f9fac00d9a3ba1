"""The cells that a coarse read looks at together: of references everywhere, of a recent frame near the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.propagator.memory import Memory, tokens
from streamcolor.colorizers.propagator.movers import as_keys

MASKED = -1e4
# How many cells of the references a read looks at, of as many as a frame has.
SHARE = 1.25


class Part(Protocol):
    """n cells that a query looks at, the same for all queries (r is 1) or for those of a row (r is h).

    values: (B, r, n, 9) moments and a one. cells: (B or 1, r, n), which they are of all the cells of all memories.
    """

    @property
    def values(self) -> Tensor: ...

    @property
    def cells(self) -> Tensor: ...

    def similarity(self, queries: Tensor, moving: Tensor | None) -> Tensor:
        """(B, h, w, k) and (B, h, w, 3), see ``as_query`` -> (B, h, w, n) dot products; what is hidden is masked."""
        ...

    def claims(self, similarity: Tensor) -> Tensor:
        """(B, h, w, n) -> (B, r, n): what is most like a cell, of all that looks at it; 0 if nothing is.

        Soft mutual nearest neighbors (Rocco et al. 2018, "Neighbourhood Consensus Networks", section 3.3) take the
        same, as a quotient.
        """
        ...


@dataclass(frozen=True, slots=True)
class Everywhere:
    """Cells of memories that every query looks at. keys: (B, n, k). moved: (B, n, 3), see ``as_keys``, or None.

    The keys end with one value more, 0 or a large negative number: what is hidden goes into the product, for adding it
    would write the whole of that twice.
    """

    keys: Tensor
    moved: Tensor | None
    values: Tensor
    cells: Tensor

    @classmethod
    def of(cls, memories: Sequence[Memory], numbers: Sequence[int], kept: Tensor | None) -> Everywhere:
        """numbers: of the memories among all of them. kept: (B, n) of their cells, in their order; None: all."""
        _, _, height, width = memories[0].key8.shape
        trust = torch.cat([tokens(memory.trust(8)) for memory in memories], 1)
        keys = torch.cat([tokens(memory.key8) for memory in memories], 1)
        keys = torch.cat([keys, torch.where(trust < 0.5, MASKED, 0.0).to(keys)], 2)
        values = torch.cat([tokens(_with_one(memory)) for memory in memories], 1)
        moved = None
        if all(memory.moved8 is not None for memory in memories):
            moved = torch.cat(
                [as_keys(memory.moved8).transpose(1, 2) for memory in memories if memory.moved8 is not None], 1
            )
        count = height * width
        cells = torch.cat([torch.arange(number * count, (number + 1) * count) for number in numbers])
        cells = cells.to(keys.device)[None]
        if kept is not None:
            keys, values = _rows(keys, kept), _rows(values, kept)
            moved = None if moved is None else _rows(moved, kept)
            cells = cells[0][kept]
        return cls(keys, moved, values[:, None], cells[:, None])

    def similarity(self, queries: Tensor, moving: Tensor | None) -> Tensor:
        """See ``Part``; less where a cell moves otherwise."""
        asking, keys = F.pad(queries, (0, 1), value=1.0), self.keys
        if moving is not None and self.moved is not None:
            asking = torch.cat([asking, moving.to(queries)], 3)
            keys = torch.cat([keys, self.moved.to(keys)], 2)
        return torch.bmm(asking.flatten(1, 2), keys.transpose(1, 2)).view(*queries.shape[:3], -1)

    def claims(self, similarity: Tensor) -> Tensor:
        """See ``Part``."""
        return largest(similarity.flatten(1, 2))[:, None]


@dataclass(frozen=True, slots=True)
class Nearby:
    """Cells of one memory near the queries, in a band of rows. keys: (B, h, n, k)."""

    keys: Tensor
    values: Tensor
    cells: Tensor
    band: Band

    @classmethod
    def of(cls, memory: Memory, number: int) -> Nearby:
        """number: of the memory among all of them."""
        _, _, height, width = memory.key8.shape
        place = band(height, width, memory.radius, memory.key8.device)
        cells = place.rows[..., None] * width + torch.arange(width, device=place.rows.device)
        keys, values = (x.permute(0, 2, 3, 1)[:, place.rows].flatten(2, 3) for x in (memory.key8, _with_one(memory)))
        return cls(keys, values, (number * height * width + cells.flatten(1))[None], place)

    def similarity(self, queries: Tensor, moving: Tensor | None) -> Tensor:
        """See ``Part``; ``moving`` is not looked at."""
        mask = self.band.mask.expand(len(queries), *self.band.mask.shape).flatten(0, 1)
        keys = self.keys.transpose(2, 3).flatten(0, 1)
        return torch.baddbmm(mask, queries.flatten(0, 1), keys).view(*queries.shape[:3], -1)

    def claims(self, similarity: Tensor) -> Tensor:
        """See ``Part``."""
        batch, height, width, _ = similarity.shape
        claims = largest(similarity.flatten(0, 1)).view(batch, height, -1, width)
        rows = self.band.rows[None, ..., None].expand_as(claims).flatten(1, 2)
        whole = torch.zeros_like(claims[:, :, 0]).scatter_reduce(1, rows, claims.flatten(1, 2), "amax")
        return whole[:, self.band.rows].flatten(2)


@dataclass(frozen=True, slots=True)
class Band:
    """Which rows of a memory the queries of each row look at. rows: (h, n) row numbers; mask: (h, w, n w).

    A memory with a reach is read in a band of 2 reach + 1 rows instead of everywhere; the mask (0 or a large
    negative number) hides what lies beyond the reach all the same.
    """

    rows: Tensor
    mask: Tensor


@lru_cache(maxsize=16)
def band(height: int, width: int, radius: int, device: torch.device) -> Band:
    """The band for cells within ``radius`` > 0 rows and columns of the query."""
    count = min(2 * radius + 1, height)
    y, x = torch.arange(height), torch.arange(width)
    rows = (y - radius).clamp(0, height - count)[:, None] + torch.arange(count)
    far = ((rows - y[:, None]).abs() > radius)[:, None, :, None] | ((x[:, None] - x).abs() > radius)[None, :, None]
    mask = torch.zeros(far.shape).masked_fill_(far, MASKED).view(height, width, count * width)
    return Band(rows.to(device), mask.to(device))


def parts_of(memories: Sequence[Memory], kept: Tensor | None) -> list[Part]:
    """The memories without a reach as one part, the others as one each. kept: see ``Everywhere.of``."""
    whole = [number for number, memory in enumerate(memories) if not memory.radius]
    parts: list[Part] = [Everywhere.of([memories[number] for number in whole], whole, kept)] if whole else []
    return parts + [Nearby.of(memory, number) for number, memory in enumerate(memories) if memory.radius]


def worth_a_look(similarity16: Tensor, width: int) -> Tensor | None:
    """(B, n): the cells at stride 8 of the references that are worth a look, at most ``SHARE`` of those of a frame.

    So a read costs the same whether there are two references or ten. Cells that are the best for some place of the
    frame come first, then those that are nearly so: what is most alike would be the background, once for every
    reference, and nothing else. similarity16: (B, queries, cells) at stride 16; width: of a frame there. None where
    there are not more.
    """
    _, queries, cells = similarity16.shape
    count = int(SHARE * queries)
    if cells <= count:
        return None
    behind = (similarity16 - similarity16.amax(2, keepdim=True)).amax(1)
    cell = behind.topk(count, 1, sorted=False)[1].sort(1)[0]
    # Rows are numbered on from one reference to the next.
    corner = 2 * (cell // width) * 2 * width + 2 * (cell % width)
    four = torch.tensor([0, 1, 2 * width, 2 * width + 1], device=corner.device)
    return (corner[..., None] + four).flatten(1)


def by_bits(similarity: Tensor) -> bool:
    """Whether bests are found by their bits, in half the time and less, on a processor.

    In the order of bits numbers from 0 up come as they should, after those below, which are in the wrong order.
    """
    return similarity.dtype is torch.bfloat16 and similarity.device.type == "cpu" and not similarity.requires_grad


def largest(similarity: Tensor) -> Tensor:
    """(B, queries, cells) -> (B, cells): the largest of the queries, 0 where all are below."""
    if by_bits(similarity):
        return similarity.view(torch.int16).amax(1).clamp_min(0).view(similarity.dtype)
    return similarity.amax(1).clamp_min(0)


def _with_one(memory: Memory) -> Tensor:
    """Moments at stride 8, and a one."""
    moments = memory.moments(8)
    return torch.cat([moments, torch.ones_like(moments[:, :1])], 1)


def _rows(x: Tensor, kept: Tensor) -> Tensor:
    """(B, N, c) and (B, n) of N -> (B, n, c)."""
    batch, count, channels = x.shape
    flat = kept + torch.arange(batch, device=kept.device)[:, None] * count
    return x.flatten(0, 1).index_select(0, flat.flatten()).view(batch, -1, channels)
