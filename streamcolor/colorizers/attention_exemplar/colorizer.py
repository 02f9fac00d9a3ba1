"""``attention-exemplar`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from streamcolor.colorizers.attention_exemplar.bins import soft_histogram
from streamcolor.colorizers.attention_exemplar.features import STRIDE, at_grid
from streamcolor.colorizers.attention_exemplar.network import AB, AttentionExemplarNetwork, Variant
from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.stabilization import GUESSED, GUIDED, FrameWise, frame_wise
from streamcolor.frame import Chroma


class AttentionExemplar(FrameWise[AttentionExemplarNetwork]):
    """Colors by what resembles a place in the references, or by what the database has for it in their colors.

    Several references lend their places together, and the mean of their histograms is the prior. Without a reference
    the database colors alone, every color being as likely.
    """

    info = frame_wise("attention-exemplar", references=True)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> AttentionExemplarNetwork:
        """See ``FrameWise.network_for``."""
        try:
            width = tensors["features.b1.0.weight"].shape[0]
            centers = tensors["database.centers"]
            dcm, prior, sparse = (bool(switch) for switch in tensors["switches"])
        except (KeyError, IndexError, TypeError, ValueError):
            return AttentionExemplarNetwork()
        return AttentionExemplarNetwork(width, centers, Variant(dcm, prior, sparse))

    def encode(self, reference: Reference) -> Entry:
        """Its histogram, and keys and values of the places that are mostly opaque (half precision: they are many)."""
        lightness = padded((reference.lightness - 50) / 100, STRIDE).to(self.device)
        ab, opaque = (padded(part, STRIDE).to(self.device) for part in (reference.ab, reference.opaque))
        if not (opaque > 0.5).any():
            opaque = torch.ones_like(opaque)
        with torch.inference_mode(), self.autocast():
            keys, values = self.network.tokens(lightness, ab / AB)
            seen = at_grid(opaque, self.network.grid(lightness)).flatten() > 0.5
            histogram = soft_histogram(ab, self.network.database.centers, opaque)
        if seen.any():
            keys, values = keys[:, seen], values[:, seen]
        tensors = {"keys": keys.half(), "values": values.float(), "histogram": histogram.float()}
        return Entry(tensors, reference.frame)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        film = ((lightness - 50) / 100).to(self.device)
        tokens = self._tokens(references)

        def colored(picture: Tensor) -> Tensor:
            result = self.network.color(picture, *tokens)
            # The gate says where a color comes from, not how good it is.
            from_reference = result.gate[:, :1] * (GUIDED - GUESSED) + GUESSED
            return torch.cat([result.ab, at_grid(from_reference, (picture.shape[-2], picture.shape[-1]))], 1)

        result = at_multiples(colored, film, STRIDE)[0].float().cpu()
        return Chroma((result[:2] * AB).clamp(-AB, AB), result[2:].clamp(GUESSED, GUIDED))

    def _tokens(self, references: Sequence[Entry]) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and histogram of all references."""
        if not references:
            bins = self.network.database.centers
            channels = self.network.key_channels
            nothing = bins.new_zeros(1, 0, channels), bins.new_zeros(1, 0, 2)
            return *nothing, bins.new_full((1, len(bins)), 1 / len(bins))
        keys, values = (
            torch.cat([entry.tensors[name].to(self.device, torch.float32) for entry in references], 1)
            for name in ("keys", "values")
        )
        histograms = torch.cat([entry.tensors["histogram"] for entry in references]).to(self.device)
        return keys, values, histograms.mean(0, keepdim=True)
