"""``chroma-prior`` behind the contract, and as a part of other models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.prior.body import STEM
from streamcolor.colorizers.prior.network import MULTIPLE, PriorNetwork, Seen, Widths
from streamcolor.colorizers.registry import find, shipped_weights
from streamcolor.colorizers.residual import laid_out
from streamcolor.colorizers.stabilization import GUESSED, FrameWise, evenly, frame_wise
from streamcolor.frame import Chroma

# Short side that the network sees a frame at, whatever the working size is: it wants to see the whole.
SEEN = 192


class ChromaPrior(FrameWise[PriorNetwork]):
    """Colors from what the network has learned alone; references are accepted and ignored."""

    info = replace(frame_wise("chroma-prior", references=False, size=240), size_multiple=2)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> PriorNetwork:
        """See ``FrameWise.network_for``."""
        return PriorNetwork(widths_of(tensors))

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has half of the working size."""
        return evenly(colored(self.network, lightness.to(self.device))[0], GUESSED)


def colored(network: PriorNetwork, lightness: Tensor) -> Tensor:
    """a*, b* (1, 2, ceil(h / 2), ceil(w / 2)) of L* (1, 1, h, w)."""
    light = lightness / 100 - 0.5
    return guess(network, light, F.avg_pool2d(light, 2, ceil_mode=True)) * AB_SCALE


def guess(network: PriorNetwork, lightness: Tensor, at: Tensor) -> Tensor:
    """ab / 110 (B, 2, h', w') at the size of ``at`` (B, 1, h', w'), a reduction of ``lightness`` (B, 1, h, w).

    Both are L* / 100 - 0.5.
    """
    return told(network, look(network, lightness), at)


def told(network: PriorNetwork, seen: Seen, at: Tensor) -> Tensor:
    """What ``guess`` says where the pictures have been looked at already."""
    return laid_out(network.tell(seen), at)


def look(network: PriorNetwork, lightness: Tensor) -> Seen:
    """What the network sees in pictures of any size, (B, 1, h, w), L* / 100 - 0.5."""
    # A trace hands sides on as tensors, which cannot be rounded.
    height, width = (int(side) for side in lightness.shape[-2:])
    scale = min(SEEN / min(height, width), 1) / MULTIPLE
    size = [max(round(side * scale), 1) * MULTIPLE for side in (height, width)]
    shown = F.interpolate(lightness, size=size, mode="bilinear", align_corners=False, antialias=True)
    return network.see(shown.contiguous(memory_format=torch.channels_last))


def shipped_network() -> PriorNetwork:
    """The network with the weights inside the package. Raises InputError when they are damaged."""
    file = shipped_weights(find(ChromaPrior.info.id))
    tensors = read_weights(file, ChromaPrior.info.id)
    return loaded(PriorNetwork(widths_of(tensors)), tensors, file, ChromaPrior.info.id)


def widths_of(tensors: Mapping[str, Tensor]) -> Widths:
    """The widths that weights were trained at; those of the model itself where they do not tell."""
    stem, *up = (tensors.get(f"{name}.weight") for name in ("body.stem", "from16", "from8", "from4"))
    if stem is None or any(part is None for part in up) or not 0 < len(stem) <= STEM:
        return Widths()
    u16, u8, u4 = (len(part) for part in up if part is not None)
    return Widths(STEM // len(stem), (u16, u8, u4))
