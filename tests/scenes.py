"""A scene that moves, as tensors: what colorizers are handed."""

from __future__ import annotations

import torch

from streamcolor.colorizers.contract import Reference

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
