"""Training of ``propagator``: runs of frames, the cache filled by the model's own colors.

The first frame of a run is colored from the reference alone, every later one from the reference and the
frames before it as the model itself colored them: it must learn to live with its own errors.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from streamcolor.colorizers.propagator.colorizer import OLDER_RADIUS, RECENT_RADIUS
from streamcolor.colorizers.propagator.matching import Memory
from streamcolor.colorizers.propagator.network import Output, PropagatorNetwork
from streamcolor.errors import InputError, StreamcolorError
from streamcolor.train.sequences import SequenceRecipe, Sequences, load_footage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PropagatorRecipe:
    """Hyper-parameters of a training run; ``steps`` is the whole schedule, also across resumes."""

    data: Path
    output: Path
    steps: int = 6000
    batch: int = 4
    rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 1e-4
    average: float = 0.998
    seed: int = 0
    threads: int = 1
    workers: int = 1
    save_every: int = 100
    without_reference: float = 0.1
    corrupt: float = 0.3
    start_from: Path | None = None
    footage_limit: int | None = None
    sequences: SequenceRecipe = field(default_factory=SequenceRecipe)


def robust(a: Tensor, b: Tensor) -> Tensor:
    """Smooth L1, quadratic below 0.05 (5.5 ab units)."""
    return F.smooth_l1_loss(a, b, beta=0.05)


def losses(output: Output, target4: Tensor, *, guided: bool) -> dict[str, Tensor]:
    """Terms for one frame. target4: (B, 2, h/4, w/4) true ab in units of 110; guided: a reference was there."""
    target16 = F.interpolate(F.avg_pool2d(target4, 4), size=output.guess16.shape[-2:])
    error = (output.ab4.detach() - target4).norm(dim=1, keepdim=True) * 110
    terms = {
        "ab": 2 * robust(output.ab4, target4),
        "guess": 0.3 * robust(output.guess16, target16),
        "trust": 0.05 * F.binary_cross_entropy_with_logits(output.trust_logit4, torch.exp(-error / 12)),
    }
    for name, read in (("references", output.references), ("recent", output.recent)):
        if read is not None:
            fine, coarse = robust(read.fine[:, :2], target4), robust(read.coarse[:, :2], target4)
            terms[name] = 0.4 * (fine + coarse)
    if guided:
        terms["alike"] = 0.3 * robust(output.alike16[:, :2], target16)
    return terms


def unroll(
    network: PropagatorNetwork, batch: dict[str, Tensor], recipe: PropagatorRecipe, rng: torch.Generator
) -> dict[str, Tensor]:
    """Color the frames of a batch one after the other; the mean of each loss term over the frames."""
    lightness, ab = batch["lightness"], batch["ab"]
    size, count = lightness.shape[:2]
    features = network.encoder(lightness.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    # Rows of picture t of every sequence in the batch.
    at = [features[slice(t, None, count)] for t in range(count)]
    ab4 = F.avg_pool2d(ab.flatten(0, 1), 4).unflatten(0, (size, count))
    trusted = torch.ones_like(ab4[:, 0, :1])
    guided = bool(torch.rand((), generator=rng) >= recipe.without_reference)
    references = [Memory.of(at[0], ab4[:, 0], trusted)] if guided else []
    colored: list[Memory] = []
    terms: dict[str, list[Tensor]] = {}
    for t in range(1, count):
        recent = colored[-1:] + [Memory(m.key4, m.key8, m.key16, m.value4, OLDER_RADIUS) for m in colored[:-1][:1]]
        output = network(at[t], references, recent)
        for name, term in losses(output, ab4[:, t], guided=guided).items():
            terms.setdefault(name, []).append(term)
        kept = output.ab4
        if t == 1:
            if not guided:
                kept = ab4[:, 1]
            if bool(torch.rand((), generator=rng) < recipe.corrupt):
                kept = spoil(kept, rng)
        colored.append(Memory.of(at[t], kept, torch.sigmoid(output.trust_logit4), RECENT_RADIUS))
    return {name: torch.stack(values).mean() for name, values in terms.items()}


def spoil(ab4: Tensor, rng: torch.Generator) -> Tensor:
    """Fade or tint a part of a colored frame, as drift does; the reference must bring it back."""
    batch, _, height, width = ab4.shape
    strength = torch.rand(batch, 1, 4, 4, generator=rng)
    mask = F.interpolate((strength > 0.5).float(), size=(height, width), mode="bilinear", align_corners=False)
    gain = torch.rand(batch, 1, 1, 1, generator=rng) * 0.9
    tint = torch.randn(batch, 2, 1, 1, generator=rng) * 0.1
    return ab4 * (1 - mask * (1 - gain)) + mask * tint


class Trainer:
    """The loop with everything that a resume needs: network, average, optimizer, step, random state."""

    def __init__(self, recipe: PropagatorRecipe) -> None:
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        torch.set_num_threads(recipe.threads)
        torch.set_flush_denormal(True)
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.network = PropagatorNetwork().to(**layout)
        self.rng = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        if recipe.start_from is not None:
            missing = self.network.load_state_dict(load_file(recipe.start_from), strict=False).missing_keys
            log.info("started from %s; %d tensors are new", recipe.start_from, len(missing))
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), recipe.rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.99)
        )
        recipe.output.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Go on from the last checkpoint of the output folder; False when there is none."""
        path = self.recipe.output / "last.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"])
        self.step = int(state["step"])
        return True

    def save(self) -> None:
        """``last.pt`` to resume from, ``average.safetensors`` to use; replaced whole or not at all."""
        folder = self.recipe.output
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "step": self.step,
        }
        torch.save(state, folder / "last.pt.part")
        (folder / "last.pt.part").replace(folder / "last.pt")
        tensors = {k: v.contiguous() for k, v in self.average.items()}
        save_file(tensors, folder / "average.safetensors.part", {"step": str(self.step)})
        (folder / "average.safetensors.part").replace(folder / "average.safetensors")

    def learning_rate(self) -> float:
        """Linear warm-up, then cosine to a hundredth."""
        recipe = self.recipe
        progress = torch.tensor(min(self.step / recipe.steps, 1.0))
        cosine = 0.505 + 0.495 * torch.cos(torch.pi * progress).item()
        return recipe.rate * min(1.0, (self.step + 1) / recipe.warmup) * cosine

    def step_once(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One optimizer step; the loss terms. Raises StreamcolorError when a loss is not a number."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        terms = unroll(self.network, batch, self.recipe, self.rng)
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            raise StreamcolorError(f"the loss is not a number at step {self.step}; resume with a lower rate")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._follow()
        return {name: term.item() for name, term in terms.items()}

    def train(self, batches: Iterator[dict[str, Tensor]]) -> None:
        """Steps until the schedule is over, with losses written down and checkpoints on the way."""
        started = time.monotonic()
        mean: dict[str, float] = {}
        while self.step < self.recipe.steps:
            for name, value in self.step_once(next(batches)).items():
                mean[name] = 0.98 * mean.get(name, value) + 0.02 * value
            if self.step % 25 == 0:
                minutes = round((time.monotonic() - started) / 60, 2)
                record = {"step": self.step, "minutes": minutes} | {k: round(v, 5) for k, v in mean.items()}
                with (self.recipe.output / "losses.jsonl").open("a") as file:
                    file.write(json.dumps(record) + "\n")
                log.info("%s", record)
            if self.step % self.recipe.save_every == 0 or self.step == self.recipe.steps:
                self.save()

    def _follow(self) -> None:
        weight = min(self.recipe.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].mul_(weight).add_(value, alpha=1 - weight)


def train(recipe: PropagatorRecipe, *, resume: bool = False) -> Path:
    """Train; the file with the averaged weights. Raises InputError for a folder without usable footage."""
    trainer = Trainer(recipe)
    if resume and not trainer.resume():
        raise InputError(f"{recipe.output} holds no checkpoint to resume from")
    footage = load_footage(recipe.data, limit=recipe.footage_limit)
    log.info("%d stills, %d clips, %d files skipped", len(footage.stills), len(footage.clips), len(footage.skipped))
    for line in footage.skipped:
        log.warning("skipped %s", line)
    (recipe.output / "recipe.json").write_text(json.dumps(asdict(recipe), default=str, indent=1))
    dataset = Sequences(footage, recipe.sequences, seed=recipe.seed, start=trainer.step * recipe.batch)
    loader = DataLoader(dataset, recipe.batch, num_workers=recipe.workers)
    trainer.train(iter(loader))
    return recipe.output / "average.safetensors"
