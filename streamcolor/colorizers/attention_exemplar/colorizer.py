"""``attention-exemplar`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from streamcolor.colorizers.attention_exemplar.bins import soft_histogram
from streamcolor.colorizers.attention_exemplar.features import STRIDE, at_grid
from streamcolor.colorizers.attention_exemplar.network import AB, AttentionExemplarNetwork, Variant
from streamcolor.colorizers.cache import CachePolicy, Entry
from streamcolor.colorizers.contract import ColorizerInfo, Precision, Reference
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.errors import InputError
from streamcolor.frame import Chroma

# The gate says where a color comes from, not how good it is: one of a reference is likelier than one of the database.
GUIDED, GUESSED = 0.3, 0.1


class AttentionExemplar(FrameWise[AttentionExemplarNetwork]):
    """Colors by what resembles a place in the references, or by what the database has for it in their colors.

    Several references lend their places together, and the mean of their histograms is the prior. Without a reference
    the database colors alone, every color being as likely.
    """

    info = ColorizerInfo(
        id="attention-exemplar",
        references=True,
        size=256,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of ``AttentionExemplarNetwork``. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(network_for(tensors, weights), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

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


def network_for(tensors: Mapping[str, Tensor], path: Path) -> AttentionExemplarNetwork:
    """A network of the size, bins and switches of some weights. Raises InputError for those of something else."""
    try:
        width = tensors["features.b1.0.weight"].shape[0]
        centers = tensors["database.centers"]
        dcm, prior, sparse = (bool(switch) for switch in tensors["switches"])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not hold the weights of attention-exemplar") from error
    return AttentionExemplarNetwork(width, centers, Variant(dcm, prior, sparse))
