"""Any film size for networks that want sides of certain multiples."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def padded(picture: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W), mirrored at its right and bottom borders up to multiples of ``multiple``.

    A side that is too short to be mirrored that far is first enlarged to ``multiple`` (bilinear).
    """
    height, width = picture.shape[-2:]
    size = [multiple if -side % multiple >= side else side for side in (height, width)]
    if size != [height, width]:
        picture = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)
    height, width = picture.shape[-2:]
    if height % multiple or width % multiple:
        picture = F.pad(picture, (0, -width % multiple, 0, -height % multiple), mode="reflect")
    return picture


def at_multiples(network: Callable[[Tensor], Tensor], picture: Tensor, multiple: int) -> Tensor:
    """What a network that keeps the size of its input makes of a picture (B, C, H, W) of any size: (B, C', H, W)."""
    height, width = picture.shape[-2:]
    colored = network(padded(picture, multiple))
    for axis, side in ((-2, height), (-1, width)):
        if -side % multiple < side:
            colored = colored.narrow(axis, 0, side)
    if colored.shape[-2:] != (height, width):
        colored = F.interpolate(colored, size=(height, width), mode="bilinear", align_corners=False)
    return colored
