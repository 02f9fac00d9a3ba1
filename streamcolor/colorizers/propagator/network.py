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

import torch
from torch import Tensor, nn

from streamcolor.colorizers.propagator.encoder import Encoder, Features, Residual, resize
from streamcolor.colorizers.propagator.matching import MASKED, Matcher, Memory, Read, tokens

AB_SCALE = 110.0


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
