"""The network of ``propagator``: matching by attention over a cache, and a learned choice among what it finds.

One frame is colored in five steps. Shapes: B batch, h x w the working size, s strides.

1. ``Encoder``: lightness (B, 1, h, w) -> unit-norm keys at strides 4, 8 and 16, features at 4, context at 16.
2. Coarse read: every query at stride 8 attends to all cells of the references, and to the cells near it in
   the recent frames. The best cell opens a 5 x 5 window at stride 4: fine read. Values are colors, never
   features, so a read can only return colors that exist.
3. Semantic read: at stride 16, what looks alike in the references although it is another thing; and a guess
   (prior) from context for what no reference shows.
4. ``Fusion``: weights per pixel over all of these and over what optical flow has followed (``Motion``).
5. ``Spread``: colors that are trusted reach what is alike and near in the same frame, as strokes do.

It grew out of memory networks for masks and colors (Oh et al. 2019, "Video Object Segmentation using
Space-Time Memory Networks"; Yang et al. 2024, "ColorMNet"), made small enough for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.propagator.encoder import SMALL, Encoder, Features, Residual, Size, halve, resize
from streamcolor.colorizers.propagator.matching import MASKED, Matcher, Memory, Read, tokens
from streamcolor.colorizers.propagator.motion import Motion

AB_SCALE = 110.0
# Least trust that a cell of the frame itself counts with when colors are spread.
LEAST_TRUST = 1e-3


class Semantic(nn.Module):
    """What looks alike at stride 16, and a guess from context, the colors of alike things at hand."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.context
        self.log_sharpness = nn.Parameter(torch.tensor(2.5))
        self.mix = nn.Sequential(
            nn.Conv2d(size.context + 4, width, 3, 1, 1), nn.ReLU(), Residual(width), Residual(width, silent=True)
        )
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
            read = torch.cat(
                [query.key16.new_zeros(batch, 3, height, width), -query.key16.new_ones(batch, 1, height, width)], 1
            )
        mixed = self.mix(torch.cat([query.context16, read], 1))
        return read, self.guess(mixed), self.hint(mixed)


class Fusion(nn.Module):
    """Weights per pixel over the candidates, a correction, and trust in the result.

    Candidates in order: fine and coarse read of the references, fine and coarse read of the recent frames,
    semantic read, guess, color tracked to a reference, color carried from the frame before.
    """

    CANDIDATES = 8

    def __init__(self, size: Size) -> None:
        super().__init__()
        detail, width = size.encoder[1], size.fusion
        inputs = detail + 2 * (3 + 3 + 3) + 4 + 2 + 16 + Motion.TRACKED + Motion.CARRIED
        self.mix = nn.Sequential(nn.Conv2d(inputs, width, 3, 1, 1), nn.ReLU())
        self.down = nn.Sequential(halve(width, size.wide), Residual(size.wide), Residual(size.wide))
        self.up = nn.Conv2d(size.wide, width, 1)
        self.refine = Residual(width)
        self.out = nn.Conv2d(width, self.CANDIDATES + 3, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        self.out.bias.data.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))

    def forward(
        self,
        detail: Tensor,
        references: Read | None,
        recent: Read | None,
        alike: Tensor,
        guess: Tensor,
        hint: Tensor,
        motion: Motion,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Everything at stride 4. Returns ab (B, 2, ...) in units of 110, logit of trust (B, 1, ...), weights."""
        batch, _, height, width = detail.shape
        inputs, colors, missing = [detail], [], []
        for read in (references, recent):
            if read is None:
                empty = detail.new_zeros(batch, 6, height, width)
                nothing = -detail.new_ones(batch, 3, height, width)
                inputs += [empty, nothing * detail.new_tensor([1.0, 0.0, 1.0])[:, None, None]]
                colors += [empty[:, :2]] * 2
            else:
                inputs += [read.fine, read.coarse, read.scores.clamp_min(-1)]
                colors += [read.fine[:, :2], read.coarse[:, :2]]
            missing += [read is None] * 2
        tracked, carried = motion.filled(detail)
        inputs += [alike, guess, hint, tracked, carried]
        colors += [alike[:, :2], guess, tracked[:, :2], carried[:, :2]]
        missing += [references is None, False, motion.tracked is None, motion.carried is None]
        mixed = self.mix(torch.cat(inputs, 1))
        out = self.out(self.refine(mixed + resize(self.up(self.down(mixed)), mixed)))
        logits = out[:, : self.CANDIDATES]
        if any(missing):
            absent = torch.tensor(missing, device=out.device)[None, :, None, None]
            logits = logits.masked_fill(absent, MASKED)
        weights = torch.softmax(logits, 1)
        ab = (weights[:, :, None] * torch.stack(colors, 1)).sum(1) + 0.25 * torch.tanh(out[:, -3:-1])
        return ab, out[:, -1:], weights


class Spread(nn.Module):
    """Trusted colors of a frame reach its own untrusted places that are alike and near: attention at stride 16.

    What optimization over strokes does (Levin, Lischinski, Weiss 2004), with learned affinity.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.encoder[1]
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))
        self.log_nearness = nn.Parameter(torch.tensor(1.0))
        self.log_trust = nn.Parameter(torch.tensor(0.0))
        self.mix = nn.Sequential(nn.Conv2d(width + 2 + 1 + 3 + 2, width, 3, 1, 1), nn.ReLU())
        self.out = nn.Conv2d(width, 4, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        # First the result of the fusion, then the spread color, the guess, and a change of trust.
        self.out.bias.data.copy_(torch.tensor([3.0, -1.0, -1.0, 0.0]))

    def forward(self, query: Features, ab: Tensor, trust_logit: Tensor, guess: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ab (B, 2, h/4, w/4), trust as a logit, guess (B, 2, h/4, w/4) -> ab, logit, and the spread color."""
        batch, _, height, width = query.key16.shape
        trust = torch.sigmoid(trust_logit)
        pooled = F.avg_pool2d(torch.cat([ab * trust, trust], 1), 4)
        values = torch.cat([pooled[:, :2] / pooled[:, 2:].clamp_min(LEAST_TRUST), pooled[:, 2:]], 1)
        logits = torch.bmm(tokens(query.key16), query.key16.flatten(2)) * self.log_sharpness.exp()
        logits = logits - self.log_nearness.exp() * _distances(height, width).to(ab)
        logits = logits + self.log_trust.exp() * values[:, 2:].flatten(2).clamp_min(LEAST_TRUST).log()
        read = torch.bmm(torch.softmax(logits, 2), tokens(values)).transpose(1, 2).reshape(batch, 3, height, width)
        spread = resize(read, ab)
        out = self.out(self.mix(torch.cat([query.detail4, ab, trust, spread, guess], 1)))
        weights = torch.softmax(out[:, :3], 1)
        mixed = (weights[:, :, None] * torch.stack([ab, spread[:, :2], guess], 1)).sum(1)
        return mixed, trust_logit + out[:, 3:], spread[:, :2]


def _distances(height: int, width: int) -> Tensor:
    """(h w, h w): squared distance of two cells, in units of the larger side squared times a hundredth."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([y.flatten(), x.flatten()], 1).float() * (10.0 / max(height, width))
    return (place[:, None] - place[None]).square().sum(2)


@dataclass(frozen=True, slots=True)
class Found:
    """What the reads of the cache found, before motion is known; strides in the names, see the fields of ``Read``."""

    references: Read | None
    recent: Read | None
    alike16: Tensor
    guess16: Tensor
    hint16: Tensor


@dataclass(frozen=True, slots=True)
class Output:
    """Result at stride 4 (ab in units of 110, trust as a logit) and what the losses look at on the way."""

    ab4: Tensor
    trust_logit4: Tensor
    fused4: Tensor
    spread4: Tensor
    weights4: Tensor
    found: Found


class PropagatorNetwork(nn.Module):
    """Features of a frame, memories and motion -> its color at stride 4."""

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        self.encoder = Encoder(size)
        self.matcher = Matcher()
        self.semantic = Semantic(size)
        self.fusion = Fusion(size)
        self.spread = Spread(size)

    def find(self, query: Features, references: Sequence[Memory], recent: Sequence[Memory]) -> Found:
        """Any number of references and recent frames, none included; all of one size."""
        found = self.matcher(query, references) if references else None
        followed = self.matcher(query, recent) if recent else None
        return Found(found, followed, *self.semantic(query, references))

    def blend(self, query: Features, found: Found, motion: Motion) -> Output:
        """The colors of the frame from everything that was found."""
        up = resize(torch.cat([found.alike16, found.guess16, found.hint16], 1), query.detail4)
        alike, guess, hint = up[:, :4], up[:, 4:6], up[:, 6:]
        fused, trust, weights = self.fusion(query.detail4, found.references, found.recent, alike, guess, hint, motion)
        ab4, trust, spread = self.spread(query, fused, trust, guess)
        return Output(ab4, trust, fused, spread, weights, found)

    def forward(
        self, query: Features, references: Sequence[Memory], recent: Sequence[Memory], motion: Motion
    ) -> Output:
        """``find`` and ``blend``."""
        return self.blend(query, self.find(query, references, recent), motion)
