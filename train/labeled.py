"""Single pictures with the class they belong to, and batches of them, for colorizers that take no reference.

A class is a folder: DIR/CLASS/*, as ImageNet is laid out. Any other folder (COCO, clips of films) has no classes. What
can be read, and which pictures are set apart to validate on, is decided by ``paired.load_pairs``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamcolor.errors import InputError
from streamcolor.train.batches import ShuffledBatches
from streamcolor.train.ends import Filter
from streamcolor.train.footage import CLIP_SUFFIXES, STILL_SUFFIXES
from streamcolor.train.found import Found
from streamcolor.train.loop import Validation
from streamcolor.train.paired import Pair, as_lab, frames_of, load_pairs
from streamcolor.train.sheet import Sheet, grey_of, picture_of

# Of pictures that are mirrored in an epoch.
_FLIPPED = 0.5


@dataclass(frozen=True)
class Labeled(Pair):
    """A picture, ``target``, and the number of its class; 0 where there are none."""

    label: int = 0


@dataclass(frozen=True)
class LabeledSet(Found[Labeled]):
    """classes: their names by number, empty where there are none."""

    classes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """See ``Found.counts``."""
        return super().counts | {"classes": len(self.classes)}


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


def load_labeled(folder: Path, *, size: int, labels: bool = True, filtering: Filter = "bilinear") -> LabeledSet:
    """Every picture below ``folder`` that can be read and has color, at size x size (the aspect is not kept).

    labels: False: take no notice of classes. filtering: see ``resized``. Of each class four fifths are to train on.
    Raises InputError when nothing can be used.
    """
    classes = classes_of(folder) if labels else ()
    train, validation, skipped = list[Labeled](), list[Labeled](), list[str]()
    grey = 0
    for number, name in enumerate(classes or ("",)):
        try:
            found = load_pairs(folder / name, size=size, alone=True, filtering=filtering)
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
    return LabeledSet(train, validation, skipped, grey, classes)


def _labeled(pair: Pair, label: int) -> Labeled:
    return Labeled(pair.name, pair.target, pair.target, label)


class LabeledBatches(ShuffledBatches[Labeled]):
    """Endless batches of ``picture`` (B, 3, size, size), as ``as_lab`` makes them, and ``label`` (B,).

    flip: mirror half of the pictures, others in every epoch.
    """

    def __init__(self, pictures: Sequence[Labeled], batch: int, *, flip: bool = True, **numbering: int) -> None:
        super().__init__(pictures, batch, **numbering)
        self.flip = flip

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        epoch, chosen = self.shuffled(number)
        drawn = np.random.default_rng((self.seed, epoch, 1)).random(len(self.items))
        mirrored = drawn < (_FLIPPED if self.flip else 0)
        pictures = [as_lab(self.items[n].target) for n in chosen]
        turned = [picture.flip(-1) if mirrored[n] else picture for picture, n in zip(pictures, chosen, strict=True)]
        return {"picture": torch.stack(turned), "label": torch.tensor([self.items[n].label for n in chosen])}


def score(color: Callable[[Tensor], Tensor], pictures: Sequence[Labeled], device: torch.device) -> Validation:
    """What a network makes of pictures that it was not trained on, with the lightness of the film.

    color: L* / 100 (1, 1, H, W) -> a* / 110 and b* / 110 (1, 2, H, W). mae: of a* and b*, in their units; the other
    figures are those of ``Sheet``.
    """
    sheet = Sheet()
    for one in pictures:
        lab = as_lab(one.target)[None]
        film, truth = lab[:, :1], lab[:, 1:]
        ab = color(film.to(device)).float().cpu()
        sheet.add(grey_of(film), picture_of(film, ab), one.target, {"mae": (ab - truth).abs().mean().item() * 110})
    return sheet.validation
