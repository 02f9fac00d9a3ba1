"""The network of ``propagator``: matching by attention over a cache, and a learned choice among what it finds.

One frame is colored in four steps. Shapes: B batch, h x w the working size, s strides.

1. ``Encoder``: lightness (B, 1, h, w) -> unit-norm keys at strides 4, 8 and 16, features at 4, context at 16.
2. Coarse read: every query at stride 8 attends to all cells of the references, less to those that move otherwise
   (``Movers``), and to the cells near it in the recent frames. The best cell opens a 5 x 5 window at stride 4: fine
   read. Values are colors and how they go with lightness, never features.
3. Semantic read: at stride 16, what looks alike in the references although it is another thing; and a guess
   (prior) from context for what no reference shows.
4. ``Fusion``: weights per pixel over all of these, over what optical flow has followed (``Motion``), and over what
   a network of its own, trained on far more pictures, says of the frame alone (``chroma-prior``).

It grew out of memory networks for masks and colors (Oh et al. 2019, "Video Object Segmentation using
Space-Time Memory Networks"; Yang et al. 2024, "ColorMNet"), made small enough for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.propagator.encoder import SMALL, Encoder, Features, Size
from streamcolor.colorizers.propagator.matching import Matcher, Read
from streamcolor.colorizers.propagator.memory import MOMENTS, Memory, regressed, tokens
from streamcolor.colorizers.propagator.motion import Motion
from streamcolor.colorizers.propagator.movers import APART, as_keys, as_query
from streamcolor.colorizers.propagator.parts import MASKED, worth_a_look
from streamcolor.colorizers.residual import Residual, halve, laid_out, resize

# Variance of L* / 100 below which a regression on lightness starts out fading.
RIDGE = 2e-3


class Alike(NamedTuple):
    """What looks alike. read: (B, 9, h/16, w/16) moments, best cosine; guess: (B, 4, ...) see ``laid_out``.

    hint: (B, 16, ...) for the fusion. kept: which cells of the memories at stride 8 are worth a look, see
    ``worth_a_look``.
    """

    read: Tensor
    guess: Tensor
    hint: Tensor
    kept: Tensor | None


class Semantic(nn.Module):
    """What looks alike at stride 16, and a guess from context, the colors of alike things at hand."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.context
        self.log_sharpness = nn.Parameter(torch.tensor(2.5))
        self.log_apart = nn.Parameter(torch.tensor(APART).log())
        self.mix = nn.Sequential(
            nn.Conv2d(size.context + 4, width, 3, 1, 1), nn.ReLU(), Residual(width), Residual(width, silent=True)
        )
        self.guess = nn.Conv2d(width, 4, 1)
        self.hint = nn.Conv2d(width, 16, 1)

    def forward(self, query: Features, memories: Sequence[Memory], moving8: Tensor | None = None) -> Alike:
        """moving8: see ``Matcher``."""
        batch, _, height, width = query.key16.shape
        if memories:
            similarity = torch.cat([self._similarity(query, memory, moving8) for memory in memories], 2)
            values = torch.cat([tokens(m.moments(16)) for m in memories], 1)
            similarity = similarity.masked_fill((values[..., 2] < 0.5)[:, None], MASKED)
            best = similarity.amax(2, keepdim=True).clamp_min(-1)
            # Less of what is still there in the frame, see ``Matcher``.
            kept = worth_a_look(similarity, width)
            similarity = similarity - tokens(query.claim16) * similarity.amax(1, keepdim=True).clamp_min(0)
            weights = torch.softmax(similarity * self.log_sharpness.exp(), 2)
            read = torch.cat([torch.bmm(weights, values), best], 2).transpose(1, 2).reshape(batch, -1, height, width)
        else:
            kept = None
            nothing = query.key16.new_zeros(batch, MOMENTS, height, width)
            read = torch.cat([nothing, nothing[:, :1] - 1], 1)
        mixed = self.mix(torch.cat([query.context16, read[:, :3], read[:, MOMENTS:]], 1))
        return Alike(read, self.guess(mixed), self.hint(mixed), kept)

    def _similarity(self, query: Features, memory: Memory, moving8: Tensor | None) -> Tensor:
        """(B, queries, cells)."""
        similarity = torch.bmm(tokens(query.key16), memory.key16.flatten(2))
        moved = memory.moved(16)
        if moving8 is None or moved is None:
            return similarity
        asking = as_query(F.avg_pool2d(moving8, 2, ceil_mode=True), self.log_apart.exp())
        return similarity + torch.bmm(asking.flatten(1, 2), as_keys(moved))


class Fusion(nn.Module):
    """Weights per pixel over the candidates, a correction, and trust in the result."""

    # Fine and coarse read of the references, of the recent frames, semantic read, guess, color tracked to a
    # reference, color carried from the frame before, what ``chroma-prior`` says.
    CANDIDATES = ("fine", "coarse", "recent fine", "recent coarse", "alike", "guess", "tracked", "carried", "prior")

    def __init__(self, size: Size) -> None:
        super().__init__()
        detail, width, count = size.encoder[1], size.fusion, len(self.CANDIDATES)
        self.log_ridge = nn.Parameter(torch.tensor(RIDGE).log().repeat(3))
        inputs = detail + 2 * (3 + 3 + 4 + 4) + 4 + 2 + 2 + 16 + Motion.TRACKED + Motion.CARRIED + 2 + 1
        self.mix = nn.Sequential(nn.Conv2d(inputs, width, 3, 1, 1), nn.ReLU())
        self.down = nn.Sequential(halve(width, size.wide), Residual(size.wide), Residual(size.wide))
        self.up = nn.Conv2d(size.wide, width, 1)
        self.refine = Residual(width)
        # Logits of the candidates; correction of ab; trust; how far tracks that are believed overrule the rest.
        self.out = nn.Conv2d(width, count + 4, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        self.out.bias.data.copy_(torch.tensor([1.0, 0.0, 1.0, 0.0, -1.0, -1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.7]))

    def forward(self, query: Features, found: Found, motion: Motion, prior4: Tensor) -> Output:
        """Everything at stride 4; prior4: ab / 110 (B, 2, h/4, w/4)."""
        detail, light = query.detail4, query.light4
        inputs, colors, missing = [detail], [], []
        for read, ridge in ((found.references, self.log_ridge[0]), (found.recent, self.log_ridge[1])):
            held = self._nothing(detail) if read is None else read
            fine, coarse = (regressed(m, light, ridge.exp()) for m in (held.fine, held.coarse))
            inputs += [held.fine[:, :3], coarse.ab, held.coarse[:, 2:3], held.scores.clamp_min(-1)]
            inputs += [fine.gap, fine.deviation, coarse.gap, coarse.deviation]
            colors += [held.fine[:, :2], coarse.ab]
            missing += [read is None] * 2
        up = resize(torch.cat([found.alike16, found.hint16], 1), detail)
        alike = regressed(up, light, self.log_ridge[2].exp())
        guess = laid_out(found.guess16, light)
        tracked, carried = motion.filled(detail)
        inputs += [alike.ab, up[:, 2:3], up[:, MOMENTS:], alike.gap, alike.deviation, guess, tracked, carried]
        moving = torch.zeros_like(light) if found.moving8 is None else resize(found.moving8, light)
        inputs += [prior4, moving]
        colors += [alike.ab, guess, tracked[:, :2], carried[:, :2], prior4]
        missing += [found.references is None, False, motion.tracked is None, motion.carried is None, False]
        # In the type that the convolution takes them in: else they are joined as float32, twice as many bytes.
        mixed = self.mix(torch.cat([values.to(detail.dtype) for values in inputs], 1))
        out = self.out(self.refine(mixed + resize(self.up(self.down(mixed)), mixed)))
        logits = out[:, : len(self.CANDIDATES)]
        if any(missing):
            absent = torch.tensor(missing, device=out.device)[None, :, None, None]
            logits = logits.masked_fill(absent, MASKED)
        weights = torch.softmax(logits, 1)
        candidates = torch.stack(colors, 1)
        ab = (weights[:, :, None] * candidates).sum(1) + 0.25 * torch.tanh(out[:, -4:-2].float())
        ab = ab + torch.sigmoid(out[:, -1:]) * tracked[:, 2:3] * (tracked[:, :2] - ab)
        present = tuple(name for name, gone in zip(self.CANDIDATES, missing, strict=True) if not gone)
        return Output(ab, out[:, -2:-1], weights, candidates, present)

    @staticmethod
    def _nothing(like: Tensor) -> Read:
        """A read of no memories: no color, worst score."""
        batch, _, height, width = like.shape
        empty = like.new_zeros(batch, MOMENTS, height, width)
        worst = like.new_tensor([-1.0, 0.0, -1.0, 0.0])[:, None, None].expand(batch, 4, height, width)
        return Read(empty, empty, worst)


@dataclass(frozen=True, slots=True)
class Found:
    """What the reads of the cache found, before tracks are known; strides in the names, see the fields of ``Read``.

    moving8: as it was given to ``PropagatorNetwork.find``.
    """

    references: Read | None
    recent: Read | None
    alike16: Tensor
    guess16: Tensor
    hint16: Tensor
    moving8: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Result at stride 4 (ab in units of 110, trust as a logit) and what the losses look at on the way.

    weights4 (B, 9, ...) and candidates4 (B, 9, 2, ...) in the order of ``Fusion.CANDIDATES``; present: those that are.
    """

    ab4: Tensor
    trust_logit4: Tensor
    weights4: Tensor
    candidates4: Tensor
    present: tuple[str, ...]

    def candidate(self, name: str) -> Tensor:
        """ab (B, 2, h/4, w/4) of one of them."""
        return self.candidates4[:, Fusion.CANDIDATES.index(name)]


class PropagatorNetwork(nn.Module):
    """Features of a frame, memories and motion -> its color at stride 4."""

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        self.encoder = Encoder(size)
        self.matcher = Matcher()
        self.semantic = Semantic(size)
        self.fusion = Fusion(size)

    def find(
        self, query: Features, references: Sequence[Memory], recent: Sequence[Memory], moving8: Tensor | None = None
    ) -> Found:
        """Any number of references and recent frames, none included; all of one size.

        moving8: (B, 1, h/8, w/8) how far the places of the query move by themselves, in [0, 1]; None: not known.
        """
        alike: Alike = self.semantic(query, references, moving8)
        found = self.matcher(query, references, moving8, alike.kept) if references else None
        followed = self.matcher(query, recent) if recent else None
        return Found(found, followed, alike.read, alike.guess, alike.hint, moving8)

    def blend(self, query: Features, found: Found, motion: Motion, prior4: Tensor) -> Output:
        """The colors of the frame from everything that was found; prior4: what ``chroma-prior`` says, ab / 110."""
        output: Output = self.fusion(query, found, motion, prior4)
        return output

    def forward(
        self,
        query: Features,
        references: Sequence[Memory],
        recent: Sequence[Memory],
        motion: Motion,
        prior4: Tensor,
        moving8: Tensor | None = None,
    ) -> Output:
        """``find`` and ``blend``."""
        return self.blend(query, self.find(query, references, recent, moving8), motion, prior4)
