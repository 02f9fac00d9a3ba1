"""One decoded picture and the color that a model gives it: the two nouns every layer shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Luma = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Color description as code points of ITU-T H.273 (2021); 2 means unspecified in the first three.

    ``range`` follows FFmpeg's AVColorRange: 0 unspecified, 1 limited ("tv"), 2 full ("pc").
    ``streamcolor.color.standards`` gives the code points their names.
    """

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    range: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture. Never changed after the reader made it.

    luma: (H, W) uint8 at depth 8, else uint16; code values right-aligned (0 .. 2**depth - 1);
        not writeable; rows may be padded (strides), columns are contiguous.
    depth: significant bits of a luma sample, 8 to 16.
    index: number of the frame in the film, counted from 0.
    pts: presentation time in ``time_base`` units (seconds); exact, never recomputed from a rate.
    duration: in ``time_base`` units, 0 when the container does not say.
    tags: color tags of this picture.
    damaged: True when the decoder reported errors in it or it is held from the one before.
    """

    luma: Luma
    depth: int
    index: int
    pts: int
    time_base: Fraction
    duration: int = 0
    tags: ColorTags = field(default_factory=ColorTags)
    interlaced: bool = False
    top_field_first: bool = False
    damaged: bool = False

    @property
    def height(self) -> int:
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        return int(self.luma.shape[1])

    @property
    def seconds(self) -> float:
        """Presentation time in seconds, for people; arithmetic on time uses pts and time_base."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class Link:
    """How a frame and the one before it lie to each other, by optical flow at the size of the frame's chroma.

    back, forth: (h, w, 2) float32, in samples: what is at x here is at x + back there, what is at x there at x + forth
        here.
    back_believed, forth_believed: (h, w) float32, share of every sample in [0, 1] for which that holds.
    """

    back: NDArray[np.float32]
    forth: NDArray[np.float32]
    back_believed: NDArray[np.float32]
    forth_believed: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Chroma:
    """The color of one frame at the working size of a model (or a fraction of it).

    ab: (2, h, w) float32, CIELAB a* and b* (D65), clipped to [-110, 110].
    confidence: (1, h, w) float32 in [0, 1]; 0 where the color is a guess.
    rgb: (3, h, w) float32, R'G'B' of sRGB in [0, 1]: the whole picture, where the network emitted one and ab is nothing
        but its color. A film never gets it, for its luma is its own; evaluation can score it.
    link: to the frame before, where the colorizer has followed the motion from there.
    own: (1, h, w) float32 in [0, 1], how far the color was found in this frame; the rest was carried here from another
        one that links lead to. None: all of it was.
    """

    ab: torch.Tensor
    confidence: torch.Tensor
    rgb: torch.Tensor | None = None
    link: Link | None = None
    own: torch.Tensor | None = None
