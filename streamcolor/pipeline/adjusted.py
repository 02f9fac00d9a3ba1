"""A colorizer whose colors are made stronger or weaker, and which rests where nobody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

import torch

from streamcolor.frame import Chroma

if TYPE_CHECKING:
    from streamcolor.colorizers.cache import Entry, ReferenceCache
    from streamcolor.colorizers.contract import Colorizer, ColorizerInfo, Reference

_LARGEST = 110.0


class Adjusted:
    """A colorizer around another one.

    sat: factor on a* and b*. wanted: tells by its number whether a frame shall be colored; one that is not comes out
    neutral, with nothing guessed, and nothing of it is remembered.
    """

    def __init__(self, colorizer: Colorizer, *, sat: float, wanted: Callable[[int], bool]) -> None:
        self.info: ColorizerInfo = colorizer.info
        self._colorizer = colorizer
        self._sat = sat
        self._wanted = wanted

    def encode(self, reference: Reference) -> Entry:
        return self._colorizer.encode(reference)

    def step(
        self, lightness: torch.Tensor, cache: ReferenceCache, frame: int, following: Sequence[torch.Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        if not self._wanted(frame):
            _, _, height, width = lightness.shape
            return Chroma(torch.zeros(2, height, width), torch.ones(1, height, width)), None
        coming = takewhile(lambda numbered: self._wanted(numbered[0]), enumerate(following, frame + 1))
        chroma, entry = self._colorizer.step(lightness, cache, frame, [light for _, light in coming])
        if self._sat != 1:
            chroma = replace(chroma, ab=(chroma.ab * self._sat).clamp(-_LARGEST, _LARGEST), rgb=None)
        return chroma, entry
