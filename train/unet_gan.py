"""Training of ``unet-gan`` and ``attention-unet-gan``: a generator of chroma against a discriminator of patches.

Efthymiadis et al., "Deep Learning Image Colorization", section 3.3, and the tutorial of Shariatnia that it follows;
what neither prints is that of Isola et al. 2017. The generator minimizes the non-saturating form of equation 8.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.unet_gan.attention import STRIDE, AttentionUnetGanNetwork
from streamcolor.colorizers.unet_gan.unet import DEPTH, WIDTH, UnetGanNetwork
from streamcolor.errors import CallError
from streamcolor.train.adversarial import AdversarialLoop, AdversarialRecipe, AdversarialTask, adversarial, initialize
from streamcolor.train.card import checksum, write_card
from streamcolor.train.discriminators import PatchDiscriminator
from streamcolor.train.labeled import Labeled, LabeledBatches, load_labeled, score
from streamcolor.train.loop import Batch, LoopRecipe, Validation, check_resumable, seeded
from streamcolor.train.schedules import for_epochs, plain_adam

log = logging.getLogger(__name__)

UnetGanModel = Literal["unet-gan", "attention-unet-gan"]
Generator = UnetGanNetwork | AttentionUnetGanNetwork

RATE = 2e-4
DISCRIMINATOR_RATES: Mapping[UnetGanModel, float] = {"unet-gan": 2e-4, "attention-unet-gan": 2e-5}


@dataclass(frozen=True)
class UnetGanRecipe:
    """Hyper-parameters of a training run of either generator.

    loop: see ``as_published``; ``steps`` is an upper bound where ``epochs`` (passes over the pictures) is given. size:
    of a square picture. width: channels after the generator's first layer. depth: how often unet-gan halves the size.
    discriminator_width: channels after its first layer. discriminator_rate: its learning rate, None: that of the loop.
    l1_weight: of the mean absolute error beside the discriminator's word (lambda). pretrain: weights of the same
    generator to start from, of a run on a larger set; the discriminator starts anew. flip: mirror half of the pictures.
    """

    model: UnetGanModel
    data: Path
    loop: AdversarialRecipe
    epochs: int | None = None
    batch: int = 16
    workers: int = 1
    size: int = 256
    width: int = WIDTH
    depth: int = DEPTH
    discriminator_width: int = 64
    discriminator_rate: float | None = None
    l1_weight: float = 100.0
    pretrain: Path | None = None
    flip: bool = True


def as_published(model: UnetGanModel, loop: LoopRecipe) -> AdversarialRecipe:
    """The loop of the tutorial: Adam at one rate, the last weights and no average of them.

    The discriminator of attention-unet-gan learns at a "quite small" rate (section 3.3.3): a tenth of the generator's.
    """
    return adversarial(plain_adam(loop, RATE, (0.5, 0.999)), critic_rate=DISCRIMINATOR_RATES[model])


def build(recipe: UnetGanRecipe) -> Generator:
    """The generator of a recipe, drawn from torch's generator as ``initialize`` says."""
    network: Generator
    if recipe.model == "unet-gan":
        network = UnetGanNetwork(recipe.width, recipe.depth)
    else:
        network = AttentionUnetGanNetwork(recipe.width)
    initialize(network)
    return network


def take_weights(network: Generator, file: Path, model: UnetGanModel) -> None:
    """Start from the weights of an earlier run. Raises InputError when any is missing or does not fit."""
    loaded(network, read_weights(file, model), file, model)
    network.train().requires_grad_(True)


def multiple_of(recipe: UnetGanRecipe) -> int:
    """Sides of the pictures are multiples of this."""
    return 2**recipe.depth if recipe.model == "unet-gan" else STRIDE


class UnetGanTask(AdversarialTask):
    """A generator and its discriminator with their losses, and pictures that the former is scored on."""

    network: Generator

    def __init__(self, recipe: UnetGanRecipe, validation: Sequence[Labeled] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.recipe = recipe
        self.network = build(recipe)
        self.generators = self.network
        self.critics = PatchDiscriminator(3, recipe.discriminator_width)
        self.validation = validation

    def critic_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 6: half the binary cross-entropy of true chroma and half that of the generator's."""
        film, truth = parts(batch)
        with torch.no_grad():
            made = self.network(film)
        return {"true": 0.5 * self._judged(film, truth, real=True), "made": 0.5 * self._judged(film, made, real=False)}

    def generator_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 8: what the discriminator says of the generated chroma, and equation 7."""
        film, truth = parts(batch)
        made = self.network(film)
        fooled = self._judged(film, made, real=True)
        return {"adversarial": fooled, "l1": self.recipe.l1_weight * F.l1_loss(made, truth)}

    def _judged(self, film: Tensor, chroma: Tensor, *, real: bool) -> Tensor:
        """Binary cross-entropy of the discriminator's word on chroma (B, 2, H, W) beside its lightness."""
        logits: Tensor = self.critics(torch.cat([film, chroma], 1))
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    def validate(self, network: nn.Module) -> Validation:
        """See ``labeled.score``."""
        device = next(network.parameters()).device
        return score(lambda film: network(2 * film - 1), self.validation, device)


def parts(batch: Batch) -> tuple[Tensor, Tensor]:
    """What the generator sees, L* / 50 - 1 (B, 1, H, W), and the truth, a* / 110 and b* / 110 (B, 2, H, W)."""
    return 2 * batch["picture"][:, :1] - 1, batch["picture"][:, 1:]


def train(
    recipe: UnetGanRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train; the file with the last weights (``average.safetensors``; the best by PSNR are in ``best.safetensors``).

    Raises CallError for a size that does not fit the network, InputError for a folder without usable pictures, for one
    without a checkpoint to resume from, and for weights to start from that do not fit.
    """
    if recipe.size % multiple_of(recipe):
        raise CallError(
            f"training pictures of {recipe.size} pixels do not fit {recipe.model}; "
            f"take a multiple of {multiple_of(recipe)}"
        )
    output = recipe.loop.output
    if resume:
        check_resumable(output)
    found = load_labeled(recipe.data, size=recipe.size, labels=False, filtering="bicubic")
    found.tell("pictures")
    loop_recipe = for_epochs(recipe.loop, recipe.epochs, len(found.train), recipe.batch)
    rate = recipe.loop.critic_rate if recipe.discriminator_rate is None else recipe.discriminator_rate
    recipe = replace(recipe, loop=replace(loop_recipe, critic_rate=rate))
    task = UnetGanTask(recipe, found.validation)
    if recipe.pretrain is None:
        log.info("pretraining: none, the generator starts at random")
    else:
        take_weights(task.network, recipe.pretrain, recipe.model)
        log.info("pretraining: %s", recipe.pretrain)
    loop = AdversarialLoop(task, recipe.loop)
    if resume:
        loop.resume()
    write_card(
        output,
        recipe.model,
        task.network,
        recipe=asdict(recipe),
        pretrained={"generator": checksum(recipe.pretrain)},
        data=found.counts,
    )
    dataset = LabeledBatches(found.train, recipe.batch, flip=recipe.flip, **loop.numbering)
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


RECIPES: Mapping[str, type] = dict.fromkeys(DISCRIMINATOR_RATES, UnetGanRecipe)
