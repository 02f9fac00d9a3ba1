"""Scores of an exemplar colorizer on pictures that are never trained on, each with a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from streamcolor.evaluation.metrics import histogram_intersection
from streamcolor.train.ends import Bytes
from streamcolor.train.exemplars import Exemplar, center, opened
from streamcolor.train.loop import Validation
from streamcolor.train.paired import as_lab
from streamcolor.train.sheet import Sheet, grey_of, picture_of


def score(
    color: Callable[[Tensor, Tensor], tuple[Tensor, dict[str, float]]],
    exemplars: Sequence[Exemplar],
    *,
    size: int,
    short_side: int,
) -> Validation:
    """Means over the middles (size x size) of pictures, shown with the lightness of the film.

    his: histogram intersection with the reference; the other figures are those of ``Sheet``. Reference of a frame is
    another of its shot, of a still its neighbor, else the next one. color: of a target and a reference as ``as_lab``
    makes them, (1, 3, size, size), a* / 110 and b* / 110 (1, 2, size, size) on the CPU, and figures of its own.
    """
    sheet = Sheet("reference")
    for number, exemplar in enumerate(exemplars):
        target, reference = (
            center(opened(picture, short_side), size)
            for picture in (exemplar.pictures[0], _reference(exemplars, number))
        )
        lab = as_lab(target)[None]
        ab, own = color(lab, as_lab(reference)[None])
        shown = picture_of(lab[:, :1], ab)
        figures = own | {"his": histogram_intersection(shown, reference)}
        sheet.add(grey_of(lab[:, :1]), shown, target, figures, [reference])
    return sheet.validation


def _reference(exemplars: Sequence[Exemplar], number: int) -> Path | Bytes:
    exemplar = exemplars[number]
    if len(exemplar.pictures) > 1:
        return exemplar.pictures[-1]
    other = (number + 1) % len(exemplars) if exemplar.neighbor is None else exemplar.neighbor
    return exemplars[other].pictures[0]
