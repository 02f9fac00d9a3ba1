"""``agin`` behind the contract."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from streamcolor.colorizers.agin.network import LEAST, STRIDE, AginNetwork
from streamcolor.colorizers.cache import CachePolicy, Entry
from streamcolor.colorizers.contract import ColorizerInfo, Precision
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.padding import at_multiples
from streamcolor.colorizers.rgb import chroma_of, grey_picture
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.frame import Chroma

# The network says nothing of how sure it is.
_CONFIDENCE = 0.1


class Agin(FrameWise[AginNetwork]):
    """Colors from what the network has learned alone; references are accepted and ignored."""

    info = ColorizerInfo(
        id="agin",
        references=False,
        size=256,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self, weights: Path, device: str = "cpu", precision: Precision = "fp32", *, stabilize: bool = True
    ) -> None:
        """weights: a safetensors file of an ``AginNetwork`` of any width. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(AginNetwork.like(tensors), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        film = (grey_picture(lightness) * 2 - 1).to(self.device)
        multiple = STRIDE if min(film.shape[-2:]) >= LEAST else LEAST
        ab = chroma_of((at_multiples(self.network, film, multiple).float() + 1) / 2)
        return Chroma(ab, torch.full((1, *ab.shape[1:]), _CONFIDENCE))
