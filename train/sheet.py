"""Figures of pictures that are never trained on, and the first of these pictures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from streamcolor.colorizers.rgb import color_picture
from streamcolor.evaluation.metrics import colorfulness, psnr
from streamcolor.train.ends import Bytes
from streamcolor.train.loop import Validation

SHOWN = 6


class Sheet:
    """Gathers the figures of pictures, and a row of pictures for each of the first six.

    columns: what stands between the grey film on the left and the output and the truth on the right.
    """

    def __init__(self, *columns: str) -> None:
        self.title = ", ".join(("grey", *columns, "output", "truth"))
        self.figures: dict[str, list[float]] = {}
        self.rows: list[Bytes] = []

    def add(
        self, grey: Bytes, shown: Bytes, truth: Bytes, figures: Mapping[str, float], between: Sequence[Bytes] = ()
    ) -> None:
        """Another output, (H, W, 3) as all pictures; ``figures`` stand beside those that every picture has.

        psnr: in dB, R'G'B'; that of grey and the colorfulness of the truth stand beside it.
        """
        common = {
            "psnr": psnr(shown, truth),
            "psnr of grey": psnr(grey, truth),
            "colorfulness": colorfulness(shown),
            "colorfulness of the truth": colorfulness(truth),
        }
        for name, value in {**figures, **common}.items():
            self.figures.setdefault(name, []).append(value)
        if len(self.rows) < SHOWN:
            self.rows.append(np.concatenate([grey, *between, shown, truth], 1))

    @property
    def validation(self) -> Validation:
        """Means of the figures and the rows as one picture; nothing of either without pictures."""
        pictures = {self.title: np.concatenate(self.rows)} if self.rows else {}
        return Validation({name: float(np.mean(values)) for name, values in self.figures.items()}, pictures)


def as_bytes(picture: Tensor) -> Bytes:
    """(1, 3, H, W) R'G'B' -> (H, W, 3), clipped to [0, 1] first."""
    rgb = picture[0].float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return np.asarray((rgb * 255).round(), np.uint8)


def picture_of(film: Tensor, colors: Tensor) -> Bytes:
    """L* / 100 (1, 1, H, W) and a* / 110, b* / 110 (1, 2, H, W) as a film shows them, (H, W, 3)."""
    return as_bytes(color_picture(film.cpu() * 100, colors.float().cpu().clamp(-1, 1) * 110))


def grey_of(film: Tensor) -> Bytes:
    """L* / 100 (1, 1, H, W) as a film shows it without colors, (H, W, 3)."""
    return picture_of(film, torch.zeros_like(film).expand(-1, 2, -1, -1))
