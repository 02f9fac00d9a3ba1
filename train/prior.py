"""Training of ``chroma-prior``: regression of color on lightness, on pictures of every kind.

Stills and some frames of every clip, small, cropped and mirrored at random, rendered to grey as different stocks and
cameras see color (``old_film``). The loss is nearly quadratic: the network learns the mean of what things look like.
A second one on bins of color only helps it to see things.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.color.convert import rgb_to_lab
from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.prior.colorizer import ChromaPrior
from streamcolor.colorizers.prior.network import BIN, BINS, MULTIPLE, STRIDE, PriorNetwork, Widths
from streamcolor.colorizers.residual import laid_out
from streamcolor.errors import CallError
from streamcolor.train.batches import ShuffledBatches
from streamcolor.train.card import checksum, write_card
from streamcolor.train.footage import Bytes, Clip, load_footage
from streamcolor.train.loop import Batch, Loop, LoopRecipe, Task, Validation, check_resumable, seeded
from streamcolor.train.old_film import Picture, age, grey_weights, lightness_of_grey, to_luma
from streamcolor.train.pretrained import lite0_file, take_lite0
from streamcolor.train.validation import validate

log = logging.getLogger(__name__)

# Where the loss turns from quadratic to linear: 33 ab units.
BETA = 0.3
# One frame in this many of a clip is a picture to learn from.
EVERY = 12


@dataclass(frozen=True)
class PriorRecipe:
    """Hyper-parameters of a training run of ``chroma-prior``.

    batch: crops in a step, of ``height`` x ``width`` (multiples of 32). smallest: least share of a picture's sides
    that a crop takes. aged: share of crops that are made to look like old film. kept: share of the clips to validate
    on, never trained on. narrow: what every number of channels is divided by, for tests. backbone: weights that the
    body starts from, ``efficientnet-lite0`` or a file of it; otherwise it starts from nothing. body_rate: of the
    learning rate, the body's share; 0 holds it still.
    """

    model: Literal["chroma-prior"]
    data: Path
    loop: LoopRecipe
    batch: int = 12
    workers: int = 1
    height: int = 160
    width: int = 224
    smallest: float = 0.5
    aged: float = 0.3
    kept: float = 0.03
    narrow: int = 1
    backbone: str | None = None
    body_rate: float = 1.0
    files: int | None = None

    def __post_init__(self) -> None:
        least = 2 * MULTIPLE
        if self.height % MULTIPLE or self.width % MULTIPLE or min(self.height, self.width) < least:
            raise CallError(
                f"--height {self.height} and --width {self.width} must be multiples of {MULTIPLE}, at least {least}"
            )
        shares = 0 <= self.kept < 1 and 0 <= self.aged <= 1 and 0 < self.smallest <= 1
        if self.batch < 1 or self.workers < 0 or not shares:
            raise CallError("batch must be positive, workers not negative, and kept, aged and smallest shares")
        if self.narrow not in (1, 2):
            raise CallError(f"--narrow {self.narrow} is not 1 or 2")
        if self.backbone is not None and self.narrow > 1:
            raise CallError("--backbone and --narrow exclude each other")
        if not 0 <= self.body_rate <= 1:
            raise CallError(f"--body-rate {self.body_rate} is not a share between 0 and 1")

    @property
    def widths(self) -> Widths:
        u16, u8, u4 = (n // self.narrow for n in Widths().up)
        return Widths(self.narrow, (u16, u8, u4))


def as_published(model: str, loop: LoopRecipe) -> LoopRecipe:
    """The loop as it is: the defaults are this model's own."""
    return loop


class PriorCrops(ShuffledBatches[Bytes]):
    """Batches of ``lightness`` (B, 1, h, w), L* / 100 - 0.5 of the grey film, and ``ab`` / 110 (B, 2, h, w)."""

    def __init__(self, pictures: Sequence[Bytes], recipe: PriorRecipe, **numbering: int) -> None:
        super().__init__(pictures, recipe.batch, **numbering)
        self.recipe = recipe

    def sample(self, number: int) -> dict[str, Tensor]:
        """The batch of this number."""
        rng = np.random.default_rng((self.seed, 1, number))
        _, chosen = self.shuffled(number)
        made = [self._crop(self.items[index], rng) for index in chosen]
        lightness, ab = (torch.from_numpy(np.stack(parts)) for parts in zip(*made, strict=True))
        return {"lightness": lightness, "ab": ab}

    def _crop(self, picture: Bytes, rng: np.random.Generator) -> tuple[Picture, Picture]:
        recipe = self.recipe
        height, width = picture.shape[:2]
        share = rng.uniform(recipe.smallest, 1)
        aspect = recipe.width / recipe.height * float(np.exp(rng.normal(0, 0.12)))
        rows = min(height, width / aspect) * share
        top, left = rng.uniform(0, height - rows), rng.uniform(0, max(width - rows * aspect, 0))
        part = picture[int(top) : int(top + rows) + 1, int(left) : int(left + rows * aspect) + 1]
        part = part[:, ::-1] if rng.random() < 0.5 else part
        rgb = cv2.resize(part, (recipe.width, recipe.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        _, ab = rgb_to_lab(rgb)
        luma = to_luma(rgb, grey_weights(rng))
        if rng.random() < recipe.aged:
            luma = np.clip(age(luma[None], rng)[0], 0, 1)
        return (lightness_of_grey(luma) / 100 - 0.5)[None].astype(np.float32), (ab / AB_SCALE).astype(np.float32)


def binned(logits: Tensor, ab: Tensor) -> Tensor:
    """Cross entropy of bins of a* and b*, (B, 2 * BINS, ...), with the true ab / 110 (B, 2, ...) between two of them.

    Colorful places count more (Zhang, Isola, Efros 2016, section 2.2). That a thing is either green or brown is learned
    sooner this way than from their mean.
    """
    place = (ab * (AB_SCALE / BIN) + BINS // 2).clamp(0, BINS - 1 - 1e-3)
    lower = place.floor()
    share = (place - lower)[:, :, None]
    logs = torch.log_softmax(logits.unflatten(1, (2, BINS)), 2)
    index = lower.long()[:, :, None]
    found = (1 - share) * logs.gather(2, index) + share * logs.gather(2, index + 1)
    weight = (0.3 + ab.norm(dim=1, keepdim=True) * (AB_SCALE / 40)).clamp(max=2)
    return -(found[:, :, 0] * weight).mean()


class PriorTask(Task):
    """The network with its loss, and clips that it is scored on."""

    network: PriorNetwork

    def __init__(self, recipe: PriorRecipe, kept: Sequence[Clip] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.network = PriorNetwork(recipe.widths).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.kept = kept
        self.body_rate = recipe.body_rate

    def groups(self) -> list[dict[str, Any]]:
        """See ``Task.groups``: what has learned from others changes less."""
        body = list(self.network.body.parameters())
        known = {id(parameter) for parameter in body}
        others = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        return [{"params": others}, {"params": body, "share": self.body_rate}]

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """See ``Task.forward``; on the chroma at half the size, as the colorizer gives it."""
        lightness, ab = batch["lightness"], batch["ab"]
        with torch.set_grad_enabled(self.body_rate > 0):
            seen = self.network.see(lightness.contiguous(memory_format=torch.channels_last))
        features = self.network.features(seen)
        half = F.avg_pool2d(lightness, 2)
        return {
            "ab": 10 * F.smooth_l1_loss(laid_out(self.network.out(features), half), F.avg_pool2d(ab, 2), beta=BETA),
            "bins": 0.1 * binned(self.network.bins(features), F.avg_pool2d(ab, STRIDE)),
        }

    def validate(self, network: nn.Module) -> Validation:
        """See ``validation.validate``; this model takes no notice of the first frame."""
        assert isinstance(network, PriorNetwork)
        if not self.kept:
            return Validation({}, {})
        device = str(next(network.parameters()).device)
        return validate(ChromaPrior.around(network, device, stabilize=False), self.kept)


def train(
    recipe: PriorRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train; the file with the averaged weights.

    Raises InputError for a folder without usable footage, and for one without a checkpoint to resume from.
    """
    if resume:
        check_resumable(recipe.loop.output)
    longer = max(recipe.height, recipe.width)
    footage = load_footage(recipe.data, limit=recipe.files, kept=recipe.kept, every=EVERY, short_side=longer)
    pictures = footage.stills + [frame for clip in footage.clips for frame in clip]
    log.info("%d pictures, %d clips to validate on", len(pictures), len(footage.kept))
    for line in footage.skipped:
        log.warning("skipped %s", line)
    task = PriorTask(recipe, footage.kept)
    backbone = None if recipe.backbone is None else lite0_file(recipe.backbone)
    if backbone is None:
        log.info("backbone: none, the body starts at random")
    elif not resume:
        take_lite0(task.network.body, backbone)
    loop = Loop(task, recipe.loop)
    if resume:
        loop.resume()
    counts = {"pictures": len(pictures), "validation": len(footage.kept), "skipped": len(footage.skipped)}
    pretrained = {"body": checksum(backbone)}
    write_card(
        recipe.loop.output, recipe.model, task.network, recipe=asdict(recipe), pretrained=pretrained, data=counts
    )
    dataset = PriorCrops(pictures, recipe, **loop.numbering)
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


RECIPES: Mapping[str, type] = {"chroma-prior": PriorRecipe}
