"""Training of ``autoencoder``, ``unet-basic`` and ``stable-colorizer``.

Bansal, "Stable Image Colorization via Reference Image Cross-Attention", sections 3.2, 4 and 5: mean squared error, Adam
at one rate, no augmentation. Equation 1 prints a sum; the published values are possible only for the mean.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.colorizers.loading import read_weights
from streamcolor.colorizers.stable.network import AutoencoderNetwork, Space, StableColorizerNetwork, UnetBasicNetwork
from streamcolor.errors import CallError, InputError
from streamcolor.train.card import checksum, write_card
from streamcolor.train.ends import Bytes
from streamcolor.train.loop import LAST, Batch, Loop, LoopRecipe, Task, Validation, check_resumable, seeded
from streamcolor.train.paired import Pair, PairBatches, as_lab, as_rgb, load_pairs
from streamcolor.train.schedules import for_epochs, plain_adam
from streamcolor.train.sheet import Sheet, as_bytes, picture_of

log = logging.getLogger(__name__)

StableModel = Literal["autoencoder", "unet-basic", "stable-colorizer"]
StableNetwork = AutoencoderNetwork | UnetBasicNetwork | StableColorizerNetwork

RATES: Mapping[StableModel, float] = {"autoencoder": 1e-3, "unet-basic": 1e-2, "stable-colorizer": 1e-2}
EPOCHS: Mapping[StableModel, int] = {"autoencoder": 20, "unet-basic": 30, "stable-colorizer": 30}

# Of R', G', B' in the grey of the film (PyTorch's Grayscale).
GREY = (0.2989, 0.587, 0.114)


@dataclass(frozen=True)
class StableRecipe:
    """Hyper-parameters of a training run of the family.

    loop: see ``as_published``; ``steps`` is an upper bound where ``epochs`` (passes over the pairs) is given.
    reference: the first frame, or to "cheat" the target in color (section 5.3.1: an upper bound), or none (black).
    loss: mean squared or mean absolute error. space: ``rgb``, or ``lab`` (section 6). attention: without it the
    stable-colorizer is the unet-basic. stills: see ``load_pairs``. autoencoder: weights of the frozen encoder; without
    them an autoencoder is trained first, in the folder ``autoencoder`` of the run, or, with ``allow_random_encoder``,
    a random encoder is taken.
    """

    model: StableModel
    data: Path
    loop: LoopRecipe
    epochs: int | None = None
    batch: int = 32
    workers: int = 1
    size: int = 256
    reference: Literal["pair", "cheat", "none"] = "pair"
    loss: Literal["mse", "mae"] = "mse"
    space: Space = "rgb"
    attention: bool = True
    stills: bool = True
    autoencoder: Path | None = None
    allow_random_encoder: bool = False


def as_published(model: StableModel, loop: LoopRecipe) -> LoopRecipe:
    """The loop of section 5: Adam with its defaults, one rate, the last weights and no average of them."""
    return plain_adam(loop, RATES[model])


def build(recipe: StableRecipe) -> StableNetwork:
    """The network of a recipe, drawn from torch's generator."""
    if recipe.model == "autoencoder":
        return AutoencoderNetwork(recipe.space)
    if recipe.model == "stable-colorizer" and recipe.attention:
        return StableColorizerNetwork(recipe.space)
    return UnetBasicNetwork(recipe.space)


def take_encoder(network: StableColorizerNetwork, weights: Path) -> None:
    """Copy the encoder of a trained autoencoder. Raises InputError when the file does not hold one."""
    tensors = read_weights(weights, "autoencoder")
    prefix = "encoder."
    encoder = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        network.reference_encoder.load_state_dict(encoder)
    except RuntimeError as error:
        raise InputError(f"{weights} does not hold the encoder of an autoencoder of this color space") from error


def film_of(pictures: Tensor, space: Space) -> Tensor:
    """What the network sees of the film: (B, 3, H, W) R'G'B' -> three equal greys; of Lab the lightness."""
    if space == "lab":
        return pictures[:, :1]
    grey = (pictures * pictures.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)
    return grey.expand(-1, 3, -1, -1)


class StableTask(Task):
    """A network of the family with its loss, and pairs that it is scored on."""

    network: StableNetwork

    def __init__(self, recipe: StableRecipe, validation: Sequence[Pair] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.recipe = recipe
        self.network = build(recipe)
        self.validation = validation

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        colored, truth = self.colored(self.network, batch)
        error = F.mse_loss if self.recipe.loss == "mse" else F.l1_loss
        return {self.recipe.loss: error(colored, truth)}

    def colored(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a network makes of a batch, and what it should: R'G'B', or in Lab a* / 110 and b* / 110."""
        target, reference = batch["target"], batch["reference"]
        if isinstance(network, AutoencoderNetwork):
            return network(target), target
        truth = target[:, 1:] if self.recipe.space == "lab" else target
        film = film_of(target, self.recipe.space)
        if not isinstance(network, StableColorizerNetwork):
            return network(film), truth
        if self.recipe.reference == "cheat":
            reference = target
        elif self.recipe.reference == "none":
            reference = torch.zeros_like(target)
        return network(film, reference), truth

    def validate(self, network: nn.Module) -> Validation:
        """mse: the paper's validation loss; psnr in dB and colorfulness of pictures, beside that of grey and truth.

        Pictures are what the network emits, clipped: here its own lightness counts, as in the paper.
        """
        sheet = Sheet("reference")
        device = next(network.parameters()).device
        source = PairBatches(self.validation, 1, prepared(self.recipe.space))
        for number, pair in enumerate(self.validation):
            batch = {name: value.to(device) for name, value in source.of([number]).items()}
            colored, truth = self.colored(network, batch)
            shown = shown_of(colored, batch["target"], self.recipe.space)
            grey = np.repeat((pair.target @ np.array(GREY)).round().astype(np.uint8)[..., None], 3, -1)
            sheet.add(grey, shown, pair.target, {"mse": F.mse_loss(colored, truth).item()}, [pair.reference])
        return sheet.validation


def prepared(space: Space) -> Callable[[Bytes], Tensor]:
    """How pictures become tensors in a color space."""
    return as_rgb if space == "rgb" else as_lab


def shown_of(colored: Tensor, target: Tensor, space: Space) -> Bytes:
    """An output (1, C, H, W) as a picture (H, W, 3); in Lab with the lightness of the film."""
    return picture_of(target[:, :1], colored[:, -2:]) if space == "lab" else as_bytes(colored)


def train(
    recipe: StableRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train; the file with the last weights (``average.safetensors``; the best by PSNR are in ``best.safetensors``).

    Raises CallError for a size that is no multiple of 16, InputError for a folder without usable pictures, and for one
    without a checkpoint to resume from.
    """
    if recipe.size % 16:
        raise CallError(f"training pictures of {recipe.size} pixels do not fit the network; take a multiple of 16")
    output = recipe.loop.output
    if resume:
        check_resumable(output, "autoencoder")
    encoder = (
        _encoder(recipe, on_step, resume=resume) if recipe.model == "stable-colorizer" and recipe.attention else None
    )
    pairs = load_pairs(recipe.data, size=recipe.size, stills=recipe.stills, alone=recipe.model == "autoencoder")
    pairs.tell("pairs")
    recipe = replace(recipe, loop=for_epochs(recipe.loop, recipe.epochs, len(pairs.train), recipe.batch))
    task = StableTask(recipe, pairs.validation)
    if encoder is not None and isinstance(task.network, StableColorizerNetwork):
        take_encoder(task.network, encoder)
    loop = Loop(task, recipe.loop)
    if resume and (output / LAST).exists():
        loop.resume()
    pretrained = {"autoencoder": checksum(encoder)} if isinstance(task.network, StableColorizerNetwork) else {}
    write_card(
        output,
        recipe.model,
        task.network,
        recipe=asdict(recipe),
        pretrained=pretrained,
        data=pairs.counts,
    )
    dataset = PairBatches(pairs.train, recipe.batch, prepared(recipe.space), **loop.numbering)
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


def _encoder(
    recipe: StableRecipe, on_step: Callable[[int, dict[str, float]], None] | None, *, resume: bool
) -> Path | None:
    """Weights of the autoencoder: those given, or those of one that is trained now. None: random."""
    if recipe.autoencoder is not None:
        log.info("autoencoder: %s", recipe.autoencoder)
        return recipe.autoencoder
    if recipe.allow_random_encoder:
        log.info("autoencoder: none, the encoder of the references is random")
        return None
    folder = recipe.loop.output / "autoencoder"
    log.info("autoencoder: none, it is trained first, in %s", folder)
    loop = as_published("autoencoder", replace(recipe.loop, output=folder, start_from=None))
    first = replace(recipe, model="autoencoder", loop=loop, epochs=EPOCHS["autoencoder"])
    return train(first, resume=resume and (folder / LAST).exists(), on_step=on_step)


RECIPES: Mapping[str, type] = dict.fromkeys(RATES, StableRecipe)
