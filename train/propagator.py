"""Training of ``propagator``: runs of frames, the cache filled by the model's own colors.

The first frame of a run is colored from the reference alone, every later one from the reference and the
frames before it as the model itself colored them: it must learn to live with its own errors.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.colorizers.prior import shipped_network
from streamcolor.colorizers.prior.colorizer import look, told
from streamcolor.colorizers.prior.network import PriorNetwork, Seen
from streamcolor.colorizers.propagator.colorizer import RECENT_RADIUS, Propagator
from streamcolor.colorizers.propagator.encoder import BIG, SMALL, Features, Size
from streamcolor.colorizers.propagator.memory import Memory
from streamcolor.colorizers.propagator.motion import Motion, carry
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.residual import laid_out
from streamcolor.errors import CallError, InputError
from streamcolor.train.footage import Clip, load_footage
from streamcolor.train.loop import Batch, Loop, LoopRecipe, Task, Validation, seeded
from streamcolor.train.propagation_losses import deserved, losses, robust, steadiness, within_cells
from streamcolor.train.sequences import SequenceRecipe, Sequences
from streamcolor.train.validation import validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PropagatorRecipe:
    """Hyper-parameters of a training run of ``propagator``.

    batch: sequences in a step, of ``frames`` frames after one or two references, ``height`` x ``width`` (multiples of
    16); see ``SequenceRecipe`` for clips, farthest, unrelated, two, lead, stills and pan. without_reference: share of
    steps that color with nothing to go by. corrupt: share whose first frame is spoiled before the next sees it.
    steady: weight of the loss on change along the motion. kept: share of the clips to validate on, never trained on.
    """

    model: Literal["propagator", "propagator-b"]
    data: Path
    loop: LoopRecipe
    batch: int = 4
    workers: int = 1
    height: int = 192
    width: int = 192
    frames: int = 4
    warm: int = 8
    ahead: float = 0.7
    clips: float = 0.6
    farthest: int = 60
    unrelated: float = 0.08
    two: float = 0.25
    lead: int = 4
    stills: int = 6
    pan: float = 0.5
    without_reference: float = 0.1
    corrupt: float = 0.15
    helped: float = 0.5
    steady: float = 0.3
    kept: float = 0.1
    files: int | None = None

    def __post_init__(self) -> None:
        if self.height % 16 or self.width % 16 or min(self.height, self.width) < 64:
            raise CallError(f"--height {self.height} and --width {self.width} must be multiples of 16, at least 64")
        if min(self.batch, self.frames) < 1 or self.workers < 0 or not 0 <= self.kept < 1:
            raise CallError("batch and frames must be positive, workers not negative, kept a share below 1")
        for name in ("ahead", "clips", "unrelated", "two", "pan", "without_reference", "corrupt", "helped"):
            if not 0 <= getattr(self, name) <= 1:
                raise CallError(f"--{name.replace('_', '-')} {getattr(self, name)} is not a share between 0 and 1")

    @property
    def size(self) -> Size:
        return BIG if self.model == "propagator-b" else SMALL

    @property
    def sequences(self) -> SequenceRecipe:
        return SequenceRecipe(**{field.name: getattr(self, field.name) for field in fields(SequenceRecipe)})


def as_published(model: str, loop: LoopRecipe) -> LoopRecipe:
    """The loop as it is: the defaults are this model's own."""
    return loop


def unroll(
    network: PropagatorNetwork,
    batch: dict[str, Tensor],
    recipe: PropagatorRecipe,
    rng: torch.Generator,
    prior: PriorNetwork,
) -> dict[str, Tensor]:
    """Color the frames of a batch one after the other; the mean of each loss term over those that count.

    batch: see ``Sequences``; the first pictures of a sequence are its references. Frames before the last
    ``recipe.frames`` are colored without gradient. prior: what the frames are also guessed by, not learned.
    """
    lightness, ab, tracked, flow, moving, moved = (
        batch[name] for name in ("lightness", "ab", "tracked", "flow", "moving", "moved")
    )
    size, pictures = lightness.shape[:2]
    count = tracked.shape[1]
    guides, warm = pictures - count, max(count - recipe.frames, 0)
    seen = looked(prior, lightness)
    at = encoded(network, lightness, seen, range(guides, guides + warm))
    ab4 = F.avg_pool2d(ab.flatten(0, 1), 4).unflatten(0, (size, pictures))
    least = within_cells(ab.flatten(0, 1), ab4.flatten(0, 1)).unflatten(0, (size, pictures))
    prior4 = perturbed(guessed(prior, seen, lightness)[:, guides:], rng)
    trusted = torch.ones_like(ab4[:, 0, :1])
    guided = bool(torch.rand((), generator=rng) >= recipe.without_reference)
    references = [Memory.of(at[g], ab4[:, g], trusted) for g in range(guides)] if guided else []
    colored: list[Memory] = []
    terms: dict[str, list[Tensor]] = {}
    for t in range(count):
        query, target = at[guides + t], ab4[:, guides + t]
        with torch.set_grad_enabled(t >= warm):
            known = tracked[:, t] if guided else None
            motion = Motion(known, carry(colored[-1].value4, flow[:, t]) if colored else None)
            guiding = [replace(held, moved8=moved[:, t, g]) for g, held in enumerate(references)]
            output = network(query, guiding, colored[-1:], motion, prior4[:, t], moving[:, t])
            found = losses(output, target, query.light4, least[:, guides + t])
            if t > 1:
                before, true_before = colored[-1].value4[:, :2], ab4[:, guides + t - 1]
                found["steady"] = recipe.steady * steadiness(output.ab4, before, target, true_before, flow[:, t])
        if t >= warm:
            for name, term in found.items():
                terms.setdefault(name, []).append(term)
        kept, trust = output.ab4, torch.sigmoid(output.trust_logit4)
        if t == 0:
            if not guided:
                kept = target
            kept, trust = help_along(kept, trust, target, recipe.helped, rng)
            if bool(torch.rand((), generator=rng) < recipe.corrupt):
                kept = spoil(kept, rng)
        colored.append(Memory.of(query, kept, trust, RECENT_RADIUS))
    return {name: torch.stack(values).mean() for name, values in terms.items()}


def looked(prior: PriorNetwork, lightness: Tensor) -> Seen:
    """What ``chroma-prior`` sees in pictures (B, N, 1, h, w), of all of them in a row."""
    with torch.no_grad():
        return look(prior, lightness.flatten(0, 1))


def guessed(prior: PriorNetwork, seen: Seen, lightness: Tensor) -> Tensor:
    """What it says of them: ab / 110 (B, N, 2, h/4, w/4)."""
    with torch.no_grad():
        laid = told(prior, seen, F.avg_pool2d(lightness.flatten(0, 1), 4))
    return laid.unflatten(0, lightness.shape[:2])


def perturbed(prior4: Tensor, rng: torch.Generator) -> Tensor:
    """A prior (B, N, 2, h, w) as far from the truth as on a film: it was trained on some of the pictures shown here.

    Paler or stronger, and tinted here and there, all frames of a sequence alike.
    """
    batch, _, _, height, width = prior4.shape
    gain = 0.75 + 0.45 * torch.rand(batch, 1, 1, 1, 1, generator=rng)
    coarse = 0.03 * torch.randn(batch, 2, 5, 5, generator=rng)
    tint = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
    return prior4 * gain.to(prior4.device) + tint[:, None].to(prior4.device)


def encoded(network: PropagatorNetwork, lightness: Tensor, seen: Seen, frozen: range) -> list[Features]:
    """Features of every picture (B, N, 1, h, w) -> N times (B, ...); without gradient those in ``frozen``."""
    size, pictures = lightness.shape[:2]
    parts: dict[int, Features] = {}
    for grad in (True, False):
        chosen = [n for n in range(pictures) if (n in frozen) != grad]
        if chosen:
            with torch.set_grad_enabled(grad):
                batch = lightness[:, chosen].flatten(0, 1).contiguous(memory_format=torch.channels_last)
                features = network.encoder(batch, seen[[row * pictures + n for row in range(size) for n in chosen]])
            parts |= {n: features[slice(i, None, len(chosen))] for i, n in enumerate(chosen)}
    return [parts[n] for n in range(pictures)]


def help_along(
    ab4: Tensor, trust4: Tensor, target4: Tensor, share: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Bring the colors of some sequences nearer to the truth, each by its own part of the way, and the trust with them.

    In the middle of a film the frame before is better than what the references alone would make of it: many frames have
    had their say. A short run would never learn to lean on it.
    """
    batch = len(ab4)
    part = torch.rand(batch, 1, 1, 1, generator=rng) * (torch.rand(batch, 1, 1, 1, generator=rng) < share)
    moved = ab4 + part * (target4 - ab4)
    return moved, trust4 + part * (deserved(moved, target4) - trust4)


def guesses(network: PropagatorNetwork, batch: dict[str, Tensor], prior: PriorNetwork) -> dict[str, Tensor]:
    """Loss of the guess on stills, with nothing to go by and with another part of the picture as a palette.

    batch: ``still_lightness`` (N, 2, 1, h, w) and ``still_ab`` (N, 2, 2, h, w): two parts of each still.
    """
    lightness, ab = batch["still_lightness"], batch["still_ab"]
    flat = lightness.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    features = network.encoder(flat, looked(prior, lightness))
    first, second = features[slice(0, None, 2)], features[slice(1, None, 2)]
    ab4 = F.avg_pool2d(ab.flatten(0, 1), 4).unflatten(0, ab.shape[:2])
    palette = [Memory.of(first, ab4[:, 0], torch.ones_like(ab4[:, 0, :1]))]
    pairs = ((network.semantic(first, []).guess, first), (network.semantic(second, palette).guess, second))
    losses = [robust(laid_out(guess, query.light4), ab4[:, n]) for n, (guess, query) in enumerate(pairs)]
    return {"prior": 0.5 * losses[0], "palette": 0.5 * losses[1]}


def spoil(ab4: Tensor, rng: torch.Generator) -> Tensor:
    """Fade or tint a part of a colored frame, as drift does; the reference must bring it back."""
    batch, _, height, width = ab4.shape
    strength = torch.rand(batch, 1, 4, 4, generator=rng)
    mask = F.interpolate((strength > 0.5).float(), size=(height, width), mode="bilinear", align_corners=False)
    gain = torch.rand(batch, 1, 1, 1, generator=rng) * 0.9
    tint = torch.randn(batch, 2, 1, 1, generator=rng) * 0.1
    return ab4 * (1 - mask * (1 - gain)) + mask * tint


class PropagatorTask(Task):
    """The network with its losses, and clips that it is scored on."""

    def __init__(self, recipe: PropagatorRecipe, kept: Sequence[Clip] = ()) -> None:
        super().__init__()
        seeded(recipe.loop.seed)
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.network: PropagatorNetwork = PropagatorNetwork(recipe.size).to(**layout)
        self.prior = shipped_network().to(**layout)
        self.recipe = recipe
        self.kept = kept

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        terms = unroll(self.network, batch, self.recipe, rng, self.prior)
        return terms | guesses(self.network, batch, self.prior) if "still_ab" in batch else terms

    def validate(self, network: nn.Module) -> Validation:
        device = str(next(self.network.parameters()).device)
        if not self.kept:
            return Validation({}, {})
        return validate(Propagator.around(self.network, self.prior, device), self.kept)


def train(
    recipe: PropagatorRecipe,
    *,
    resume: bool = False,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Path:
    """Train; the file with the averaged weights. Raises InputError for a folder without usable footage."""
    output = recipe.loop.output
    if resume and not (output / "last.pt").exists():
        raise InputError(f"{output} holds no checkpoint to resume from")
    footage = load_footage(recipe.data, limit=recipe.files, kept=recipe.kept)
    log.info(
        "%d stills, %d clips, %d clips to validate on, %d files skipped",
        *(len(files) for files in (footage.stills, footage.clips, footage.kept, footage.skipped)),
    )
    for line in footage.skipped:
        log.warning("skipped %s", line)
    loop = Loop(PropagatorTask(recipe, footage.kept), recipe.loop)
    if resume:
        loop.resume()
    (output / "recipe.json").write_text(json.dumps(asdict(recipe), default=str, indent=1))
    dataset = Sequences(footage, recipe.sequences, batch=recipe.batch, **loop.numbering)
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


RECIPES: Mapping[str, type] = {"propagator": PropagatorRecipe, "propagator-b": PropagatorRecipe}
