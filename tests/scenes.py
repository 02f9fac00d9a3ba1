"""A scene that moves, as tensors: what colorizers are handed; and a small network that colors it."""

from __future__ import annotations

import torch
from torch import nn

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Colorizer, Reference
from streamcolor.colorizers.prior import shipped_network
from streamcolor.colorizers.prior.network import PriorNetwork, Widths
from streamcolor.colorizers.propagator import Propagator
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.frame import Chroma

SIZE = (64, 96)


def pictures(count: int) -> list[torch.Tensor]:
    """Lightness of a scene that moves two pixels a frame."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 1, 9, 24, generator=generator)
    scene = torch.nn.functional.interpolate(coarse, size=(SIZE[0], 192), mode="bicubic").clamp(0, 1) * 90 + 5
    return [scene[..., 2 * n : 2 * n + SIZE[1]].contiguous() for n in range(count)]


def reference(lightness: torch.Tensor, frame: int | None = 0) -> Reference:
    warm = torch.stack([lightness[0, 0] / 4, 30 - lightness[0, 0] / 3])[None]
    return Reference(lightness, warm, torch.ones_like(lightness), frame)


def small_prior() -> PriorNetwork:
    """A narrow network of ``chroma-prior`` that gives colors: a fresh one gives none."""
    network = PriorNetwork(Widths(4, (32, 32, 16)))
    nn.init.normal_(network.out.weight, std=0.05)
    return network.eval().requires_grad_(False)


def color_any_size(made: Colorizer, size: tuple[int, int], reduced: int = 1) -> Chroma:
    """Chroma of a frame of this size with a reference as large; its size, kind and range are what they must be.

    reduced: what the sides of the frame are to those of its chroma.
    """
    height, width = (-(-side // reduced) for side in size)
    here = torch.rand(1, 1, *size) * 100
    cache = ReferenceCache(made.info.policy)
    cache.start_shot([made.encode(reference(here))])
    chroma, entry = made.step(here, cache, 0)
    assert chroma.ab.shape == (2, height, width) and chroma.confidence.shape == (1, height, width)
    assert chroma.ab.dtype == torch.float32 and chroma.ab.abs().max() <= 110
    assert entry is not None and entry.frame == 0
    again, _ = made.step(here, cache, 0)
    assert torch.equal(chroma.ab, again.ab)
    return chroma


def random_colorizer(seed: int = 5) -> Propagator:
    """``propagator`` with weights that nobody has trained, and the prior that ships."""
    torch.manual_seed(seed)
    network = PropagatorNetwork().eval().requires_grad_(False)
    for tensor in network.parameters():
        tensor.add_(torch.randn_like(tensor) * 0.02)
    return Propagator.around(network, shipped_network())
