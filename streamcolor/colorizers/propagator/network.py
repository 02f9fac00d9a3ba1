"""The network of ``propagator``: matching by attention over a cache, and a learned choice among what it finds.

One frame is colored in four steps. Shapes: B batch, h x w the working size, s strides.

1. ``Encoder``: lightness (B, 1, h, w) -> unit-norm keys at strides 4, 8 and 16, features at 4, context at 16.
2. Coarse read: every query at stride 8 attends to all cells of the references, and to the cells near it in
   the recent frames. The best cell opens a 5 x 5 window at stride 4: fine read. Values are colors, never
   features, so a read can only return colors that exist.
3. Semantic read: at stride 16, what looks alike in the references although it is another thing; and a guess
   (prior) from context for what no reference shows.
4. ``Fusion``: weights per pixel over all of these, and how far the result is to be trusted.

It grew out of memory networks for masks and colors (Oh et al. 2019, "Video Object Segmentation using
Space-Time Memory Networks"; Yang et al. 2024, "ColorMNet"), made small enough for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AB_SCALE = 110.0
FINE_RADIUS = 2
MASKED = -1e4


class Residual(nn.Module):
    """Two 3 x 3 convolutions with GroupNorm around an identity; (B, c, h, w) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


def halve(inputs: int, outputs: int) -> nn.Sequential:
    """Stride-2 convolution; (B, inputs, h, w) -> (B, outputs, ceil(h / 2), ceil(w / 2))."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU())


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear to the height and width of ``like``."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


@dataclass(frozen=True, slots=True)
class Features:
    """What the encoder says of a picture: keys (unit norm over channels) and features by stride."""

    key4: Tensor
    key8: Tensor
    key16: Tensor
    detail4: Tensor
    context16: Tensor

    def __getitem__(self, rows: slice) -> Features:
        return Features(*(getattr(self, name)[rows] for name in self.__slots__))


class Encoder(nn.Module):
    """Lightness to keys and features; strides 2 to 32 and a small top-down path."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96, 128), keys: int = 32, context: int = 64) -> None:
        super().__init__()
        c2, c4, c8, c16, c32 = widths
        self.stage2 = halve(1, c2)
        self.stage4 = nn.Sequential(halve(c2, c4), Residual(c4))
        self.stage8 = nn.Sequential(halve(c4, c8), Residual(c8))
        self.stage16 = nn.Sequential(halve(c8, c16), Residual(c16))
        self.stage32 = nn.Sequential(halve(c16, c32), Residual(c32))
        self.lateral32 = nn.Conv2d(c32, context, 1)
        self.lateral16c = nn.Conv2d(c16, context, 1)
        self.merge16 = Residual(context)
        self.key16 = nn.Conv2d(context, keys, 1)
        self.lateral16 = nn.Conv2d(c16, c8, 1)
        self.merge8 = nn.Conv2d(c8, c8, 3, 1, 1)
        self.lateral8 = nn.Conv2d(c8, c4, 1)
        self.merge4 = nn.Conv2d(c4, c4, 3, 1, 1)
        self.key8 = nn.Conv2d(c8, keys, 1)
        self.key4 = nn.Conv2d(c4, keys, 1)

    def forward(self, lightness: Tensor) -> Features:
        """lightness: (B, 1, h, w), L* / 100 - 0.5, h and w multiples of 16."""
        x4 = self.stage4(self.stage2(lightness))
        x8 = self.stage8(x4)
        x16 = self.stage16(x8)
        x32 = self.stage32(x16)
        context16 = self.merge16(self.lateral16c(x16) + resize(self.lateral32(x32), x16))
        p8 = F.relu(x8 + self.merge8(resize(self.lateral16(x16), x8)))
        p4 = F.relu(x4 + self.merge4(resize(self.lateral8(p8), x4)))
        return Features(
            key4=F.normalize(self.key4(p4), dim=1),
            key8=F.normalize(self.key8(p8), dim=1),
            key16=F.normalize(self.key16(context16), dim=1),
            detail4=p4,
            context16=context16,
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """One picture as the reads see it: keys (B, k, h/s, w/s), values (B, 3, h/s, w/s): ab / 110 and trust in [0, 1].

    radius: how far from a query, in cells of stride 8, its cells are looked at; 0 means everywhere.
    """

    key4: Tensor
    key8: Tensor
    key16: Tensor
    value4: Tensor
    radius: int = 0

    @classmethod
    def of(cls, features: Features, ab4: Tensor, trust4: Tensor, radius: int = 0) -> Memory:
        """ab4: (B, 2, h/4, w/4) in units of 110; trust4: (B, 1, h/4, w/4)."""
        return cls(features.key4, features.key8, features.key16, torch.cat([ab4, trust4], 1), radius)

    def value(self, stride: int) -> Tensor:
        """Values at stride 4, 8 or 16: colors are averaged where they are trusted."""
        if stride == 4:
            return self.value4
        pooled = F.avg_pool2d(
            torch.cat([self.value4[:, :2] * self.value4[:, 2:], self.value4[:, 2:]], 1), stride // 4, ceil_mode=True
        )
        return torch.cat([pooled[:, :2] / pooled[:, 2:].clamp_min(1e-3), pooled[:, 2:]], 1)


@dataclass(frozen=True, slots=True)
class Read:
    """Found in the cache. coarse, fine: (B, 3, h/4, w/4) values; scores: (B, 3, h/4, w/4) how good the match is."""

    coarse: Tensor
    fine: Tensor
    scores: Tensor


def tokens(x: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h w, c)."""
    return x.flatten(2).transpose(1, 2)


@lru_cache(maxsize=16)
def out_of_reach(height: int, width: int, radius: int, device: torch.device) -> Tensor:
    """(h w, h w): 0 where a key cell lies within ``radius`` cells of the query cell, else a large negative number."""
    y = torch.arange(height, dtype=torch.int16).repeat_interleave(width)
    x = torch.arange(width, dtype=torch.int16).repeat(height)
    away = ((y[:, None] - y).abs() > radius) | ((x[:, None] - x).abs() > radius)
    return torch.zeros(away.shape).masked_fill_(away, MASKED).to(device)


class Matcher(nn.Module):
    """Coarse and fine reads of any number of memories at once; sharpness of the attention is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness8 = nn.Parameter(torch.tensor(3.0))
        self.log_sharpness4 = nn.Parameter(torch.tensor(3.0))

    def forward(self, query: Features, memories: Sequence[Memory]) -> Read:
        height, width = query.key8.shape[-2:]
        sharpness = self.log_sharpness8.exp()
        similarity = self._similarity8(tokens(query.key8) * sharpness, memories)
        weights = torch.softmax(similarity, 2)
        values = torch.cat([tokens(memory.value(8)) for memory in memories], 1)
        coarse = torch.bmm(weights, values).transpose(1, 2).reshape(-1, 3, height, width)
        best, index = similarity.max(2)
        best = best / sharpness
        fine, scores = self._fine(query, memories, index)
        found = resize(torch.cat([coarse, best.view(-1, 1, height, width)], 1), query.key4)
        return Read(found[:, :3], fine, torch.cat([scores, found[:, 3:]], 1))

    def _similarity8(self, queries: Tensor, memories: Sequence[Memory]) -> Tensor:
        """(B, queries, cells of all memories): dot products; masked where nothing is trusted or out of reach."""
        keys = torch.cat([memory.key8.flatten(2) for memory in memories], 2)
        similarity = torch.bmm(queries, keys)
        height, width = memories[0].key8.shape[-2:]
        cells = height * width
        masks = []
        for number, memory in enumerate(memories):
            part = slice(number * cells, (number + 1) * cells)
            if memory.radius:
                masks.append((part, out_of_reach(height, width, memory.radius, similarity.device)))
            else:
                hidden = memory.value(8)[:, 2:].flatten(2) < 0.5
                if bool(hidden.any()):
                    masks.append((part, hidden * MASKED))
        if masks and similarity.requires_grad:
            whole = torch.zeros_like(similarity)
            for part, mask in masks:
                whole[:, :, part] = mask
            return similarity + whole
        for part, mask in masks:
            similarity[:, :, part] += mask
        return similarity

    def _fine(self, query: Features, memories: Sequence[Memory], index: Tensor) -> tuple[Tensor, Tensor]:
        """Attention at stride 4 in a window around the best coarse cell. index: (B, queries) over all memories.

        The four queries of a coarse cell share its window, one gather of 6 x 6 keys, and each sees its own 5 x 5.
        """
        batch, channels, height, width = query.key4.shape
        height8, width8 = query.key8.shape[-2:]
        device = index.device
        memory, cell = index // (height8 * width8), index % (height8 * width8)
        reach = torch.arange(-FINE_RADIUS, FINE_RADIUS + 2, device=device)
        rows = (2 * (cell // width8)[..., None] + reach).clamp(0, height - 1) * width
        columns = (2 * (cell % width8)[..., None] + reach).clamp(0, width - 1)
        base = (torch.arange(batch, device=device)[:, None] * len(memories) + memory) * (height * width)
        flat = (base[..., None, None] + rows[..., :, None] + columns[..., None, :]).flatten()
        keys = torch.stack([tokens(m.key4) for m in memories], 1).flatten(0, 2)
        values = torch.stack([tokens(m.value4) for m in memories], 1).flatten(0, 2)
        window = len(reach) ** 2
        gathered = keys.index_select(0, flat).view(-1, window, channels)
        queries = F.pad(query.key4, (0, 2 * width8 - width, 0, 2 * height8 - height))
        queries = queries.view(batch, channels, height8, 2, width8, 2).permute(0, 2, 4, 3, 5, 1)
        sharpness = self.log_sharpness4.exp()
        match = torch.bmm(queries.reshape(-1, 4, channels) * sharpness, gathered.transpose(1, 2)) + _own_window(device)
        weights = torch.softmax(match, 2)
        found = torch.bmm(weights, values.index_select(0, flat).view(-1, window, 3))
        entropy = -(weights * (weights + 1e-6).log()).sum(2, keepdim=True)
        result = torch.cat([found, match.max(2, keepdim=True)[0] / sharpness, entropy], 2)
        plane = result.view(batch, height8, width8, 2, 2, 5).permute(0, 5, 1, 3, 2, 4)
        plane = plane.reshape(batch, 5, 2 * height8, 2 * width8)[..., :height, :width]
        return plane[:, :3], plane[:, 3:]


@lru_cache(maxsize=4)
def _own_window(device: torch.device) -> Tensor:
    """(4, 36): which of a coarse cell's 6 x 6 keys each of its 2 x 2 queries sees, 0 or a large negative number."""
    side = 2 * FINE_RADIUS + 2
    mask = torch.full((2, 2, side, side), MASKED)
    for y in (0, 1):
        for x in (0, 1):
            mask[y, x, y : y + side - 1, x : x + side - 1] = 0
    return mask.view(4, side * side).to(device)


class Semantic(nn.Module):
    """What looks alike at stride 16, and a guess from context, the colors of alike things at hand."""

    def __init__(self, context: int = 64, width: int = 64) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.tensor(2.5))
        self.mix = nn.Sequential(nn.Conv2d(context + 4, width, 3, 1, 1), nn.ReLU(), Residual(width))
        self.guess = nn.Conv2d(width, 2, 1)
        self.hint = nn.Conv2d(width, 16, 1)

    def forward(self, query: Features, memories: Sequence[Memory]) -> tuple[Tensor, Tensor, Tensor]:
        """Read (B, 4, h/16, w/16): ab, trust, best cosine; guess (B, 2, ...) ab; hint (B, 16, ...) features."""
        batch, _, height, width = query.key16.shape
        if memories:
            similarity = torch.cat([torch.bmm(tokens(query.key16), m.key16.flatten(2)) for m in memories], 2)
            values = torch.cat([tokens(m.value(16)) for m in memories], 1)
            similarity = similarity.masked_fill((values[..., 2] < 0.5)[:, None], MASKED)
            weights = torch.softmax(similarity * self.log_sharpness.exp(), 2)
            best = similarity.max(2, keepdim=True)[0].clamp_min(-1)
            read = torch.cat([torch.bmm(weights, values), best], 2).transpose(1, 2).reshape(-1, 4, height, width)
        else:
            read = query.key16.new_zeros(batch, 4, height, width)
            read[:, 3] = -1
        mixed = self.mix(torch.cat([query.context16, read], 1))
        return read, self.guess(mixed), self.hint(mixed)


class Fusion(nn.Module):
    """Weights per pixel over the candidates, a correction, and trust in the result.

    Candidates in order: fine and coarse read of the references, fine and coarse read of the recent frames,
    semantic read, guess.
    """

    CANDIDATES = 6

    def __init__(self, detail: int = 32, width: int = 48) -> None:
        super().__init__()
        inputs = detail + 2 * (3 + 3 + 3) + 4 + 2 + 16
        self.mix = nn.Sequential(nn.Conv2d(inputs, width, 3, 1, 1), nn.ReLU(), Residual(width))
        self.out = nn.Conv2d(width, self.CANDIDATES + 3, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
        bias = torch.zeros(self.CANDIDATES + 3)
        bias[: self.CANDIDATES] = torch.tensor([1.0, 0.0, 1.0, 0.0, -1.0, -1.0])
        assert self.out.bias is not None
        self.out.bias.data.copy_(bias)

    def forward(
        self, detail: Tensor, references: Read | None, recent: Read | None, alike: Tensor, guess: Tensor, hint: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Everything at stride 4. Returns ab (B, 2, ...) in units of 110, logit of trust (B, 1, ...), weights."""
        batch, _, height, width = detail.shape
        inputs, colors, missing = [detail], [], []
        for read in (references, recent):
            if read is None:
                empty = detail.new_zeros(batch, 9, height, width)
                empty[:, [6, 8]] = -1.0
                inputs.append(empty)
                colors += [detail.new_zeros(batch, 2, height, width)] * 2
            else:
                inputs += [read.fine, read.coarse, read.scores.clamp_min(-1)]
                colors += [read.fine[:, :2], read.coarse[:, :2]]
            missing += [read is None] * 2
        colors += [alike[:, :2], guess]
        missing += [references is None, False]
        out = self.out(self.mix(torch.cat([*inputs, alike, guess, hint], 1)))
        logits = out[:, : self.CANDIDATES]
        if any(missing):
            absent = torch.tensor(missing, device=out.device)[None, :, None, None]
            logits = logits.masked_fill(absent, MASKED)
        weights = torch.softmax(logits, 1)
        ab = (weights[:, :, None] * torch.stack(colors, 1)).sum(1) + 0.25 * torch.tanh(out[:, -3:-1])
        return ab, out[:, -1:], weights


@dataclass(frozen=True, slots=True)
class Output:
    """Result at stride 4 (ab in units of 110, trust as a logit) and what the losses look at on the way."""

    ab4: Tensor
    trust_logit4: Tensor
    weights4: Tensor
    references: Read | None
    recent: Read | None
    alike16: Tensor
    guess16: Tensor


class PropagatorNetwork(nn.Module):
    """Features of a frame and memories -> its color at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.matcher = Matcher()
        self.semantic = Semantic()
        self.fusion = Fusion()

    def forward(self, query: Features, references: Sequence[Memory], recent: Sequence[Memory]) -> Output:
        """Any number of references and recent frames, none included; all of one size."""
        found = self.matcher(query, references) if references else None
        followed = self.matcher(query, recent) if recent else None
        alike16, guess16, hint16 = self.semantic(query, references)
        up = resize(torch.cat([alike16, guess16, hint16], 1), query.detail4)
        ab4, trust, weights = self.fusion(query.detail4, found, followed, up[:, :4], up[:, 4:6], up[:, 6:])
        return Output(ab4, trust, weights, found, followed, alike16, guess16)
