"""Reads of a cache: coarse attention at stride 8, then a fine window at stride 4. Values are colors.

A place of a reference that is still to be seen in the frame belongs to what it matches best there, and is taken less
for anything else: of coats that look alike, one that has moved takes the color of the one that is gone from its place.
How much less is for the place that asks to say: there are many leaves to a tree. And what moves by itself takes less
from what moves with the camera, and the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.propagator.encoder import Features
from streamcolor.colorizers.propagator.memory import MOMENTS, Memory, tokens
from streamcolor.colorizers.propagator.movers import APART, as_query
from streamcolor.colorizers.propagator.parts import MASKED, by_bits, parts_of
from streamcolor.colorizers.residual import resize

FINE_RADIUS = 2
# Up to this power of two, and down to that of minus as much, thousands of them and their sums are numbers of bfloat16.
LARGEST = 96.0


@dataclass(frozen=True, slots=True)
class Read:
    """Found in the cache. coarse, fine: (B, 8, h/4, w/4) moments; scores: (B, 4, h/4, w/4) how good the match is.

    Scores: the best cosine at stride 4, the entropy there, the best cosine at stride 8, and by how much something else
    in the frame is more like what was matched there.
    """

    coarse: Tensor
    fine: Tensor
    scores: Tensor


class Matcher(nn.Module):
    """Coarse and fine reads of any number of memories at once; sharpness of the attention is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness8 = nn.Parameter(torch.tensor(3.0))
        self.log_sharpness4 = nn.Parameter(torch.tensor(3.0))
        self.log_apart = nn.Parameter(torch.tensor(APART).log())

    def forward(
        self,
        query: Features,
        memories: Sequence[Memory],
        moving8: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Read:
        """memories: at least one; all of the query's size. moving8: (B, 1, h/8, w/8) how far the query's places move.

        That is in [0, 1], and None where nobody knows. kept: of the cells of memories without a reach those that are
        looked at, see ``worth_a_look``; None: all of them.
        """
        coarse, match, memory, cell = self._coarse(query, memories, moving8, kept)
        fine, scores = self._fine(query, memories, memory, cell)
        found = resize(torch.cat([coarse, match], 1), query.key4)
        return Read(found[:, :MOMENTS], fine, torch.cat([scores, found[:, MOMENTS:]], 1))

    def _coarse(
        self, query: Features, memories: Sequence[Memory], moving8: Tensor | None = None, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Attention at stride 8 over the cells of all memories.

        Returns the moments (B, 8, h/8, w/8); the cosine of the best and by how much it is another's, (B, 2, h/8, w/8);
        and which memory and which of its cells that was, (B, h/8 * w/8) each.
        """
        # In powers of two: exp2 is four times as fast as exp on a processor, and many times where cells are masked.
        sharpness = self.log_sharpness8.exp() / math.log(2)
        queries = query.key8.permute(0, 2, 3, 1) * sharpness
        moving = None if moving8 is None else as_query(moving8, self.log_apart.exp() * sharpness)
        share = resize(query.claim16, query.key8).permute(0, 2, 3, 1)
        parts = parts_of(memories, kept)
        similar = [part.similarity(queries, moving) for part in parts]
        claims = [part.claims(x) for part, x in zip(parts, similar, strict=True)]
        similar = [_less(x, share, claim) for x, claim in zip(similar, claims, strict=True)]
        bests, indexes = zip(*(_best(x) for x in similar), strict=True)
        best, which = torch.stack(bests).max(0)

        def of_the_best(values: Iterable[Tensor]) -> Tensor:
            """(B or 1, r, cells) of every part -> (B, h/8, w/8)."""
            each = [_at(x, index) for x, index in zip(values, indexes, strict=True)]
            return torch.stack(each).gather(0, which[None])[0]

        # A softmax over all parts without joining them, in place, for they are large: powers, and their sum as one
        # value more. Nothing is taken off where the powers are numbers all the same.
        shift = None if by_bits(best) and bool(best.abs().max() < LARGEST) else best.detach()[..., None]
        read = torch.zeros((), device=best.device)
        for x, part in zip(similar, parts, strict=True):
            read = read + _read((x if shift is None else x.sub_(shift)).exp2_(), part.values)
        coarse = (read[..., :MOMENTS] / read[..., MOMENTS:]).permute(0, 3, 1, 2)
        claimed = of_the_best(claims).float()
        cosine = best + share[..., 0] * claimed
        match = torch.stack([cosine, claimed - cosine], 1) / sharpness
        cell = of_the_best(part.cells for part in parts).flatten(1)
        count = query.key8[0, 0].numel()
        return coarse, match, cell // count, cell % count

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
        result = torch.cat([found, match.amax(2, keepdim=True) / sharpness, entropy], 2)
        count = MOMENTS + 2
        plane = result.view(batch, height8, width8, 2, 2, count).permute(0, 5, 1, 3, 2, 4)
        plane = plane.reshape(batch, count, 2 * height8, 2 * width8)[..., :height, :width]
        return plane[:, :MOMENTS], plane[:, MOMENTS:]


def _less(similarity: Tensor, share: Tensor, claims: Tensor) -> Tensor:
    """similarity (B, h, w, cells) less the share (B, h, w, 1) of claims (B, h or 1, cells); in place if that may be.

    As a product of one column and one row: half the time of a broadcast.
    """
    rows = claims.flatten(0, 1)[:, None]
    whole = similarity.view(len(rows), -1, rows.shape[-1])
    take = torch.baddbmm if similarity.requires_grad else Tensor.baddbmm_
    return take(whole, share.to(whole).reshape(len(rows), -1, 1), rows, alpha=-1).view(similarity.shape)


def _at(values: Tensor, index: Tensor) -> Tensor:
    """(B or 1, h or 1, cells) and which of the cells (B, h, w) -> (B, h, w)."""
    return values.expand(len(index), index.shape[1], -1).gather(2, index)


def _best(similarity: Tensor) -> tuple[Tensor, Tensor]:
    """(..., cells) -> the largest of the cells (...) and which it is (...)."""
    if not by_bits(similarity):
        best, index = similarity.max(-1)
        return best, index
    # NumPy looks at many numbers at once, torch at one after the other.
    index = torch.from_numpy(similarity.view(torch.int16).numpy().argmax(-1))
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
