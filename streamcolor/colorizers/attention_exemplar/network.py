"""Yin, Lu, Zhao & Peng, "Yes, Attention Is All You Need, for Exemplar based Colorization", sections 3.1 and 3.2.

Every place of the film chooses its color from two sources: the reference, where attention finds what resembles it, and
a database of colors (bins) of which the network has learned what has them, with the histogram of the reference as
prior. A gate mixes the two and a decoder makes a picture of it. The paper leaves open, and is our choice: that weights
sum to 1 instead of being divided by N again (equations 1, 4 and 6 do both, and would shrink colors towards grey), the
temperature of the attention (that of Gray2ColorNet, by the same group), that the confidence in the reference sees the
64 best matches and not all, and skips in the decoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.attention_exemplar.bins import gamut_bins
from streamcolor.colorizers.attention_exemplar.features import WIDTH, Decoder, Features, at_grid, described

AB = 110
"""a* and b* are divided by this."""

TEMPERATURE = 0.01
BEST = 64
"""Matches that the confidence in the reference sees."""

FLOOR = 1e-4
"""Added to the histogram of a reference, so that no color is impossible."""

_HIDDEN = 64
_TOKEN_STRIDE = 4
# Places that attend at a time, which bounds the memory.
_AT_ONCE = 1024


@dataclass(frozen=True)
class Variant:
    """Switches of Table 3.

    dcm: the database color module, else the reference is the only source. prior: the histogram of the reference, else
    every color is as likely. sparse: the gate with its sparse loss, else the colors of the two sources are added.
    """

    dcm: bool = True
    prior: bool = True
    sparse: bool = True

    @property
    def gate(self) -> bool:
        """Whether there are weights to be found."""
        return self.dcm and self.sparse


class Colored(NamedTuple):
    """a* / 110 and b* / 110, and how they came about at the grid (h, w) of places, mostly H / 4 x W / 4.

    ab: (B, 2, H, W) in (-1, 1). gate: (B, 2, h, w), the weights alpha of the reference and of the database.
    semantic, database: (B, 2, h, w), their colors c^r and c^d. likelihood: (B, N, H / 8, W / 8), of the bins.
    """

    ab: Tensor
    gate: Tensor
    semantic: Tensor
    database: Tensor
    likelihood: Tensor


class SemanticColors(nn.Module):
    """Section 3.2.1, equation 1: colors of the reference by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.confidence = nn.Sequential(nn.Linear(BEST, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Colors and confidence of places, (B, M, 2 + 1).

        query: (B, M, C), keys: (B, K, C), of length 1. values: (B, K, 2), colors at the keys.
        """
        # Half precision would round a cosine by a good part of the temperature.
        with torch.autocast(query.device.type, enabled=False):
            cosine = query.float() @ keys.float().transpose(1, 2)
            color = torch.softmax(cosine / TEMPERATURE, -1) @ values.float()
        best = cosine.topk(min(BEST, keys.shape[1]), -1).values
        return torch.cat([color, self.confidence(F.pad(best, (0, BEST - best.shape[-1])))], -1)


class DatabaseColors(nn.Module):
    """Section 3.2.2: colors of the bins. Their keys are an identity matrix, so that a query is a logit for each bin."""

    centers: Tensor

    def __init__(self, channels: int, centers: Tensor, *, prior: bool = True) -> None:
        """channels: of the deepest features. centers: (N, 2), a* and b*. prior: see ``Variant``."""
        super().__init__()
        self.prior = prior
        self.query = nn.Conv2d(channels, len(centers), 1)
        self.confidence = nn.Sequential(nn.Linear(len(centers), _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 1))
        self.register_buffer("centers", centers.clone())

    def forward(self, deepest: Tensor, histogram: Tensor) -> tuple[Tensor, Tensor]:
        """Colors and confidence of places (B, 2 + 1, h, w), and the likelihood of the bins (B, N, h, w).

        The bins are weighed by their posterior (equations 2 to 4). deepest: (B, C, h, w). histogram: (B, N), of the
        reference, with the sum 1.
        """
        logits = self.query(deepest)
        likelihood = torch.softmax(logits, 1)
        posterior = likelihood
        if self.prior:
            posterior = torch.softmax(logits + torch.log(histogram + FLOOR)[:, :, None, None], 1)
        color = torch.einsum("bnhw,nc->bchw", posterior, self.centers / AB)
        confidence = self.confidence(likelihood.movedim(1, -1)).movedim(-1, 1)
        return torch.cat([color, confidence], 1), likelihood


class AttentionExemplarNetwork(nn.Module):
    """Both sources, the gate and the decoder. Bins and switches are buffers, and so come with the weights."""

    switches: Tensor

    def __init__(
        self,
        width: int = WIDTH,
        centers: Tensor | None = None,
        variant: Variant | None = None,
        *,
        max_tokens: int = 4096,
    ) -> None:
        """width: channels of the first block. centers: (N, 2), a* and b* of the bins, by default ``gamut_bins``.

        max_tokens: places of a picture that take part in the attention; larger pictures have a coarser grid.
        """
        super().__init__()
        self.variant = variant or Variant()
        self.max_tokens = max_tokens
        self.width = width
        self.features = Features(width)
        self.semantic = SemanticColors()
        bins = gamut_bins() if centers is None else centers
        self.database = DatabaseColors(8 * width, bins, prior=self.variant.prior)
        self.decoder = Decoder(width)
        self.register_buffer("switches", torch.tensor(astuple(self.variant)))
        # What a variant leaves out learns nothing.
        self.database.query.requires_grad_(self.variant.dcm)
        for source in (self.semantic, self.database):
            source.confidence.requires_grad_(self.variant.gate)

    def tokens(self, lightness: Tensor, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (B, K, C) and values (B, K, 2) of references; lightness (B, 1, H, W) and a* / 110, b* / 110."""
        grid = self.grid(lightness)
        keys = described(self.features(lightness), lightness, grid)
        return keys, at_grid(ab, grid).flatten(2).transpose(1, 2)

    @property
    def key_channels(self) -> int:
        """C, the length of a key."""
        return 31 * self.width + 1

    def color(self, lightness: Tensor, keys: Tensor, values: Tensor, histogram: Tensor) -> Colored:
        """Color pictures (B, 1, H, W) from the ``tokens`` of references and their histograms (B, N).

        Without any token (K = 0) the database is the only source.
        """
        features = self.features(lightness)
        grid = self.grid(lightness)
        found, likelihood = self.database(features[-1], histogram)
        database = at_grid(found, grid)
        semantic = torch.zeros_like(database)
        if keys.shape[1]:
            query = described(features, lightness, grid)
            parts = [self.semantic(part, keys, values) for part in torch.split(query, _AT_ONCE, 1)]
            semantic = torch.cat(parts, 1).transpose(1, 2).reshape(database.shape)
        gate = self._gate(semantic[:, 2:], database[:, 2:], referenced=keys.shape[1] > 0)
        semantic, database = semantic[:, :2], database[:, :2]
        mixed = gate[:, :1] * semantic + gate[:, 1:] * database
        return Colored(self._decoded(features, lightness, mixed), gate, semantic, database, likelihood)

    def color_alone(self, lightness: Tensor) -> Tensor:
        """The first stage of training: a* / 110, b* / 110 (B, 2, H, W) of lightness, grey (0) from both sources."""
        return self._decoded(self.features(lightness), lightness, lightness.new_zeros(len(lightness), 2, 1, 1))

    def forward(self, lightness: Tensor, reference: Tensor, reference_ab: Tensor, histogram: Tensor) -> Colored:
        """``color`` by one reference for each picture, (B, 1, Hr, Wr) and (B, 2, Hr, Wr)."""
        return self.color(lightness, *self.tokens(reference, reference_ab), histogram)

    def grid(self, lightness: Tensor) -> tuple[int, int]:
        """Rows and columns of places that take part in the attention: a quarter of each side, at most max_tokens."""
        height, width = (side // _TOKEN_STRIDE for side in lightness.shape[-2:])
        if height * width <= self.max_tokens:
            return height, width
        share = math.sqrt(self.max_tokens / (height * width))
        return max(int(height * share), 1), max(int(width * share), 1)

    def _gate(self, semantic: Tensor, database: Tensor, *, referenced: bool) -> Tensor:
        """Equation 5: weights (B, 2, h, w) of the two sources from their confidence (B, 1, h, w)."""
        if self.variant.gate and referenced:
            return torch.softmax(torch.cat([semantic, database], 1), 1)
        weights = semantic.new_tensor([float(referenced), float(self.variant.dcm)])
        return weights[:, None, None].expand(len(semantic), 2, *semantic.shape[2:])

    def _decoded(self, features: Sequence[Tensor], lightness: Tensor, mixed: Tensor) -> Tensor:
        height, width = lightness.shape[-2:]
        colored: Tensor = self.decoder(features, lightness, at_grid(mixed, (height // 4, width // 4)))
        return colored
