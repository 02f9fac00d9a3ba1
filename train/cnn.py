"""Training of ``resnet-cnn`` and ``cnn-classifier``.

Efthymiadis et al., "Deep Learning Image Colorization", sections 3.1 and 3.2: mean absolute error of a* and b*, with the
classifier a three-hundredth of the cross-entropy of its classes (equation 3); Adam at one rate.
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

from streamcolor.colorizers.cnn.classifier import DEEPEST, SIDE, WIDTH, ClassifierNetwork, Norm
from streamcolor.colorizers.cnn.resnet import STRIDE, DecoderKind, ResnetCnnNetwork
from streamcolor.errors import CallError
from streamcolor.train.card import checksum, write_card
from streamcolor.train.labeled import Labeled, LabeledBatches, load_labeled, score
from streamcolor.train.loop import Batch, Loop, LoopRecipe, Task, Validation, check_resumable, seeded
from streamcolor.train.paired import as_lab
from streamcolor.train.pretrained import take_resnet18
from streamcolor.train.schedules import for_epochs, plain_adam

log = logging.getLogger(__name__)

CnnModel = Literal["resnet-cnn", "cnn-classifier"]
CnnNetwork = ResnetCnnNetwork | ClassifierNetwork

RATES: Mapping[CnnModel, float] = {"resnet-cnn": 1e-4, "cnn-classifier": 5e-5}
MULTIPLES: Mapping[CnnModel, int] = {"resnet-cnn": STRIDE, "cnn-classifier": DEEPEST}


@dataclass(frozen=True)
class CnnRecipe:
    """Hyper-parameters of a training run of either network.

    loop: see ``as_published``; ``steps`` is an upper bound where ``epochs`` (passes over the pictures) is given. size:
    of a square picture; the classifier then has this size for good. width: channels after the first layer. loss: mean
    absolute or mean squared error. flip: mirror half of the pictures.

    resnet-cnn: decoder: see its module. resnet18: torchvision's file of a ResNet-18 (or its tensors as safetensors);
    without it the encoder starts at random. cnn-classifier: norm: batch normalization or none. class_weight: of the
    cross-entropy (sigma). labels: take sub-folders for classes, see ``labeled.classes_of``.
    """

    model: CnnModel
    data: Path
    loop: LoopRecipe
    epochs: int | None = None
    batch: int = 32
    workers: int = 1
    size: int = SIDE
    width: int = WIDTH
    loss: Literal["l1", "l2"] = "l1"
    flip: bool = True
    decoder: DecoderKind = "upsample"
    resnet18: Path | None = None
    norm: Norm = "batch"
    class_weight: float = 1 / 300
    labels: bool = True


def as_published(model: CnnModel, loop: LoopRecipe) -> LoopRecipe:
    """The loop of the paper: Adam with its defaults, one rate, the last weights and no average of them."""
    return plain_adam(loop, RATES[model])


def build(recipe: CnnRecipe, classes: int = 0) -> CnnNetwork:
    """The network of a recipe, drawn from torch's generator. classes: 0 for none; the classifier then has one."""
    if recipe.model == "resnet-cnn":
        return ResnetCnnNetwork(recipe.decoder, recipe.width)
    return ClassifierNetwork(max(classes, 1), norm=recipe.norm, width=recipe.width, side=recipe.size)


def as_signal(ab: Tensor) -> Tensor:
    """a* / 110 and b* / 110 -> (a* + 128) / 255 and (b* + 128) / 255, in which the networks are trained."""
    return (ab * 110 + 128) / 255


def from_signal(signal: Tensor) -> Tensor:
    """The inverse of ``as_signal``."""
    return (signal * 255 - 128) / 110


class CnnTask(Task):
    """A network with its losses, and pictures that it is scored on. classes: how many there are, 0 for none."""

    network: CnnNetwork

    def __init__(self, recipe: CnnRecipe, classes: int = 0, validation: Sequence[Labeled] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.recipe = recipe
        self.network = build(recipe, classes)
        self.class_weight = recipe.class_weight if classes else 0.0
        self.validation = validation

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        film, truth = batch["picture"][:, :1], as_signal(batch["picture"][:, 1:])
        error = F.l1_loss if self.recipe.loss == "l1" else F.mse_loss
        if isinstance(self.network, ResnetCnnNetwork):
            return {self.recipe.loss: error(self.network(film), truth)}
        colored, logits = self.network(film)
        entropy = F.cross_entropy(logits, batch["label"])
        return {self.recipe.loss: error(colored, truth), "cross-entropy": self.class_weight * entropy}

    def validate(self, network: nn.Module) -> Validation:
        """See ``labeled.score``; accuracy: share of the pictures whose class is found."""
        device = next(network.parameters()).device
        classifying = isinstance(network, ClassifierNetwork)

        def color(film: Tensor) -> Tensor:
            signal: Tensor = network(film)[0] if classifying else network(film)
            return from_signal(signal)

        scored = score(color, self.validation, device)
        if not classifying or not self.class_weight or not self.validation:
            return scored
        films = (as_lab(one.target)[None, :1].to(device) for one in self.validation)
        found = [int(network(film)[1].argmax()) for film in films]
        right = sum(number == one.label for number, one in zip(found, self.validation, strict=True))
        return Validation(scored.figures | {"accuracy": right / len(found)}, scored.pictures)


def train(
    recipe: CnnRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train; the file with the last weights (``average.safetensors``; the best by PSNR are in ``best.safetensors``).

    Raises CallError for a size that does not fit the network, InputError for a folder without usable pictures, for one
    without a checkpoint to resume from, and for a file that holds no ResNet-18.
    """
    multiple = MULTIPLES[recipe.model]
    # Of a single place there are no statistics to normalize by.
    if recipe.size % multiple or recipe.size < 2 * multiple:
        raise CallError(
            f"training pictures of {recipe.size} pixels do not fit {recipe.model}; "
            f"take a multiple of {multiple} from {2 * multiple} on"
        )
    output = recipe.loop.output
    if resume:
        check_resumable(output)
    found = load_labeled(recipe.data, size=recipe.size, labels=recipe.labels and recipe.model == "cnn-classifier")
    found.tell("pictures")
    recipe = replace(recipe, loop=for_epochs(recipe.loop, recipe.epochs, len(found.train), recipe.batch))
    task = CnnTask(recipe, len(found.classes), found.validation)
    pretrained = _backbone(task.network, recipe)
    loop = Loop(task, recipe.loop)
    if resume:
        loop.resume()
    write_card(output, recipe.model, task.network, recipe=asdict(recipe), pretrained=pretrained, data=found.counts)
    dataset = LabeledBatches(found.train, recipe.batch, flip=recipe.flip, **loop.numbering)
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


def _backbone(network: CnnNetwork, recipe: CnnRecipe) -> dict[str, str]:
    """Take the ResNet-18 that the recipe names; what the card says of it."""
    if not isinstance(network, ResnetCnnNetwork):
        return {}
    if recipe.resnet18 is None:
        log.info("ResNet-18: none, the encoder starts at random")
    else:
        take_resnet18(network.encoder, recipe.resnet18)
        log.info("ResNet-18: %s", recipe.resnet18)
    return {"resnet18": checksum(recipe.resnet18)}


RECIPES: Mapping[str, type] = dict.fromkeys(RATES, CnnRecipe)
