"""Training of ``stylization``: first its transfer sub-net, then its colorization sub-net.

Xu et al. 2020, "Stylization-Based Architecture for Fast Deep Exemplar Colorization", sections 3.2 and 4.1. The decoder
of the transfer sub-net learns to reconstruct pictures, without matching; the colorization sub-net learns to spread
colors that are known in random places, and at the end, with none known, to guess them. Its rates and the empty maps
are shares of the schedule, which at 20 epochs are those of the paper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.loading import read_weights
from streamcolor.colorizers.stylization.colorization import hint_loss
from streamcolor.colorizers.stylization.matching import Variant
from streamcolor.colorizers.stylization.network import Extractor, Stages, StylizationNetwork, Switches
from streamcolor.colorizers.stylization.transfer import STRIDE, Sites
from streamcolor.errors import CallError, InputError
from streamcolor.evaluation.metrics import histogram_intersection
from streamcolor.train.card import checksum, write_card
from streamcolor.train.ends import Bytes
from streamcolor.train.hints import Crops, HintCrops
from streamcolor.train.loop import LAST, Batch, Loop, LoopRecipe, Task, Validation, check_resumable, seeded
from streamcolor.train.paired import Pair, PairSet, as_lab, as_rgb, load_pairs
from streamcolor.train.pretrained import take_zhang
from streamcolor.train.reconstruction import TransferTask
from streamcolor.train.schedules import for_epochs, plain_adam
from streamcolor.train.sheet import Sheet, grey_of, picture_of

log = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]


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
    return plain_adam(loop, 1e-4)


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
            take_zhang(self.network.colorization, recipe.zhang, "model", 4)

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 2."""
        lightness, truth, mask = batch["lab"][:, :1] - 0.5, batch["lab"][:, 1:], batch["mask"]
        colors = self.network.colorization(lightness, truth, mask)
        return {"huber": hint_loss(colors, truth, mask, self.recipe.hint_weight)}

    def validate(self, network: nn.Module) -> Validation:
        """Of pictures colored from their references: figures of ``Sheet``, and how much of the reference's colors.

        The lightness of the pictures is that of the film.
        """
        assert isinstance(network, StylizationNetwork)
        sheet = Sheet("reference")
        device = next(network.parameters()).device
        for pair in self.validation:
            film = as_lab(pair.target)[None, :1]
            style = network.transfer.style(as_rgb(pair.reference)[None].to(device), network.switches.variant)
            shown = picture_of(film, network.color(film.to(device) * 100, style) / AB_SCALE)
            figures = {"colors of the reference": histogram_intersection(shown, pair.reference)}
            sheet.add(grey_of(film), shown, pair.target, figures, [pair.reference])
        return sheet.validation


def train(recipe: StylizationRecipe, *, resume: bool = False, on_step: OnStep | None = None) -> Path:
    """Train; the file with the last weights of both sub-nets (``average.safetensors`` of the run folder).

    Those of the transfer sub-net alone are in its folder ``transfer``. Raises CallError for sizes that do not fit,
    InputError for a folder without usable pictures, for weights that are not what they should be, and for a folder
    without a checkpoint to resume from.
    """
    _check(recipe)
    output = recipe.loop.output
    if resume:
        check_resumable(output, "transfer")
    for part, path, without in (
        ("VGG19", recipe.vgg19, "encoder trained from scratch"),
        ("Zhang et al.", recipe.zhang, "colorization sub-net trained from scratch"),
    ):
        log.info("%s: %s", part, f"none, {without}" if path is None else path)
    pairs = load_pairs(recipe.data, size=recipe.size, stills=recipe.stills)
    pairs.tell("pairs")
    transfer = recipe.transfer or _train_transfer(recipe, pairs, on_step, resume=resume)
    pictures = _singles(pairs)
    recipe = replace(recipe, loop=for_epochs(recipe.loop, recipe.epochs, len(pictures), recipe.batch))
    steps = recipe.loop.steps
    task = ColorizationTask(recipe, pairs.validation)
    take_transfer(task.network, transfer)
    loop = FallingLoop(task, recipe.loop, dropping)
    if resume and (output / LAST).exists():
        loop.resume()
    _write_card(recipe, task.network, pairs)
    dataset = HintCrops(
        pictures,
        recipe.batch,
        recipe.crop,
        sparsest=recipe.sparsest,
        densest=recipe.densest,
        empty_from=steps - round(steps * recipe.empty),
        **loop.numbering,
    )
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


def _train_transfer(recipe: StylizationRecipe, pairs: PairSet, on_step: OnStep | None, *, resume: bool) -> Path:
    folder = recipe.loop.output / "transfer"
    log.info("transfer sub-net: none, it is trained first, in %s", folder)
    pictures = _singles(pairs)
    loop_recipe = for_epochs(recipe.loop, recipe.transfer_epochs, len(pictures), recipe.transfer_batch)
    recipe = replace(recipe, loop=replace(loop_recipe, output=folder, rate=recipe.transfer_rate, start_from=None))
    seeded(recipe.loop.seed)
    task = TransferTask(recipe.width, recipe.reconstruction, recipe.perceptual, recipe.vgg19, pairs.validation)
    loop = FallingLoop(task, recipe.loop, halving)
    if resume and (folder / LAST).exists():
        loop.resume()
    _write_card(recipe, task.network, pairs)
    dataset = Crops(pictures, recipe.transfer_batch, recipe.size, **loop.numbering)
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


def _write_card(recipe: StylizationRecipe, network: nn.Module, pairs: PairSet) -> None:
    write_card(
        recipe.loop.output,
        recipe.model,
        network,
        recipe=asdict(recipe),
        pretrained={part: checksum(getattr(recipe, part)) for part in ("vgg19", "zhang", "transfer")},
        data=pairs.counts,
    )
