"""Training of ``attention-exemplar`` in two stages, against a discriminator of patches.

Yin et al., "Yes, Attention Is All You Need, for Exemplar based Colorization", sections 3.3 and 4.2. First the feature
extractor and the decoder learn to color without any source of colors, then all of it learns with references. Without
files of VGG-19 and of Zhang et al. 2017 there is no perceptual loss, and the features start at random.
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

from streamcolor.colorizers.attention_exemplar.bins import gamut_bins, read_bins, soft_histogram
from streamcolor.colorizers.attention_exemplar.features import STRIDE, WIDTH
from streamcolor.colorizers.attention_exemplar.network import AB, AttentionExemplarNetwork, Colored, Variant
from streamcolor.colorizers.lab import lab_to_rgb
from streamcolor.colorizers.loading import read_weights
from streamcolor.errors import CallError, InputError
from streamcolor.train.adversarial import AdversarialLoop, AdversarialRecipe, AdversarialTask, adversarial
from streamcolor.train.card import checksum, write_card
from streamcolor.train.discriminators import PatchDiscriminator
from streamcolor.train.exemplar_losses import critic_loss, generator_loss, histogram_loss, sparse_loss
from streamcolor.train.exemplar_scores import score
from streamcolor.train.exemplars import Exemplar, ExemplarBatches, ExemplarSet, load_exemplars
from streamcolor.train.loop import LAST, Batch, LoopRecipe, Validation, check_resumable, seeded
from streamcolor.train.pretrained import take_zhang
from streamcolor.train.schedules import for_epochs, plain_adam
from streamcolor.train.semantic_pairs import description
from streamcolor.train.vgg19 import read_vgg19

log = logging.getLogger(__name__)

RATE = 2e-5
EPOCHS = 10
FIRST_STAGE = "first-stage"

# The smallest picture that the discriminator can judge.
_LEAST_SIZE = 32
# What the first stage trains, by the names of the task's weights.
_FIRST = ("network.features.", "network.decoder.", "critics.")


@dataclass(frozen=True)
class AttentionExemplarRecipe:
    """Hyper-parameters of a training run.

    loop: see ``as_published``; ``steps`` is an upper bound of either stage where ``epochs`` (passes over the pictures
    in either stage) is given. size: of a square crop from pictures with the shorter side ``short_side``. width:
    channels of the first block. dcm, prior, sparse: see ``Variant``. The weights of the losses are those of equation
    12. perceptual_layer: of VGG-19; the paper's "5th ReLU layer" is either. vgg19: torchvision's file, zhang: the file
    of Zhang et al. 2017, bins: see ``read_bins``. first_stage: weights of an earlier run, else the first stage is
    trained in the folder ``first-stage`` of the run.
    """

    model: Literal["attention-exemplar"]
    data: Path
    loop: AdversarialRecipe
    epochs: int | None = None
    batch: int = 6
    workers: int = 1
    size: int = 256
    short_side: int = 288
    width: int = WIDTH
    discriminator_width: int = 64
    max_tokens: int = 4096
    dcm: bool = True
    prior: bool = True
    sparse: bool = True
    perceptual_weight: float = 1000.0
    adversarial_weight: float = 0.1
    sparse_weight: float = 1.0
    l1_weight: float = 1000.0
    histogram_weight: float = 1.0
    perceptual_layer: Literal["relu3_1", "relu5_1"] = "relu5_1"
    vgg19: Path | None = None
    zhang: Path | None = None
    bins: Path | None = None
    first_stage: Path | None = None


def as_published(model: Literal["attention-exemplar"], loop: LoopRecipe) -> AdversarialRecipe:
    """The loop of section 4.2: Adam at one rate for both sides, the last weights and no average of them."""
    return adversarial(plain_adam(loop, RATE, (0.5, 0.99)))


def build(recipe: AttentionExemplarRecipe) -> AttentionExemplarNetwork:
    """The network of a recipe, drawn from torch's generator; the features from a file where there is one."""
    centers = gamut_bins() if recipe.bins is None else read_bins(recipe.bins)
    variant = Variant(recipe.dcm, recipe.prior, recipe.sparse)
    network = AttentionExemplarNetwork(recipe.width, centers, variant, max_tokens=recipe.max_tokens)
    if recipe.zhang is not None:
        take_zhang(network.features, recipe.zhang, "b", 6)
    return network


class AttentionExemplarTask(AdversarialTask):
    """The network and its discriminator with their losses, and pictures that the former is scored on.

    alone: the first stage, without references.
    """

    network: AttentionExemplarNetwork

    def __init__(
        self, recipe: AttentionExemplarRecipe, validation: Sequence[Exemplar] = (), *, alone: bool = False
    ) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.recipe = recipe
        self.alone = alone
        self.network = build(recipe)
        self.generators = self.network
        self.critics = PatchDiscriminator(3, recipe.discriminator_width)
        self.vgg19 = None if recipe.vgg19 is None else read_vgg19(recipe.vgg19, recipe.perceptual_layer)
        self.validation = validation

    def critic_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 10, of pictures in Lab."""
        lightness, truth = parts(batch["target"])
        with torch.no_grad():
            made = self.made(batch)[0]
        fake, real = (self.critics(torch.cat([lightness, ab], 1)) for ab in (made, truth))
        return {"critic": critic_loss(fake, real)}

    def generator_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 12; in the first stage without the terms that references give a meaning."""
        recipe = self.recipe
        lightness, truth = parts(batch["target"])
        ab, colored = self.made(batch)
        terms = {
            "l1": recipe.l1_weight * F.l1_loss(ab, truth),
            "adversarial": recipe.adversarial_weight * generator_loss(self.critics(torch.cat([lightness, ab], 1))),
        }
        if self.vgg19 is not None:
            labs = (torch.cat([lightness * 100 + 50, color * AB], 1) for color in (ab, truth))
            seen, wanted = (self.vgg19(lab_to_rgb(lab)) for lab in labs)
            terms["perceptual"] = recipe.perceptual_weight * F.mse_loss(seen, wanted)
        if colored is not None:
            wanted = self._histogram(parts(batch["reference"])[1])
            terms["histogram"] = recipe.histogram_weight * histogram_loss(self._histogram(ab), wanted)
            if self.network.variant.gate:
                terms["sparse"] = recipe.sparse_weight * sparse_loss(colored.gate)
        return terms

    def made(self, batch: Batch) -> tuple[Tensor, Colored | None]:
        """a* / 110 and b* / 110 of a batch (B, 2, H, W), and where they came from in the second stage."""
        lightness, _ = parts(batch["target"])
        if self.alone:
            return self.network.color_alone(lightness), None
        reference, ab = parts(batch["reference"])
        colored: Colored = self.network(lightness, reference, ab, self._histogram(ab))
        return colored.ab, colored

    def _histogram(self, ab: Tensor) -> Tensor:
        """(B, N) of a* / 110 and b* / 110."""
        return soft_histogram(ab * AB, self.network.database.centers)

    def validate(self, network: nn.Module) -> Validation:
        """See ``score``; entropy: of the gate, in nats."""
        device = next(network.parameters()).device

        def color(target: Tensor, reference: Tensor) -> tuple[Tensor, dict[str, float]]:
            ab, colored = self.made({"target": target.to(device), "reference": reference.to(device)})
            figures = {}
            if colored is not None and self.network.variant.gate:
                figures["entropy"] = sparse_loss(colored.gate).item()
            return ab.float().cpu(), figures

        return score(color, self.validation, size=self.recipe.size, short_side=self.recipe.short_side)


def parts(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """(L* - 50) / 100 (B, 1, H, W) and a* / 110, b* / 110 (B, 2, H, W) of ``as_lab``'s pictures."""
    return pictures[:, :1] - 0.5, pictures[:, 1:]


def train(
    recipe: AttentionExemplarRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train both stages; the file with the last weights (``average.safetensors``, the best: ``best.safetensors``).

    Raises CallError for a size that does not fit, InputError for a folder without usable pictures, for one without a
    checkpoint to resume from, and for files of weights and bins that are not what they should be.
    """
    if recipe.size % STRIDE or not _LEAST_SIZE <= recipe.size <= recipe.short_side:
        raise CallError(
            f"crops of {recipe.size} pixels do not fit; take a multiple of {STRIDE} "
            f"from {_LEAST_SIZE} to the short side, {recipe.short_side}"
        )
    output = recipe.loop.output
    first = output / FIRST_STAGE
    if resume:
        check_resumable(output, FIRST_STAGE)
    started, first_started = (resume and (folder / LAST).exists() for folder in (output, first))
    found = load_exemplars(recipe.data, description(recipe.vgg19), short_side=recipe.short_side)
    found.tell("pictures and shots")
    log.info("VGG-19: %s", recipe.vgg19 or "none, there is no perceptual loss; neighbors by orientations of gradients")
    log.info("features: %s", recipe.zhang or "none given, they start at random")
    recipe = replace(recipe, loop=for_epochs(recipe.loop, recipe.epochs, len(found.train), recipe.batch))
    task = AttentionExemplarTask(recipe, found.validation)
    if recipe.first_stage is not None:
        take_first_stage(task, recipe.first_stage)
    elif not started:
        alone = replace(recipe, loop=replace(recipe.loop, output=first))
        _run(AttentionExemplarTask(alone, found.validation, alone=True), found, on_step, resume=first_started)
        state = torch.load(first / LAST, weights_only=True, map_location="cpu")["task"]
        task.load_state_dict({name: w for name, w in state.items() if name.startswith(_FIRST)}, strict=False)
        seeded(recipe.loop.seed)
    return _run(task, found, on_step, resume=started)


def take_first_stage(task: AttentionExemplarTask, weights: Path) -> None:
    """Features and decoder of an earlier run. Raises InputError when the file does not hold them."""
    tensors = read_weights(weights, task.recipe.model)
    for name in ("features", "decoder"):
        part = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        try:
            task.network.get_submodule(name).load_state_dict(part)
        except RuntimeError as error:
            raise InputError(f"{weights} does not hold the {name} of {task.recipe.model} at this width") from error
    log.info("first stage: %s", weights)


def _run(
    task: AttentionExemplarTask,
    found: ExemplarSet,
    on_step: Callable[[int, dict[str, float]], None] | None,
    *,
    resume: bool,
) -> Path:
    """One stage."""
    recipe = task.recipe
    log.info("%s stage, in %s", "first" if task.alone else "second", recipe.loop.output)
    loop = AdversarialLoop(task, recipe.loop)
    if resume:
        loop.resume()
    files = {"vgg19": recipe.vgg19, "zhang": recipe.zhang, "bins": recipe.bins, "first stage": recipe.first_stage}
    write_card(
        recipe.loop.output,
        recipe.model,
        task.network,
        recipe=asdict(recipe),
        pretrained={name: checksum(path) for name, path in files.items()},
        data=found.counts,
    )
    dataset = ExemplarBatches(
        found.train, recipe.batch, size=recipe.size, short_side=recipe.short_side, **loop.numbering
    )
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


RECIPES: Mapping[str, type] = {"attention-exemplar": AttentionExemplarRecipe}
