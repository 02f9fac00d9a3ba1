"""``unet-gan`` and ``attention-unet-gan`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry
from streamcolor.colorizers.contract import ColorizerInfo, Precision
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.padding import at_multiples
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.unet_gan import attention
from streamcolor.colorizers.unet_gan.attention import AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import UnetGanNetwork
from streamcolor.frame import Chroma

# The networks say nothing of how sure they are, and nothing guides them.
GUESSED = 0.1


class UnetGan(FrameWise[UnetGanNetwork]):
    """Colors from what a U-Net has learned against a discriminator; references are accepted and ignored."""

    info = ColorizerInfo(
        id="unet-gan",
        references=False,
        size=256,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of ``UnetGanNetwork``. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(unet_for(tensors), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        return chroma_from(at_multiples(self.network, film_signal(lightness).to(self.device), self.network.stride))


class AttentionUnetGan(FrameWise[AttentionUnetGanNetwork]):
    """Colors from what an attention U-Net has learned against a discriminator; references are accepted and ignored."""

    info = ColorizerInfo(
        id="attention-unet-gan",
        references=False,
        size=256,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of ``AttentionUnetGanNetwork``. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(attention_for(tensors), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        return chroma_from(at_multiples(self.network, film_signal(lightness).to(self.device), attention.STRIDE))


def film_signal(lightness: Tensor) -> Tensor:
    """What a generator sees of the film: L* in [0, 100] -> L* / 50 - 1."""
    return lightness / 50 - 1


def chroma_from(colored: Tensor) -> Chroma:
    """A generator's a* / 110 and b* / 110, (1, 2, h, w), as chroma."""
    ab = (colored[0].float() * 110).clamp(-110, 110).cpu()
    return Chroma(ab, torch.full((1, *ab.shape[1:]), GUESSED))


def unet_for(tensors: Mapping[str, Tensor]) -> UnetGanNetwork:
    """A U-Net of the width and depth that weights were trained with; of the paper's size when they do not tell."""
    down = tensors.get("down.weight")
    if down is None or down.ndim != 4:
        return UnetGanNetwork()
    # Each level is nested in the one above it: the deepest name counts them.
    levels = max(name.count("layers.") for name in tensors)
    return UnetGanNetwork(len(down), max(levels + 1, 5))


def attention_for(tensors: Mapping[str, Tensor]) -> AttentionUnetGanNetwork:
    """As above, for the width alone."""
    out = tensors.get("out.0.weight")
    return AttentionUnetGanNetwork(out.shape[1] if out is not None and out.ndim == 4 else attention.WIDTH)
