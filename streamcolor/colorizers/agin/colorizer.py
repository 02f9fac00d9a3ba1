"""``agin`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from streamcolor.colorizers.agin.network import LEAST, STRIDE, AginNetwork
from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.padding import at_multiples
from streamcolor.colorizers.rgb import emitted, grey_picture
from streamcolor.colorizers.stabilization import GUESSED, FrameWise, frame_wise
from streamcolor.frame import Chroma


class Agin(FrameWise[AginNetwork]):
    """Colors from what the network has learned alone; references are accepted and ignored."""

    info = frame_wise("agin", references=False)

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> AginNetwork:
        """See ``FrameWise.network_for``."""
        return AginNetwork.like(tensors)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        film = (grey_picture(lightness) * 2 - 1).to(self.device)
        multiple = STRIDE if min(film.shape[-2:]) >= LEAST else LEAST
        return emitted((at_multiples(self.network, film, multiple).float() + 1) / 2, GUESSED)
