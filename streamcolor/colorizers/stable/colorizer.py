"""``unet-basic`` and ``stable-colorizer`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.contract import Precision, Reference
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.rgb import color_picture, emitted, grey_picture
from streamcolor.colorizers.stabilization import GUESSED, GUIDED, FrameWise, evenly, frame_wise
from streamcolor.colorizers.stable.network import (
    CHANNELS,
    STRIDE,
    Space,
    StableColorizerNetwork,
    UnetBasicNetwork,
)
from streamcolor.errors import CallError
from streamcolor.frame import Chroma


class UnetBasic(FrameWise[UnetBasicNetwork]):
    """Colors from what the network has learned alone; references are accepted and ignored."""

    info = frame_wise("unet-basic", references=False)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> UnetBasicNetwork:
        """See ``FrameWise.network_for``."""
        return UnetBasicNetwork(space_of(tensors))

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        film = film_picture(lightness, self.network.space).to(self.device)
        return chroma_from(at_multiples(self.network, film, STRIDE), self.network.space, GUESSED)


class StableColorizer(FrameWise[StableColorizerNetwork]):
    """Colors by what attention finds in the references, and otherwise by what the network has learned.

    Several references lend their tokens together: attention knows no positions, and so they are one longer list, in
    which each place takes what resembles it most, whichever picture it is in. Without a reference the network sees a
    black one, as in training with ``reference: none``.
    """

    info = frame_wise("stable-colorizer", references=True)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> StableColorizerNetwork:
        """See ``FrameWise.network_for``."""
        return StableColorizerNetwork(space_of(tensors))

    def encode(self, reference: Reference) -> Entry:
        """Its tokens (1, N, 64), without those of places that are mostly transparent."""
        picture = reference_picture(reference, self.network.space)
        with torch.inference_mode(), self.autocast():
            tokens = self.network.tokens(padded(picture, STRIDE).to(self.device))
            seen = F.avg_pool2d(padded(reference.opaque, STRIDE), STRIDE).flatten() > 0.5
            if seen.any():
                tokens = tokens[:, seen.to(self.device)]
        return Entry({"tokens": tokens}, reference.frame)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        space = self.network.space
        film = film_picture(lightness, space).to(self.device)
        tokens = [entry.tensors["tokens"].to(self.device) for entry in references]
        if not tokens:
            black = film.new_zeros(1, CHANNELS[space].reference, *film.shape[-2:])
            tokens = [self.network.tokens(padded(black, STRIDE))]
        colored = at_multiples(partial(self.network.color, tokens=torch.cat(tokens, 1)), film, STRIDE)
        return chroma_from(colored, space, GUIDED if references else GUESSED)


class Autoencoder:
    """The backbone of ``stable-colorizer``: trained for its encoder, it colors nothing."""

    def __init__(self, weights: Path, device: str = "cpu", precision: Precision = "fp32") -> None:
        """Raises CallError: there is no film to be colored with it."""
        raise CallError(
            "autoencoder is a backbone and colors no film; "
            f"train stable-colorizer with it (streamcolor train stable-colorizer --autoencoder {weights})"
        )


def film_picture(lightness: Tensor, space: Space) -> Tensor:
    """What a network sees of the film: (1, 1, h, w) L* -> (1, 3, h, w) grey R'G'B' or (1, 1, h, w) L* / 100."""
    return grey_picture(lightness) if space == "rgb" else lightness / 100


def reference_picture(reference: Reference, space: Space) -> Tensor:
    """What a network sees of a reference, (1, 3, h, w): R'G'B', or L* / 100 and a*, b* / 110."""
    if space == "rgb":
        return color_picture(reference.lightness, reference.ab)
    return torch.cat([reference.lightness / 100, reference.ab / 110], 1)


def chroma_from(colored: Tensor, space: Space, confidence: float) -> Chroma:
    """A network's output (1, 3 or 2, h, w) as chroma."""
    return emitted(colored, confidence) if space == "rgb" else evenly(colored[0].float() * 110, confidence)


def space_of(tensors: Mapping[str, Tensor]) -> Space:
    """The color space a U-Net was trained in: in Lab its first layer sees one channel."""
    first = tensors.get("encoder.d1.0.weight")
    return "lab" if first is not None and first.shape[1] == CHANNELS["lab"].film else "rgb"
