"""Training of ``agin``: a cycle of two generators, grey to color and color to grey, against two critics each.

Gao et al. 2020, "Attentional Colorization Networks with Adaptive Group-Instance Normalization", sections 3.2 and 4.2,
on the base of U-GAT-IT (Kim et al. 2020). Printed, equations 4 and 8 give the critics their labels upside down, and 7
lacks a parenthesis and the sigmoid; here the losses are those of the base. Equation 6 is taken as printed: what is in
color already shall stay as it is; with grey pictures in its place it would keep the film grey. Equation 8, which the
paper leaves open, has the weight of the adversarial loss.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.color.convert import rgb_to_lab
from streamcolor.colorizers.agin.attention import Pool
from streamcolor.colorizers.agin.network import STRIDE, AginNetwork
from streamcolor.colorizers.agin.normalization import Norm
from streamcolor.errors import CallError
from streamcolor.train.adversarial import AdversarialLoop, AdversarialRecipe, AdversarialTask, adversarial, initialize
from streamcolor.train.card import write_card
from streamcolor.train.discriminators import AttentionDiscriminator
from streamcolor.train.ends import Bytes
from streamcolor.train.loop import Batch, LoopRecipe, Validation, check_resumable, seeded
from streamcolor.train.paired import Pair, as_rgb, load_pairs
from streamcolor.train.schedules import for_epochs, plain_adam
from streamcolor.train.sheet import Sheet, as_bytes
from streamcolor.train.stable import film_of
from streamcolor.train.unpaired import UnpairedBatches

log = logging.getLogger(__name__)

# Scores of patches and of the class of one critic.
Judged = tuple[Tensor, Tensor | None]

LOCAL, GLOBAL = 3, 5
"""Halvings of the critics with patches of 70 x 70 and of 286 x 286 pixels."""

# Sides below which a critic has no patch left.
_LEAST = {LOCAL: 24, GLOBAL: 96}


@dataclass(frozen=True)
class AginRecipe:
    """Hyper-parameters of a training run.

    loop: see ``as_published``; ``steps`` is an upper bound where ``epochs`` (passes over the pictures) is given. size:
    of a picture, a multiple of 4. adversarial, cycle, content, classes: weights of the losses, lambda 1 to 4 of
    equation 9. cam, cam_pool, norm: see ``AginNetwork``. width, critic_width: of the first layers. global_scale:
    critics of either scale, or of the local one alone.
    """

    model: str
    data: Path
    loop: AdversarialRecipe
    epochs: int | None = None
    batch: int = 1
    workers: int = 1
    size: int = 256
    adversarial: float = 1.0
    cycle: float = 9.0
    content: float = 9.0
    classes: float = 999.0
    cam: bool = True
    cam_pool: Pool = "gap+median"
    norm: Norm = "agin"
    width: int = 64
    critic_width: int = 64
    global_scale: bool = True


RECIPES: Mapping[str, type[AginRecipe]] = {"agin": AginRecipe}


def as_published(model: str, loop: LoopRecipe) -> AdversarialRecipe:
    """The loop of section 4.2: Adam at 2e-4 with a first momentum of 0.5, on either side.

    Our choice: the rate falls linearly over the second half, as in U-GAT-IT; no weight decay, no clipping, no average.
    """
    return adversarial(plain_adam(loop, 2e-4, (0.5, 0.999)), decay_from=0.5)


def least_squares(judged: Sequence[Judged], label: float) -> Tensor:
    """Equations 4 and 8: mean squared distance of the scores from a label (1: real, 0: made), summed over critics."""
    given = [scores for pair in judged for scores in pair if scores is not None]
    return torch.stack([(scores - label).square().mean() for scores in given]).sum()


class AginTask(AdversarialTask):
    """The cycle with its losses, and pictures that it is scored on."""

    network: AginNetwork

    def __init__(self, recipe: AginRecipe, validation: Sequence[Pair] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        self.recipe = recipe
        self.validation = validation
        built = [AginNetwork(recipe.width, cam=recipe.cam, pool=recipe.cam_pool, norm=recipe.norm) for _ in range(2)]
        self.network, self.to_grey = built
        self.generators = nn.ModuleList(built)
        initialize(self.generators)
        scales = (LOCAL, GLOBAL) if recipe.global_scale else (LOCAL,)
        self.critics = nn.ModuleDict({domain: self._critics(scales) for domain in ("color", "grey")})

    def _critics(self, scales: Sequence[int]) -> nn.ModuleList:
        recipe = self.recipe
        return nn.ModuleList(
            AttentionDiscriminator(halvings, recipe.critic_width, cam=recipe.cam, pool=recipe.cam_pool)
            for halvings in scales
        )

    def judged(self, domain: str, picture: Tensor) -> list[Judged]:
        """What the critics of "color" or "grey" say of pictures (B, 3, H, W) in [-1, 1]."""
        critics = cast(nn.ModuleList, self.critics[domain])
        return [critic(picture) for critic in critics]

    def critic_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equations 4 and 8, as the critics have them."""
        grey, color = pictures_of(batch)
        with torch.no_grad():
            made_color, made_grey = self.network(grey), self.to_grey(color)
        terms = {}
        for domain, real, made in (("color", color, made_color), ("grey", grey, made_grey)):
            loss = least_squares(self.judged(domain, real), 1) + least_squares(self.judged(domain, made), 0)
            terms[f"critics of {domain}"] = self.recipe.adversarial * loss
        return terms

    def generator_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Equation 9 for the generators."""
        grey, color = pictures_of(batch)
        made_color, is_grey, _ = self.network.explained(grey)
        made_grey, is_color, _ = self.to_grey.explained(color)
        same_color, not_grey, _ = self.network.explained(color)
        same_grey, not_color, _ = self.to_grey.explained(grey)
        fooled = least_squares(self.judged("color", made_color), 1) + least_squares(self.judged("grey", made_grey), 1)
        cycle = F.l1_loss(self.to_grey(made_color), grey) + F.l1_loss(self.network(made_grey), color)
        content = F.l1_loss(same_color, color) + F.l1_loss(same_grey, grey)
        terms = {
            "adversarial": self.recipe.adversarial * fooled,
            "cycle": self.recipe.cycle * cycle,
            "content": self.recipe.content * content,
        }
        if is_grey is not None and not_grey is not None and is_color is not None and not_color is not None:
            classes = told_apart(is_grey, not_grey) + told_apart(is_color, not_color)
            terms["classes"] = self.recipe.classes * classes
        return terms

    def constrain(self) -> None:
        """Equation 3: every rho into [0, 1]."""
        for generator in (self.network, self.to_grey):
            for norm in generator.norms():
                norm.clip()

    def validate(self, network: nn.Module) -> Validation:
        """Figures of ``Sheet`` and ``bleeding`` of pictures, that of the truth beside it, and the mean rho.

        Pictures are what the network emits: here its own lightness counts, as in the paper.
        """
        assert isinstance(network, AginNetwork)
        sheet = Sheet("attention")
        for pair in self.validation:
            grey = film_of(as_rgb(pair.target)[None], "rgb")
            emitted, _, heat = network.explained((grey * 2 - 1).to(next(network.parameters()).device))
            shown, film = as_bytes((emitted + 1) / 2), as_bytes(grey)
            figures = {"bleeding": bleeding(shown, film), "bleeding of the truth": bleeding(pair.target, film)}
            sheet.add(film, shown, pair.target, figures, [_attention(heat, film.shape[0])])
        made = sheet.validation
        if not made.figures:
            return made
        rho = torch.cat([norm.rho.flatten() for norm in network.norms()]).mean().item()
        return Validation(made.figures | {"rho": rho}, made.pictures)


def told_apart(inside: Tensor, outside: Tensor) -> Tensor:
    """Equation 7: binary cross-entropy of the logits of pictures of a domain and of others."""
    return F.binary_cross_entropy_with_logits(inside, torch.ones_like(inside)) + F.binary_cross_entropy_with_logits(
        outside, torch.zeros_like(outside)
    )


def pictures_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """A grey and a color domain (B, 3, H, W) in [-1, 1], of unrelated color pictures in [0, 1]."""
    return film_of(batch["film"], "rgb") * 2 - 1, batch["color"] * 2 - 1


def bleeding(picture: Bytes, film: Bytes) -> float:
    """Mean gradient of a* and b* per pixel where the film's L* hardly changes (by less than 1)."""
    _, ab = rgb_to_lab(picture.astype(np.float32) / 255)
    lightness, _ = rgb_to_lab(film.astype(np.float32) / 255)
    flat = np.hypot(*np.gradient(lightness)) < 1
    slope = np.sqrt(sum(np.square(part) for channel in ab for part in np.gradient(channel)))
    return float(slope[flat].mean()) if flat.any() else 0.0


def _attention(heat: Tensor, size: int) -> Bytes:
    """A heat map (1, 1, h, w) as a grey picture, black where it is lowest."""
    heat = F.interpolate(heat.float(), size=(size, size), mode="bilinear", align_corners=False)
    heat = (heat - heat.amin()) / (heat.amax() - heat.amin()).clamp_min(1e-9)
    return as_bytes(heat.expand(-1, 3, -1, -1))


def train(
    recipe: AginRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train; the file with the last weights of the generator that colors (``average.safetensors``).

    Raises CallError for a size that does not fit, InputError for a folder without usable pictures, and for one without
    a checkpoint to resume from.
    """
    least = _LEAST[GLOBAL if recipe.global_scale else LOCAL]
    if recipe.size % STRIDE or recipe.size < least:
        raise CallError(
            f"training pictures of {recipe.size} pixels do not fit the networks; "
            f"take a multiple of {STRIDE} from {least} on"
        )
    output = recipe.loop.output
    if resume:
        check_resumable(output)
    pictures = load_pairs(recipe.data, size=recipe.size, alone=True, filtering="bicubic")
    pictures.tell("pictures")
    recipe = replace(recipe, loop=for_epochs(recipe.loop, recipe.epochs, len(pictures.train), recipe.batch))
    task = AginTask(recipe, pictures.validation)
    loop = AdversarialLoop(task, recipe.loop)
    if resume:
        loop.resume()
    write_card(output, recipe.model, task.network, recipe=asdict(recipe), pretrained={}, data=pictures.counts)
    dataset = UnpairedBatches(pictures.train, recipe.batch, **loop.numbering)
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)
