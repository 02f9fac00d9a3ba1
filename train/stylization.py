"""Training of ``stylization``: first its transfer sub-net, then its colorization sub-net.

Xu et al. 2020, "Stylization-Based Architecture for Fast Deep Exemplar Colorization", sections 3.2 and 4.1. The decoder
of the transfer sub-net learns to reconstruct pictures, without matching; the colorization sub-net learns to spread
colors that are known in random places, and at the end, with none known, to guess them. Its rates and the empty maps
are shares of the schedule, which at 20 epochs are those of the paper.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.colorizers.loading import read_weights
from streamcolor.colorizers.rgb import color_picture
from streamcolor.colorizers.stylization.colorization import hint_loss
from streamcolor.colorizers.stylization.matching import Variant
from streamcolor.colorizers.stylization.network import Extractor, Stages, StylizationNetwork, Switches
from streamcolor.colorizers.stylization.transfer import STRIDE, Sites
from streamcolor.errors import CallError, InputError
from streamcolor.evaluation.metrics import colorfulness, histogram_intersection, psnr
from streamcolor.train.card import checksum, write_card
from streamcolor.train.ends import Bytes
from streamcolor.train.hints import Crops, HintCrops
from streamcolor.train.loop import Batch, Loop, LoopRecipe, Task, Validation, seeded
from streamcolor.train.paired import FEW, Pair, PairSet, as_lab, as_rgb, load_pairs
from streamcolor.train.pretrained import take_zhang
from streamcolor.train.reconstruction import TransferTask, as_bytes

log = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]
SHOWN = 6


@dataclass(frozen=True)
class StylizationRecipe:
    """Hyper-parameters of a training run.

    loop: of the colorization sub-net, see ``as_published``; ``steps`` is an upper bound for either sub-net. epochs:
    passes over the pictures. size: of a picture, the aspect is not kept; crop: of what the
    colorization sub-net sees of it. width: 64 is the paper's. hint_weight: lambda of equation 2. sparsest, densest: of
    the hints. empty: share of the steps without hints, at the end. reconstruction, perceptual: weights of the decoder's
    losses. vgg19, zhang: weights of others, see ``pretrained``; without VGG19 the encoder is trained with the decoder,
    and without a perceptual loss. transfer: weights of a transfer sub-net, which is then not trained. stages to
    density: see ``Switches``; only the validation depends on them.
    """

    model: Literal["stylization"]
    data: Path
    loop: LoopRecipe
    epochs: int = 20
    batch: int = 16
    workers: int = 1
    size: int = 256
    crop: int = 224
    width: int = 64
    stills: bool = True
    hint_weight: float = 10.0
    sparsest: float = 0.001
    densest: float = 0.5
    empty: float = 0.25
    transfer_epochs: int = 20
    transfer_batch: int = 8
    transfer_rate: float = 1e-4
    reconstruction: float = 0.8
    perceptual: float = 0.2
    vgg19: Path | None = None
    zhang: Path | None = None
    transfer: Path | None = None
    stages: Stages = "both"
    sites: Sites = "both"
    variant: Variant = "adain"
    extractor: Extractor = "precolor"
    density: float = 0.1

    def switches(self) -> Switches:
        return Switches(self.stages, self.sites, self.variant, self.extractor, self.density)


RECIPES: Mapping[str, type] = {"stylization": StylizationRecipe}


def as_published(model: Literal["stylization"], loop: LoopRecipe) -> LoopRecipe:
    """The loop of section 4.1: Adam with its defaults, the last weights and no average of them.

    The rate is ours for a network that starts from nothing; with ``zhang`` the paper's is 1e-5.
    """
    return replace(
        loop,
        rate=1e-4,
        warmup=1,
        schedule="constant",
        betas=(0.9, 0.999),
        weight_decay=0.0,
        average=0.0,
        clip=math.inf,
    )


class FallingLoop(Loop):
    """A loop whose rate is multiplied by ``factor`` of the share of the schedule that is done, [0, 1)."""

    def __init__(self, task: Task, recipe: LoopRecipe, factor: Callable[[float], float]) -> None:
        super().__init__(task, recipe)
        self.factor = factor

    def learning_rate(self) -> float:
        return self.recipe.rate * self.factor(min(self.step / self.recipe.steps, 1.0))


def halving(done: float) -> float:
    """Halved after each quarter: every 5 of 20 epochs."""
    return 0.5 ** min(int(done * 4), 3)


def dropping(done: float) -> float:
    """A tenth from the middle on: after 10 of 20 epochs."""
    return 1.0 if done < 0.5 else 0.1


class ColorizationTask(Task):
    """The whole network, of which the colorization sub-net is trained."""

    network: StylizationNetwork

    def __init__(self, recipe: StylizationRecipe, validation: Sequence[Pair] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.recipe = recipe
        self.network = StylizationNetwork(recipe.width, recipe.switches())
        self.network.transfer.requires_grad_(False)
        self.validation = validation
        if recipe.zhang is not None:
            take_zhang(self.network.colorization, recipe.zhang)

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 2."""
        lightness, truth, mask = batch["lab"][:, :1] - 0.5, batch["lab"][:, 1:], batch["mask"]
        colors = self.network.colorization(lightness, truth, mask)
        return {"huber": hint_loss(colors, truth, mask, self.recipe.hint_weight)}

    def validate(self, network: nn.Module) -> Validation:
        """Of pictures colored from their references: psnr in dB, colorfulness, and how much of the reference's colors.

        The lightness of the pictures is that of the film.
        """
        assert isinstance(network, StylizationNetwork)
        figures: dict[str, list[float]] = {}
        rows = list[Bytes]()
        device = next(network.parameters()).device
        for pair in self.validation:
            lightness = as_lab(pair.target)[None, :1] * 100
            style = network.transfer.style(as_rgb(pair.reference)[None].to(device), network.switches.variant)
            ab = network.color(lightness.to(device), style).cpu().clamp(-110, 110)
            shown, grey = (as_bytes(color_picture(lightness, colors)) for colors in (ab, torch.zeros_like(ab)))
            scores = {
                "psnr": psnr(shown, pair.target),
                "psnr of grey": psnr(grey, pair.target),
                "colorfulness": colorfulness(shown),
                "colorfulness of the truth": colorfulness(pair.target),
                "colors of the reference": histogram_intersection(shown, pair.reference),
            }
            for name, score in scores.items():
                figures.setdefault(name, []).append(score)
            if len(rows) < SHOWN:
                rows.append(np.concatenate([grey, pair.reference, shown, pair.target], 1))
        sheet = {"grey, reference, output, truth": np.concatenate(rows)} if rows else {}
        return Validation({name: float(np.mean(values)) for name, values in figures.items()}, sheet)


def train(recipe: StylizationRecipe, *, resume: bool = False, on_step: OnStep | None = None) -> Path:
    """Train; the file with the last weights of both sub-nets (``average.safetensors`` of the run folder).

    Those of the transfer sub-net alone are in its folder ``transfer``. Raises CallError for sizes that do not fit,
    InputError for a folder without usable pictures, for weights that are not what they should be, and for a folder
    without a checkpoint to resume from.
    """
    _check(recipe)
    output = recipe.loop.output
    started = (output / "last.pt").exists()
    if resume and not started and not (output / "transfer" / "last.pt").exists():
        raise InputError(f"{output} holds no checkpoint to resume from")
    for part, path, without in (
        ("VGG19", recipe.vgg19, "encoder trained from scratch"),
        ("Zhang et al.", recipe.zhang, "colorization sub-net trained from scratch"),
    ):
        log.info("%s: %s", part, f"none, {without}" if path is None else path)
    pairs = load_pairs(recipe.data, size=recipe.size, stills=recipe.stills)
    _tell(pairs)
    transfer = recipe.transfer or _train_transfer(recipe, pairs, on_step, resume=resume)
    pictures = _singles(pairs)
    steps = _steps(recipe.loop.steps, recipe.epochs, len(pictures), recipe.batch)
    recipe = replace(recipe, loop=replace(recipe.loop, steps=steps))
    task = ColorizationTask(recipe, pairs.validation)
    take_transfer(task.network, transfer)
    loop = FallingLoop(task, recipe.loop, dropping)
    if resume and started:
        loop.resume()
    _write_card(recipe, task.network, pairs)
    dataset = HintCrops(
        pictures,
        recipe.batch,
        recipe.crop,
        sparsest=recipe.sparsest,
        densest=recipe.densest,
        empty_from=steps - round(steps * recipe.empty),
        seed=recipe.loop.seed,
        start=loop.step,
        rank=loop.fabric.global_rank,
        world=loop.fabric.world_size,
    )
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


def _train_transfer(recipe: StylizationRecipe, pairs: PairSet, on_step: OnStep | None, *, resume: bool) -> Path:
    folder = recipe.loop.output / "transfer"
    log.info("transfer sub-net: none, it is trained first, in %s", folder)
    pictures = _singles(pairs)
    steps = _steps(recipe.loop.steps, recipe.transfer_epochs, len(pictures), recipe.transfer_batch)
    changed = replace(recipe.loop, output=folder, steps=steps, rate=recipe.transfer_rate, start_from=None)
    recipe = replace(recipe, loop=changed)
    seeded(recipe.loop.seed)
    task = TransferTask(recipe.width, recipe.reconstruction, recipe.perceptual, recipe.vgg19, pairs.validation)
    loop = FallingLoop(task, recipe.loop, halving)
    if resume and (folder / "last.pt").exists():
        loop.resume()
    _write_card(recipe, task.network, pairs)
    dataset = Crops(
        pictures,
        recipe.transfer_batch,
        recipe.size,
        seed=recipe.loop.seed,
        start=loop.step,
        rank=loop.fabric.global_rank,
        world=loop.fabric.world_size,
    )
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


def take_transfer(network: StylizationNetwork, weights: Path) -> None:
    """Copy a trained transfer sub-net, alone or of a whole network. Raises InputError when the file holds none."""
    tensors = read_weights(weights, "stylization")
    prefix = "transfer."
    whole = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        network.transfer.load_state_dict(whole or tensors)
    except RuntimeError as error:
        raise InputError(f"{weights} does not hold a transfer sub-net of this width") from error


def _check(recipe: StylizationRecipe) -> None:
    for name, side in (("pictures", recipe.size), ("crops", recipe.crop)):
        if side % STRIDE or side < 2 * STRIDE:
            raise CallError(f"{name} of {side} pixels do not fit the network; take a multiple of {STRIDE} from 16 on")
    if recipe.crop > recipe.size:
        raise CallError(f"crops of {recipe.crop} pixels do not fit into pictures of {recipe.size}")


def _singles(pairs: PairSet) -> list[Bytes]:
    return [picture for pair in pairs.train for picture in (pair.reference, pair.target)]


def _steps(most: int, epochs: int, pictures: int, batch: int) -> int:
    return min(epochs * -(-pictures // batch), most)


def _write_card(recipe: StylizationRecipe, network: nn.Module, pairs: PairSet) -> None:
    counts = {"train": len(pairs.train), "validation": len(pairs.validation), "skipped": len(pairs.skipped)}
    write_card(
        recipe.loop.output,
        recipe.model,
        network,
        recipe=asdict(recipe),
        pretrained={part: checksum(getattr(recipe, part)) for part in ("vgg19", "zhang", "transfer")},
        data=counts | {"grey": pairs.grey},
    )


def _tell(pairs: PairSet) -> None:
    log.info(
        "%d pairs to train on, %d to validate on, %d files skipped, %d grey pairs left out",
        *(len(pairs.train), len(pairs.validation), len(pairs.skipped), pairs.grey),
    )
    for line in pairs.skipped:
        log.warning("skipped %s", line)
    if len(pairs.train) + len(pairs.validation) < FEW:
        log.warning("with fewer than %d pairs the figures cannot be compared with those of others", FEW)
