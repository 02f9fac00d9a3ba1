"""Reads of a cache: coarse attention at stride 8, then a fine window at stride 4. Values are colors.

What attention averages is not the color alone but its moments with lightness. From them follows how color goes with
lightness in the places that were matched, and so the color at the lightness that is here: local linear regression in
place of a local mean (Cleveland 1979; Levin, Lischinski, Weiss 2004 assume the same of a window).

A place of a reference that is still to be seen in the frame belongs to what it matches best there, and is taken less
for anything else: of coats that look alike, one that has moved takes the color of the one that is gone from its place.
How much less is for the place that asks to say: there are many leaves to a tree. And what moves by itself takes less
from what moves with the camera, and the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.propagator.encoder import Features
from streamcolor.colorizers.propagator.movers import APART, as_keys, as_query
from streamcolor.colorizers.residual import resize

FINE_RADIUS = 2
MASKED = -1e4
# Channels of ``Memory.moments``.
MOMENTS = 8


@dataclass(frozen=True, slots=True)
class Memory:
    """One picture as the reads see it: keys (B, k, h/s, w/s), values (B, 3, h/4, w/4): ab / 110 and trust in [0, 1].

    light4: (B, 1, h/4, w/4) L* / 100 - 0.5. radius: how far from a query, in cells of stride 8, its cells are looked
    at; 0 means everywhere. moved8: (B, 2, h/8, w/8) how far its places move by themselves and how far that is known, in
    [0, 1] each (see ``Movers``); None where nobody knows. It is not looked at where there is a radius.
    """

    key4: Tensor
    key8: Tensor
    key16: Tensor
    value4: Tensor
    light4: Tensor
    radius: int = 0
    moved8: Tensor | None = None

    @classmethod
    def of(cls, features: Features, ab4: Tensor, trust4: Tensor, radius: int = 0) -> Memory:
        """ab4: (B, 2, h/4, w/4) in units of 110; trust4: (B, 1, h/4, w/4)."""
        values = torch.cat([ab4, trust4], 1)
        return cls(features.key4, features.key8, features.key16, values, features.light4, radius)

    def trust(self, stride: int) -> Tensor:
        """(B, 1, h/s, w/s): the mean of each cell."""
        return F.avg_pool2d(self.value4[:, 2:], stride // 4, ceil_mode=True)

    def moved(self, stride: int) -> Tensor | None:
        """``moved8`` at stride 8 or 16, larger cells by what is known in them."""
        if self.moved8 is None or stride == 8:
            return self.moved8
        known = self.moved8[:, 1:]
        moving, known = (F.avg_pool2d(x, stride // 8, ceil_mode=True) for x in (self.moved8[:, :1] * known, known))
        return torch.cat([moving / known.clamp_min(1e-3), known], 1)

    def moments(self, stride: int) -> Tensor:
        """(B, 8, h/s, w/s) at stride 4, 8 or 16: ab, trust, l, l^2, l ab and |ab|^2 of color and lightness l.

        Larger cells hold the means over what is trusted in them.
        """
        ab, trust, light = self.value4[:, :2], self.value4[:, 2:], self.light4
        squared = ab.square().sum(1, keepdim=True)
        if stride == 4:
            return torch.cat([ab, trust, light, light.square(), light * ab, squared], 1)
        fields = torch.cat([ab, torch.ones_like(light), light, light.square(), light * ab, squared], 1) * trust
        pooled = F.avg_pool2d(fields, stride // 4, ceil_mode=True)
        share = pooled[:, 2:3]
        means = pooled / share.clamp_min(1e-3)
        return torch.cat([means[:, :2], share, means[:, 3:]], 1)


@dataclass(frozen=True, slots=True)
class Regressed:
    """Color at the lightness that is here. ab: (B, 2, ...); gap, deviation: (B, 1, ...).

    gap: difference in lightness from what was matched. deviation: of the colors there from the fitted line.
    """

    ab: Tensor
    gap: Tensor
    deviation: Tensor


def regressed(moments: Tensor, light: Tensor, ridge: Tensor) -> Regressed:
    """Linear regression of color on lightness from moments (B, 8, ...), evaluated at ``light`` (B, 1, ...).

    ridge: () > 0, a variance of lightness below which the slope fades.
    """
    ab, mean = moments[:, :2], moments[:, 3:4]
    variance = (moments[:, 4:5] - mean.square()).clamp_min(0)
    covariance = moments[:, 5:7] - ab * mean
    slope = covariance / (variance + ridge)
    left = moments[:, 7:8] - ab.square().sum(1, keepdim=True) - (slope * covariance).sum(1, keepdim=True)
    gap = light - mean
    return Regressed(ab + slope * gap, gap.abs(), left.clamp_min(1e-6).sqrt())


@dataclass(frozen=True, slots=True)
class Read:
    """Found in the cache. coarse, fine: (B, 8, h/4, w/4) moments; scores: (B, 4, h/4, w/4) how good the match is.

    Scores: the best cosine at stride 4, the entropy there, the best cosine at stride 8, and by how much something else
    in the frame is more like what was matched there.
    """

    coarse: Tensor
    fine: Tensor
    scores: Tensor


def tokens(x: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h w, c)."""
    return x.flatten(2).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Band:
    """Which rows of a memory the queries of each row look at. rows: (h, n) row numbers; mask: (h, w, n w) or None.

    A memory with a reach is read in a band of 2 reach + 1 rows instead of everywhere; the mask (0 or a large
    negative number) hides what lies beyond the reach all the same.
    """

    rows: Tensor
    mask: Tensor | None


@lru_cache(maxsize=16)
def band(height: int, width: int, radius: int, device: torch.device) -> Band:
    """The band for cells within ``radius`` rows and columns of the query; radius 0: all of them."""
    count = min(2 * radius + 1, height) if radius else height
    y = torch.arange(height)
    rows = (y - radius).clamp(0, height - count)[:, None] + torch.arange(count)
    if not radius:
        return Band(rows.to(device), None)
    x = torch.arange(width)
    far = ((rows - y[:, None]).abs() > radius)[:, None, :, None] | ((x[:, None] - x).abs() > radius)[None, :, None]
    mask = torch.zeros(far.shape).masked_fill_(far, MASKED).view(height, width, count * width)
    return Band(rows.to(device), mask.to(device))


class Matcher(nn.Module):
    """Coarse and fine reads of any number of memories at once; sharpness of the attention is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness8 = nn.Parameter(torch.tensor(3.0))
        self.log_sharpness4 = nn.Parameter(torch.tensor(3.0))
        self.log_apart = nn.Parameter(torch.tensor(APART).log())

    def forward(self, query: Features, memories: Sequence[Memory], moving8: Tensor | None = None) -> Read:
        """memories: at least one; all of the query's size. moving8: (B, 1, h/8, w/8) how far the query's places move.

        That is in [0, 1], and None where nobody knows.
        """
        coarse, match, memory, cell = self._coarse(query, memories, moving8)
        fine, scores = self._fine(query, memories, memory, cell)
        found = resize(torch.cat([coarse, match], 1), query.key4)
        return Read(found[:, :MOMENTS], fine, torch.cat([scores, found[:, MOMENTS:]], 1))

    def _coarse(
        self, query: Features, memories: Sequence[Memory], moving8: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Attention at stride 8 over the cells of all memories.

        Returns the moments (B, 8, h/8, w/8); the cosine of the best and by how much it is another's, (B, 2, h/8, w/8);
        and which memory and which of its cells that was, (B, h/8 * w/8) each.
        """
        _, _, height, width = query.key8.shape
        # In powers of two: exp2 is four times as fast as exp on a processor, and many times where cells are masked.
        sharpness = self.log_sharpness8.exp() / math.log(2)
        queries = query.key8.permute(0, 2, 3, 1) * sharpness
        bands = [band(height, width, memory.radius, queries.device) for memory in memories]
        moving = None if moving8 is None else as_query(moving8, self.log_apart.exp() * sharpness)
        parts = [_similarity(queries, memory, place, moving) for memory, place in zip(memories, bands, strict=True)]
        claims = [_claims(part, place) for part, place in zip(parts, bands, strict=True)]
        share = resize(query.claim16, query.key8).permute(0, 2, 3, 1)
        parts = [_less(part, share, claim) for part, claim in zip(parts, claims, strict=True)]
        bests, indexes = zip(*(_best(part) for part in parts), strict=True)
        best, memory = torch.stack(bests).max(0)
        rows = [place.rows[:, 0][None, :, None] for place in bands]
        cells = torch.stack([row * width + index for row, index in zip(rows, indexes, strict=True)])
        cell = cells.gather(0, memory[None])[0]
        # A softmax over all parts without joining them, in place, for they are large: powers, and their sum as one
        # value more.
        shift = best.detach()[..., None]
        read = torch.zeros((), device=best.device)
        for part, held, place in zip(parts, memories, bands, strict=True):
            moments = held.moments(8)
            values = torch.cat([moments, torch.ones_like(moments[:, :1])], 1)
            read = read + _read(part.sub_(shift).exp2_(), _in_band(values, place))
        coarse = (read[..., :MOMENTS] / read[..., MOMENTS:]).permute(0, 3, 1, 2)
        claimed = torch.stack([_at(claim, index) for claim, index in zip(claims, indexes, strict=True)])
        claimed = claimed.gather(0, memory[None])[0]
        cosine = best + share[..., 0] * claimed
        match = torch.stack([cosine, claimed - cosine], 1) / sharpness
        return coarse, match, memory.flatten(1), cell.flatten(1)

    def _fine(self, query: Features, memories: Sequence[Memory], memory: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Attention at stride 4 in a window around the best coarse ``cell`` of ``memory``, both (B, queries).

        The four queries of a coarse cell share its window, one gather of 6 x 6 keys, and each sees its own 5 x 5.
        """
        batch, channels, height, width = query.key4.shape
        height8, width8 = query.key8.shape[-2:]
        device = cell.device
        reach = torch.arange(-FINE_RADIUS, FINE_RADIUS + 2, device=device)
        rows = (2 * (cell // width8)[..., None] + reach).clamp(0, height - 1) * width
        columns = (2 * (cell % width8)[..., None] + reach).clamp(0, width - 1)
        base = (torch.arange(batch, device=device)[:, None] * len(memories) + memory) * (height * width)
        flat = (base[..., None, None] + rows[..., :, None] + columns[..., None, :]).flatten()
        keys = torch.stack([tokens(m.key4) for m in memories], 1).flatten(0, 2)
        values = torch.stack([tokens(m.moments(4)) for m in memories], 1).flatten(0, 2)
        window = len(reach) ** 2
        gathered = keys.index_select(0, flat).view(-1, window, channels)
        queries = F.pad(query.key4, (0, 2 * width8 - width, 0, 2 * height8 - height))
        queries = queries.view(batch, channels, height8, 2, width8, 2).permute(0, 2, 4, 3, 5, 1)
        sharpness = self.log_sharpness4.exp()
        match = torch.bmm(queries.reshape(-1, 4, channels) * sharpness, gathered.transpose(1, 2)) + _own_window(device)
        weights = torch.softmax(match, 2)
        found = torch.bmm(weights, values.index_select(0, flat).view(-1, window, MOMENTS))
        entropy = -(weights * (weights + 1e-6).log()).sum(2, keepdim=True)
        result = torch.cat([found, match.max(2, keepdim=True)[0] / sharpness, entropy], 2)
        count = MOMENTS + 2
        plane = result.view(batch, height8, width8, 2, 2, count).permute(0, 5, 1, 3, 2, 4)
        plane = plane.reshape(batch, count, 2 * height8, 2 * width8)[..., :height, :width]
        return plane[:, :MOMENTS], plane[:, MOMENTS:]


def _in_band(x: Tensor, place: Band) -> Tensor:
    """(B, c, h, w) -> (B, h, n w, c): for every row the cells of its band; (B, 1, h w, c) when that is everything."""
    if place.mask is None:
        return tokens(x)[:, None]
    return x.permute(0, 2, 3, 1)[:, place.rows].flatten(2, 3)


def _similarity(queries: Tensor, memory: Memory, place: Band, moving: Tensor | None) -> Tensor:
    """(B, h, w, cells in the band): dot products; what is not trusted or out of reach is masked.

    moving: (B, h, w, 3) see ``as_query``; less where a memory that looks everywhere moves otherwise.
    """
    keys = _in_band(memory.key8, place).transpose(2, 3)
    if place.mask is not None:
        mask = place.mask.expand(len(queries), *place.mask.shape).flatten(0, 1)
        return torch.baddbmm(mask, queries.flatten(0, 1), keys.flatten(0, 1)).view(*queries.shape[:3], -1)
    # What is hidden goes into the product as one channel more: adding it would write the whole of it twice.
    hidden = torch.where(memory.trust(8).flatten(2) < 0.5, MASKED, 0.0).to(keys)
    asking, rows = [F.pad(queries, (0, 1), value=1.0)], [keys[:, 0], hidden]
    if moving is not None and memory.moved8 is not None:
        asking.append(moving.to(queries))
        rows.append(as_keys(memory.moved8).to(keys))
    return torch.bmm(torch.cat(asking, 3).flatten(1, 2), torch.cat(rows, 1)).view(*queries.shape[:3], -1)


def _claims(similarity: Tensor, place: Band) -> Tensor:
    """(B, h, w, cells) -> (B, h or 1, 1, cells): what is most like a cell, of all that looks at it; 0 if nothing is.

    Soft mutual nearest neighbors (Rocco et al. 2018, "Neighbourhood Consensus Networks", section 3.3) take the same,
    as a quotient.
    """
    if place.mask is None:
        return _largest(similarity.flatten(1, 2))[:, None, None]
    batch, height, width, _ = similarity.shape
    claims = _largest(similarity.flatten(0, 1)).view(batch, height, -1, width)
    rows = place.rows[None, ..., None].expand_as(claims).flatten(1, 2)
    whole = torch.zeros_like(claims[:, :, 0]).scatter_reduce(1, rows, claims.flatten(1, 2), "amax")
    return whole[:, place.rows].flatten(2)[:, :, None]


def _less(similarity: Tensor, share: Tensor, claims: Tensor) -> Tensor:
    """similarity (B, h, w, cells) less the share (B, h, w, 1) of claims (B, h or 1, 1, cells); in place if that may be.

    As a product of one column and one row: half the time of a broadcast.
    """
    rows = claims.flatten(0, 1)
    whole = similarity.view(len(rows), -1, rows.shape[-1])
    take = torch.baddbmm if similarity.requires_grad else Tensor.baddbmm_
    return take(whole, share.to(whole).reshape(len(rows), -1, 1), rows, alpha=-1).view(similarity.shape)


def _at(claims: Tensor, index: Tensor) -> Tensor:
    """(B, h or 1, 1, cells) and which of the cells (B, h, w) -> (B, h, w)."""
    return claims[:, :, 0].expand(-1, index.shape[1], -1).gather(2, index).float()


def _by_bits(similarity: Tensor) -> bool:
    """Whether bests are found by their bits, in half the time and less, on a processor.

    In the order of bits numbers from 0 up come as they should, after those below, which are in the wrong order.
    """
    return similarity.dtype is torch.bfloat16 and similarity.device.type == "cpu" and not similarity.requires_grad


def _largest(similarity: Tensor) -> Tensor:
    """(B, queries, cells) -> (B, cells): the largest of the queries, 0 where all are below."""
    if _by_bits(similarity):
        return similarity.view(torch.int16).amax(1).clamp_min(0).view(similarity.dtype)
    return similarity.amax(1).clamp_min(0)


def _best(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """(..., cells) -> the largest of the cells (...) and which it is (...)."""
    if not _by_bits(similarity):
        best, index = similarity.max(-1)
        return best, index
    _, index = similarity.view(torch.int16).max(-1)
    best = similarity.gather(-1, index[..., None])[..., 0]
    below = best < 0
    if bool(below.any()):
        best[below], index[below] = similarity[below].max(-1)
    return best, index


def _read(weights: Tensor, values: Tensor) -> Tensor:
    """weights: (B, h, w, cells); values: (B, h, cells, c), or (B, 1, cells, c) for every row; (B, h, w, c)."""
    if values.shape[1] == weights.shape[1]:
        return weights @ values
    # Few channels, many cells: this way round the product is twice as fast on a processor.
    read = torch.bmm(values[:, 0].transpose(1, 2), weights.flatten(1, 2).transpose(1, 2))
    return read.transpose(1, 2).view(*weights.shape[:3], -1)


@lru_cache(maxsize=4)
def _own_window(device: torch.device) -> Tensor:
    """(4, 36): which of a coarse cell's 6 x 6 keys each of its 2 x 2 queries sees, 0 or a large negative number."""
    side = 2 * FINE_RADIUS + 2
    mask = torch.full((2, 2, side, side), MASKED)
    for y in (0, 1):
        for x in (0, 1):
            mask[y, x, y : y + side - 1, x : x + side - 1] = 0
    return mask.view(4, side * side).to(device)
