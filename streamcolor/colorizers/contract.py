"""The one contract that every colorizer satisfies: lightness in, chroma out, memory in the cache."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
    from streamcolor.frame import Chroma


# Arithmetic of a network: fp32 everywhere, bf16 and fp16 mixed with it.
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class ColorizerInfo:
    """What a caller must know of a model before it runs.

    id: name in the registry and on the command line.
    references: True when reference pictures guide it.
    size: working short side in pixels that it is meant for; a smaller film keeps its own size.
    size_multiple: height and width handed to it are multiples of this (the caller resizes).
    license: of the weights, SPDX.
    policy: which rolling entries the cache keeps for it.
    bf16: True when it was measured to color as well in bf16 as in fp32.
    linked: True when its chroma says how a frame and the one before lie to each other (``Chroma.link``).
    """

    id: str
    references: bool
    size: int
    size_multiple: int
    license: str
    policy: CachePolicy
    bf16: bool = False
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A color picture that guides, at the working size of the film it guides.

    lightness: (1, 1, h, w) float32, L* in [0, 100].
    ab: (1, 2, h, w) float32, a* and b* in [-110, 110].
    opaque: (1, 1, h, w) float32 in [0, 1]; 0 where the picture says nothing (its alpha channel).
    frame: number of the frame it was painted on, or None when it has no place in the film.
    """

    lightness: torch.Tensor
    ab: torch.Tensor
    opaque: torch.Tensor
    frame: int | None = None

    @property
    def identity(self) -> int:
        """The same for equal pictures: by it a model finds what it remembers of a reference, whatever its place."""
        checksum = 0
        for tensor in (self.lightness, self.ab, self.opaque):
            checksum = zlib.crc32(tensor.contiguous().numpy().tobytes(), checksum)
        return checksum


class Colorizer(Protocol):
    """Stateless: everything that a colorizer remembers is in the cache that it is handed."""

    info: ColorizerInfo

    def encode(self, reference: Reference) -> Entry:
        """What the cache shall hold of a reference; called once per reference and shot."""
        ...

    def step(
        self, lightness: torch.Tensor, cache: ReferenceCache, frame: int, following: Sequence[torch.Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        """Color one frame.

        lightness: (1, 1, h, w) float32, L* in [0, 100], h and w multiples of ``info.size_multiple``.
        cache: references of the shot (permanent) and entries of earlier frames (rolling); not changed.
        frame: number of the frame in the film.
        following: lightness of the frames after it, in their order, where the colors of them all will be averaged along
            the motion. A model may begin to work on them, and may leave this frame to those around it (``Chroma.own``).
        Returns the chroma, (2, h / s, w / s) for some stride s, and what the rolling tier shall
        remember of this frame (None: nothing). Same cache and frame, same result, on one kind of device.
        """
        ...
