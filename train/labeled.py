"""Single pictures with the class they belong to, and batches of them, for colorizers that take no reference.

A class is a folder: DIR/CLASS/*, as ImageNet is laid out. Any other folder (COCO, clips of films) has no classes. What
can be read, and which pictures are set apart to validate on, is decided by ``paired.load_pairs``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamcolor.colorizers.rgb import color_picture
from streamcolor.errors import InputError
from streamcolor.evaluation.metrics import colorfulness, psnr
from streamcolor.train.ends import Bytes
from streamcolor.train.loop import Validation
from streamcolor.train.paired import FEW, Pair, PairBatches, as_lab, frames_of, load_pairs
from streamcolor.train.sequences import CLIP_SUFFIXES, STILL_SUFFIXES

log = logging.getLogger(__name__)

SHOWN = 6
# Of pictures that are mirrored in an epoch.
_FLIPPED = 0.5


@dataclass(frozen=True)
class Labeled(Pair):
    """A picture, ``target``, and the number of its class; 0 where there are none."""

    label: int = 0


@dataclass(frozen=True)
class LabeledSet:
    """classes: their names by number, empty where there are none. skipped, grey: as in ``paired.PairSet``."""

    train: list[Labeled]
    validation: list[Labeled]
    classes: tuple[str, ...] = ()
    skipped: list[str] = field(default_factory=list)
    grey: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """What was found, in numbers, for the card of a run."""
        numbers = {"train": len(self.train), "validation": len(self.validation), "skipped": len(self.skipped)}
        return numbers | {"grey": self.grey, "classes": len(self.classes)}


def classes_of(folder: Path) -> tuple[str, ...]:
    """Names of the sub-folders when they are classes: two or more with stills, nothing to train on beside them.

    A folder of numbered frames of one size is a shot and no class, and then nothing is.
    """
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    if any(path.suffix.lower() in (*STILL_SUFFIXES, *CLIP_SUFFIXES) for path in inside if path.is_file()):
        return ()
    names = []
    for path in inside:
        stills = [file for file in path.iterdir() if _is_still(file)] if path.is_dir() else []
        if stills and frames_of(stills) is not None:
            return ()
        names += [path.name] if stills else []
    return tuple(names) if len(names) > 1 else ()


def _is_still(path: Path) -> bool:
    return path.suffix.lower() in STILL_SUFFIXES and path.is_file()


def load_labeled(folder: Path, *, size: int, labels: bool = True) -> LabeledSet:
    """Every picture below ``folder`` that can be read and has color, at size x size (the aspect is not kept).

    labels: False: take no notice of classes. Of each class four fifths are to train on. Raises InputError when nothing
    can be used.
    """
    classes = classes_of(folder) if labels else ()
    train, validation, skipped = list[Labeled](), list[Labeled](), list[str]()
    grey = 0
    for number, name in enumerate(classes or ("",)):
        try:
            found = load_pairs(folder / name, size=size, alone=True)
        except InputError:
            if not classes:
                raise
            skipped.append(f"{name}: no color pictures")
            continue
        train += [_labeled(pair, number) for pair in found.train]
        validation += [_labeled(pair, number) for pair in found.validation]
        skipped += [f"{name}/{line}" if name else line for line in found.skipped]
        grey += found.grey
    if not train:
        raise InputError(f"{folder} holds no color pictures and no clips to train on")
    return LabeledSet(train, validation, classes, skipped, grey)


def _labeled(pair: Pair, label: int) -> Labeled:
    return Labeled(pair.name, pair.target, pair.target, label)


def tell(found: LabeledSet) -> None:
    """What was found, to the log."""
    log.info(
        "%d pictures to train on, %d to validate on, %d files skipped, %d grey pictures left out, %s",
        *(len(found.train), len(found.validation), len(found.skipped), found.grey),
        f"{len(found.classes)} classes" if found.classes else "no classes",
    )
    for line in found.skipped:
        log.warning("skipped %s", line)
    if len(found.train) + len(found.validation) < FEW:
        log.warning("with fewer than %d pictures the figures cannot be compared with those of others", FEW)


class LabeledBatches(PairBatches):
    """Endless batches of ``picture`` (B, 3, size, size), as ``as_lab`` makes them, and ``label`` (B,).

    flip: mirror half of the pictures, others in every epoch. Batch number n is a pure function of (seed, n), see
    ``PairBatches``.
    """

    pairs: Sequence[Labeled]

    def __init__(
        self,
        pictures: Sequence[Labeled],
        batch: int,
        *,
        flip: bool = True,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(pictures, batch, as_lab, seed=seed, start=start, rank=rank, world=world)
        self.flip = flip

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        epoch, place = divmod(number, self.epoch)
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.pairs))[place * self.batch : (place + 1) * self.batch].tolist()
        mirrored = rng.random(len(self.pairs)) < (_FLIPPED if self.flip else 0)
        tensors = [self.prepared(self.pairs[n].target) for n in order]
        turned = [tensor.flip(-1) if mirrored[n] else tensor for tensor, n in zip(tensors, order, strict=True)]
        return {"picture": torch.stack(turned), "label": torch.tensor([self.pairs[n].label for n in order])}


def score(color: Callable[[Tensor], Tensor], pictures: Sequence[Labeled], device: torch.device) -> Validation:
    """What a network makes of pictures that it was not trained on, with the lightness of the film.

    color: L* / 100 (1, 1, H, W) -> a* / 110 and b* / 110 (1, 2, H, W). psnr: in dB, R'G'B'; that of grey and the
    colorfulness of the truth stand beside it. mae: of a* and b*, in their units.
    """
    figures: dict[str, list[float]] = {}
    rows = list[Bytes]()
    for one in pictures:
        lab = as_lab(one.target)[None]
        ab = color(lab[:, :1].to(device)).float().cpu()
        shown, grey = (picture_of(lab[:, :1], colors) for colors in (ab, torch.zeros_like(ab)))
        scores = {
            "psnr": psnr(shown, one.target),
            "psnr of grey": psnr(grey, one.target),
            "mae": (ab - lab[:, 1:]).abs().mean().item() * 110,
            "colorfulness": colorfulness(shown),
            "colorfulness of the truth": colorfulness(one.target),
        }
        for name, value in scores.items():
            figures.setdefault(name, []).append(value)
        if len(rows) < SHOWN:
            rows.append(np.concatenate([grey, shown, one.target], 1))
    sheet = {"grey, output, truth": np.concatenate(rows)} if rows else {}
    return Validation({name: float(np.mean(values)) for name, values in figures.items()}, sheet)


def picture_of(film: Tensor, colors: Tensor) -> Bytes:
    """L* / 100 (1, 1, H, W) and a* / 110, b* / 110 (1, 2, H, W) as a picture (H, W, 3) uint8 R'G'B'."""
    rgb = color_picture(film * 100, colors.clamp(-1, 1) * 110)[0].permute(1, 2, 0).numpy()
    return np.asarray((rgb * 255).round(), np.uint8)
