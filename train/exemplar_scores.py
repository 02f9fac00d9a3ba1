"""Scores of an exemplar colorizer on pictures that are never trained on, each with a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamcolor.colorizers.attention_exemplar.network import AB
from streamcolor.colorizers.rgb import color_picture
from streamcolor.evaluation.metrics import colorfulness, histogram_intersection, psnr
from streamcolor.train.ends import Bytes
from streamcolor.train.exemplars import Exemplar, center, opened
from streamcolor.train.loop import Validation
from streamcolor.train.paired import as_lab

SHOWN = 6


def score(
    color: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, float]]],
    exemplars: Sequence[Exemplar],
    *,
    size: int,
    short_side: int,
) -> Validation:
    """Means over the middles (size x size) of pictures, shown with the lightness of the film.

    psnr: in dB; his: histogram intersection with the reference. Reference of a frame is another of its shot, of a still
    its neighbor, else the next one. color: of a target and a reference as ``as_lab`` makes them, (1, 3, size, size),
    a* / 110 and b* / 110 (1, 2, size, size) on the CPU, and figures of its own.
    """
    figures: dict[str, list[float]] = {}
    rows = list[Bytes]()
    for number, exemplar in enumerate(exemplars):
        target, reference = (
            center(opened(picture, short_side), size)
            for picture in (exemplar.pictures[0], _reference(exemplars, number))
        )
        film = as_lab(target)[None]
        ab, own = color(film, as_lab(reference)[None])
        shown, grey = (_picture(film[:, :1] * 100, chroma * AB) for chroma in (ab, torch.zeros_like(ab)))
        scores = own | {
            "psnr": psnr(shown, target),
            "psnr of grey": psnr(grey, target),
            "his": histogram_intersection(shown, reference),
            "colorfulness": colorfulness(shown),
            "colorfulness of the truth": colorfulness(target),
        }
        for name, value in scores.items():
            figures.setdefault(name, []).append(value)
        if len(rows) < SHOWN:
            rows.append(np.concatenate([grey, reference, shown, target], 1))
    sheet = {"grey, reference, output, truth": np.concatenate(rows)} if rows else {}
    return Validation({name: float(np.mean(values)) for name, values in figures.items()}, sheet)


def _reference(exemplars: Sequence[Exemplar], number: int) -> Path | Bytes:
    exemplar = exemplars[number]
    if len(exemplar.pictures) > 1:
        return exemplar.pictures[-1]
    other = (number + 1) % len(exemplars) if exemplar.neighbor is None else exemplar.neighbor
    return exemplars[other].pictures[0]


def _picture(lightness: Tensor, ab: Tensor) -> Bytes:
    """(H, W, 3) with this lightness, L*, as a film shows it."""
    rgb = color_picture(lightness, ab)[0].permute(1, 2, 0).numpy()
    return np.asarray((rgb * 255).round(), np.uint8)
