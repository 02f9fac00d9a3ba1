"""``unet-gan`` and ``attention-unet-gan`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.padding import at_multiples
from streamcolor.colorizers.stabilization import GUESSED, FrameWise, evenly, frame_wise
from streamcolor.colorizers.unet_gan import attention
from streamcolor.colorizers.unet_gan.attention import AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import UnetGanNetwork
from streamcolor.frame import Chroma


class UnetGan(FrameWise[UnetGanNetwork]):
    """Colors from what a U-Net has learned against a discriminator; references are accepted and ignored."""

    info = frame_wise("unet-gan", references=False)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> UnetGanNetwork:
        """See ``FrameWise.network_for``."""
        down = tensors.get("down.weight")
        if down is None or down.ndim != 4:
            return UnetGanNetwork()
        # Each level is nested in the one above it: the deepest name counts them.
        levels = max(name.count("layers.") for name in tensors)
        return UnetGanNetwork(len(down), max(levels + 1, 5))

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        colored = at_multiples(self.network, film_signal(lightness).to(self.device), self.network.stride)
        return evenly(colored[0].float() * 110, GUESSED)


class AttentionUnetGan(FrameWise[AttentionUnetGanNetwork]):
    """Colors from what an attention U-Net has learned against a discriminator; references are accepted and ignored."""

    info = frame_wise("attention-unet-gan", references=False)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> AttentionUnetGanNetwork:
        """See ``FrameWise.network_for``."""
        out = tensors.get("out.0.weight")
        return AttentionUnetGanNetwork(out.shape[1] if out is not None and out.ndim == 4 else attention.WIDTH)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        colored = at_multiples(self.network, film_signal(lightness).to(self.device), attention.STRIDE)
        return evenly(colored[0].float() * 110, GUESSED)


def film_signal(lightness: Tensor) -> Tensor:
    """What a generator sees of the film: L* in [0, 100] -> L* / 50 - 1."""
    return lightness / 50 - 1
