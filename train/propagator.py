"""Training of ``propagator``: runs of frames, the cache filled by the model's own colors.

The first frame of a run is colored from the reference alone, every later one from the reference and the
frames before it as the model itself colored them: it must learn to live with its own errors.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from streamcolor.colorizers.propagator.colorizer import RECENT_RADIUS, Propagator
from streamcolor.colorizers.propagator.encoder import BIG, SMALL, Size
from streamcolor.colorizers.propagator.matching import Memory
from streamcolor.colorizers.propagator.motion import Motion, carry
from streamcolor.colorizers.propagator.network import Output, PropagatorNetwork
from streamcolor.errors import CallError, InputError
from streamcolor.train.loop import Batch, Loop, LoopRecipe, Task, Validation, seeded
from streamcolor.train.sequences import Clip, SequenceRecipe, Sequences, load_footage
from streamcolor.train.validation import validate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PropagatorRecipe:
    """Hyper-parameters of a training run of ``propagator``.

    batch: sequences in a step, of ``frames`` frames after one or two references, ``height`` x ``width`` (multiples of
    16); see ``SequenceRecipe`` for clips, farthest, unrelated, two, lead and stills. without_reference: share of steps
    that color with nothing to go by. corrupt: share whose first frame is spoiled before the next sees it. steady:
    weight of the loss on change along the motion. kept: share of the clips to validate on, never trained on.
    """

    model: Literal["propagator", "propagator-b"]
    data: Path
    loop: LoopRecipe
    batch: int = 4
    workers: int = 1
    height: int = 192
    width: int = 192
    frames: int = 4
    clips: float = 0.6
    farthest: int = 60
    unrelated: float = 0.08
    two: float = 0.25
    lead: int = 4
    stills: int = 6
    without_reference: float = 0.1
    corrupt: float = 0.3
    steady: float = 0.3
    kept: float = 0.1
    files: int | None = None

    def __post_init__(self) -> None:
        if self.height % 16 or self.width % 16 or min(self.height, self.width) < 64:
            raise CallError(f"--height {self.height} and --width {self.width} must be multiples of 16, at least 64")
        if min(self.batch, self.frames) < 1 or self.workers < 0 or not 0 <= self.kept < 1:
            raise CallError("batch and frames must be positive, workers not negative, kept a share below 1")

    @property
    def size(self) -> Size:
        return BIG if self.model == "propagator-b" else SMALL

    @property
    def sequences(self) -> SequenceRecipe:
        return SequenceRecipe(**{field.name: getattr(self, field.name) for field in fields(SequenceRecipe)})


def as_published(model: str, loop: LoopRecipe) -> LoopRecipe:
    """The loop as it is: the defaults are this model's own."""
    return loop


def robust(a: Tensor, b: Tensor, beta: float = 0.05) -> Tensor:
    """Smooth L1, quadratic below ``beta`` (0.05: 5.5 ab units)."""
    return F.smooth_l1_loss(a, b, beta=beta)


def losses(output: Output, target4: Tensor, *, guided: bool) -> dict[str, Tensor]:
    """Terms for one frame. target4: (B, 2, h/4, w/4) true ab in units of 110; guided: a reference was there."""
    found = output.found
    error = (output.ab4.detach() - target4).norm(dim=1, keepdim=True) * 110
    terms = {
        "ab": 2 * robust(output.ab4, target4, 0.1),
        "fused": robust(output.fused4, target4, 0.1),
        "spread": 0.3 * robust(output.spread4, target4),
        "trust": 0.05 * F.binary_cross_entropy_with_logits(output.trust_logit4, torch.exp(-error / 12)),
        "guess": 0.3 * robust(found.guess16, at_stride_16(target4, found.guess16)),
    }
    for name, read in (("references", found.references), ("recent", found.recent)):
        if read is not None:
            fine, coarse = robust(read.fine[:, :2], target4), robust(read.coarse[:, :2], target4)
            terms[name] = 0.4 * (fine + coarse)
    if guided:
        terms["alike"] = 0.3 * robust(found.alike16[:, :2], at_stride_16(target4, found.alike16))
    return terms


def at_stride_16(target4: Tensor, like: Tensor) -> Tensor:
    """Means of 4 x 4 cells of stride 4."""
    return F.interpolate(F.avg_pool2d(target4, 4), size=like.shape[-2:])


def steadiness(now: Tensor, before: Tensor, true_now: Tensor, true_before: Tensor, flow4: Tensor) -> Tensor:
    """Change along the motion against the true change, where flow is believed (E_warp of Lai et al. 2018, eq. 2).

    All (B, 2, h/4, w/4) but flow4, (B, 4, ...) of ``motion.flow_before``. The true change is taken off because light
    does change; a plain penalty on change teaches smear.
    """
    believed = flow4[:, 2:3]
    change = now - carry(before, flow4)[:, :2]
    true_change = true_now - carry(true_before, flow4)[:, :2]
    return ((change - true_change).abs() * believed).mean()


def unroll(
    network: PropagatorNetwork, batch: dict[str, Tensor], recipe: PropagatorRecipe, rng: torch.Generator
) -> dict[str, Tensor]:
    """Color the frames of a batch one after the other; the mean of each loss term over the frames.

    batch: see ``Sequences``; the first pictures of a sequence are its references.
    """
    lightness, ab, tracked, flow = batch["lightness"], batch["ab"], batch["tracked"], batch["flow"]
    size, pictures = lightness.shape[:2]
    count = tracked.shape[1]
    guides = pictures - count
    features = network.encoder(lightness.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    # Rows of picture t of every sequence in the batch.
    at = [features[slice(t, None, pictures)] for t in range(pictures)]
    ab4 = F.avg_pool2d(ab.flatten(0, 1), 4).unflatten(0, (size, pictures))
    trusted = torch.ones_like(ab4[:, 0, :1])
    guided = bool(torch.rand((), generator=rng) >= recipe.without_reference)
    references = [Memory.of(at[g], ab4[:, g], trusted) for g in range(guides)] if guided else []
    colored: list[Memory] = []
    terms: dict[str, list[Tensor]] = {}
    for t in range(count):
        query, target = at[guides + t], ab4[:, guides + t]
        motion = Motion(tracked[:, t] if guided else None, carry(colored[-1].value4, flow[:, t]) if colored else None)
        output = network(query, references, colored[-1:], motion)
        found = losses(output, target, guided=guided)
        if t > 1:
            before, true_before = colored[-1].value4[:, :2], ab4[:, guides + t - 1]
            found["steady"] = recipe.steady * steadiness(output.ab4, before, target, true_before, flow[:, t])
        for name, term in found.items():
            terms.setdefault(name, []).append(term)
        kept = output.ab4
        if t == 0:
            if not guided:
                kept = target
            if bool(torch.rand((), generator=rng) < recipe.corrupt):
                kept = spoil(kept, rng)
        colored.append(Memory.of(query, kept, torch.sigmoid(output.trust_logit4), RECENT_RADIUS))
    return {name: torch.stack(values).mean() for name, values in terms.items()}


def guesses(network: PropagatorNetwork, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Loss of the guess on stills, with nothing to go by and with another part of the picture as a palette.

    batch: ``still_lightness`` (N, 2, 1, h, w) and ``still_ab`` (N, 2, 2, h, w): two parts of each still.
    """
    lightness, ab = batch["still_lightness"], batch["still_ab"]
    features = network.encoder(lightness.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    first, second = features[slice(0, None, 2)], features[slice(1, None, 2)]
    ab4 = F.avg_pool2d(ab.flatten(0, 1), 4).unflatten(0, ab.shape[:2])
    palette = [Memory.of(first, ab4[:, 0], torch.ones_like(ab4[:, 0, :1]))]
    _, plain, _ = network.semantic(first, [])
    _, guided, _ = network.semantic(second, palette)
    losses = [robust(guess, at_stride_16(ab4[:, n], guess)) for n, guess in enumerate((plain, guided))]
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
        self.recipe = recipe
        self.kept = kept

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        terms = unroll(self.network, batch, self.recipe, rng)
        return terms | guesses(self.network, batch) if "still_ab" in batch else terms

    def validate(self, network: nn.Module) -> Validation:
        return validate(Propagator.around(self.network), self.kept) if self.kept else Validation({}, {})


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
    dataset = Sequences(
        footage,
        recipe.sequences,
        seed=recipe.loop.seed,
        batch=recipe.batch,
        start=loop.step,
        rank=loop.fabric.global_rank,
        world=loop.fabric.world_size,
    )
    return loop.train(DataLoader(dataset, None, num_workers=recipe.workers), on_step)


RECIPES: Mapping[str, type] = {"propagator": PropagatorRecipe, "propagator-b": PropagatorRecipe}
