"""The training loop of every model, on Lightning Fabric: step, average, validate, save, resume.

A task is a module that turns a batch into named loss terms. The loop owns everything that a resume needs, so that a
run that is killed and resumed sees the same losses as one that is not.
"""

from __future__ import annotations

import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric, seed_everything
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from streamcolor.errors import CallError, InputError, StreamcolorError
from streamcolor.media.atomic import replaced

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]
LOSSES = "losses.jsonl"
LAST = "last.pt"


@dataclass(frozen=True)
class LoopRecipe:
    """Hyper-parameters that every training run has; ``steps`` is the whole schedule, also across resumes.

    rate: highest learning rate, after ``warmup`` steps; then by ``schedule`` cosine to a hundredth, or constant.
    betas, weight_decay: of AdamW, which without decay is Adam. average: decay of the exponential average of the
    weights; 0 keeps the last ones. save_every, validate_every, report_every: steps between two checkpoints, validations
    and lines of losses. accelerator, devices, precision: as Fabric names them.
    """

    output: Path
    steps: int = 6000
    rate: float = 1e-3
    warmup: int = 200
    schedule: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-4
    average: float = 0.998
    clip: float = 1.0
    seed: int = 0
    threads: int = 1
    accelerator: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    save_every: int = 100
    validate_every: int = 500
    report_every: int = 25
    start_from: Path | None = None

    def __post_init__(self) -> None:
        if min(self.save_every, self.validate_every, self.report_every, self.warmup) < 1:
            raise CallError("save-every, validate-every, report-every and warmup must be at least 1")


def check_resumable(output: Path, *stages: str) -> None:
    """Raises InputError when neither a run folder nor that of one of its stages holds a checkpoint."""
    if not any((output / stage / LAST).exists() for stage in ("", *stages)):
        raise InputError(f"{output} holds no checkpoint to resume from")


class Task(nn.Module, ABC):
    """What is trained. ``network`` is what is saved."""

    network: nn.Module

    def groups(self) -> list[dict[str, Any]]:
        """Parameters as the optimizer wants them; ``share`` of a group: its part of the learning rate."""
        return [{"params": list(self.network.parameters())}]

    @abstractmethod
    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """The loss terms, already weighted."""

    @abstractmethod
    def validate(self, network: nn.Module) -> Validation:
        """Figures and pictures of the averaged network on footage that is never trained on."""


@dataclass(frozen=True)
class Validation:
    """``figures`` by name (``psnr`` decides which checkpoint is best), ``pictures`` (H, W, 3) uint8 by name."""

    figures: dict[str, float]
    pictures: dict[str, NDArray[np.uint8]]


def start_from(network: nn.Module, file: Path) -> int:
    """Take what a safetensors file holds of a network; how many of its tensors stay as they are.

    Raises InputError when that is most of them, or when the file cannot be read or holds tensors of another shape.
    """
    wanted = len(network.state_dict())
    try:
        new = len(network.load_state_dict(load_file(file), strict=False).missing_keys)
    except (OSError, SafetensorError, RuntimeError):
        # RuntimeError: another shape.
        new = wanted
    if 2 * new > wanted:
        raise InputError(f"{file} does not hold weights that this model could start from")
    return new


class Loop:
    """One optimizer, one task. Files in the run folder are replaced whole or not at all.

    strategy: of several devices, as Fabric names it.
    """

    strategy: ClassVar[str] = "auto"

    def __init__(self, task: Task, recipe: LoopRecipe) -> None:
        self.recipe = recipe
        torch.set_num_threads(recipe.threads)
        torch.set_flush_denormal(True)
        # The loader's processes are forks: with threads of OpenCV 5 left here, they would wait for these forever.
        cv2.setNumThreads(1)
        self.fabric = Fabric(
            accelerator=recipe.accelerator,
            strategy=self.strategy if recipe.devices > 1 else "auto",
            devices=recipe.devices,
            precision=recipe.precision,  # type: ignore[arg-type]
        )
        self.fabric.launch()
        if recipe.start_from is not None:
            new = start_from(task.network, recipe.start_from)
            log.info("started from %s; %d tensors are new", recipe.start_from, new)
        self.task = task
        self.set_up()
        self.average = {name: value.detach().clone() for name, value in task.network.state_dict().items()}
        self.rng = torch.Generator().manual_seed(recipe.seed)
        self.step = 0
        self.seconds = 0.0
        self.mean: dict[str, float] = {}
        self.best = -math.inf
        recipe.output.mkdir(parents=True, exist_ok=True)

    def set_up(self) -> None:
        """The task and its optimizer as Fabric runs them."""
        recipe = self.recipe
        optimizer = torch.optim.AdamW(
            self.task.groups(), recipe.rate, weight_decay=recipe.weight_decay, betas=recipe.betas
        )
        self.module, self.optimizer = self.fabric.setup(self.task, optimizer)

    def resume(self) -> None:
        """Go on from the last checkpoint of the output folder. Raises InputError when there is none."""
        check_resumable(self.recipe.output)
        state = torch.load(self.recipe.output / LAST, weights_only=True, map_location=self.fabric.device)
        self.restore(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Become what ``state`` describes."""
        self.task.network.load_state_dict(state["network"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.set_state(state["rng"].cpu())
        self.step = int(state["step"])
        self.best = float(state.get("best", -math.inf))
        # Older checkpoints do not have these.
        self.seconds = float(state.get("seconds", 0.0))
        self.mean = dict(state.get("mean", {}))

    def state(self) -> dict[str, Any]:
        """All that a resume needs."""
        return {
            "network": self.task.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.get_state(),
            "step": self.step,
            "best": self.best,
            "seconds": self.seconds,
            "mean": self.mean,
        }

    @property
    def numbering(self) -> dict[str, int]:
        """For ``NumberedBatches``: which batches this process of the run goes on with."""
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return {"seed": self.recipe.seed, "start": self.step, "rank": rank, "world": world}

    def save(self) -> None:
        """``last.pt`` to resume from, ``average.safetensors`` to use."""
        if not self.fabric.is_global_zero:
            return
        part = self.recipe.output / f"{LAST}.part"
        torch.save(self.state(), part)
        part.replace(self.recipe.output / LAST)
        self._write_average("average.safetensors")

    def learning_rate(self, highest: float | None = None) -> float:
        """Linear warm-up to ``highest`` (that of the recipe), then cosine to a hundredth, or constant."""
        recipe = self.recipe
        highest = (recipe.rate if highest is None else highest) * min(1.0, (self.step + 1) / recipe.warmup)
        if recipe.schedule == "constant":
            return highest
        return highest * (0.505 + 0.495 * math.cos(math.pi * min(self.step / recipe.steps, 1.0)))

    def step_once(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; the loss terms. Raises StreamcolorError when a loss is not a number."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate() * group.get("share", 1.0)
        terms = self.module(batch, self.rng)
        self.descend(terms, self.optimizer)
        self.step += 1
        self._follow()
        return {name: term.item() for name, term in terms.items()}

    def descend(self, terms: dict[str, Tensor], optimizer: Optimizer) -> None:
        """One step of an optimizer down the sum of loss terms."""
        total = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(total):
            bad = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise StreamcolorError(
                f"the loss {', '.join(bad)} is not a number at step {self.step}; resume with a lower rate"
            )
        optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.module, optimizer, max_norm=self.recipe.clip)
        optimizer.step()

    def train(self, loader: Iterable[Batch], on_step: Callable[[int, dict[str, float]], None] | None = None) -> Path:
        """Steps until the schedule is over; curves, checkpoints and validation on the way. The averaged weights.

        on_step: told the number of steps done and the running means of the loss terms after each.
        """
        batches: Iterator[Batch] = iter(self.fabric.setup_dataloaders(loader))  # type: ignore[arg-type]
        before = time.monotonic() - self.seconds
        self._forget_what_follows()
        writer = SummaryWriter(self.recipe.output / "tensorboard", purge_step=self.step + 1)
        try:
            while self.step < self.recipe.steps:
                for name, value in self.step_once(next(batches)).items():
                    self.mean[name] = 0.98 * self.mean.get(name, value) + 0.02 * value
                self.seconds = time.monotonic() - before
                if on_step is not None:
                    on_step(self.step, self.mean)
                if self.step % self.recipe.report_every == 0:
                    self._report(writer)
                last = self.step == self.recipe.steps
                if self.step % self.recipe.validate_every == 0 or last:
                    self._validate(writer)
                if self.step % self.recipe.save_every == 0 or last:
                    self.save()
        finally:
            writer.close()
        return self.recipe.output / "average.safetensors"

    def _forget_what_follows(self) -> None:
        """Drop lines of losses from after the checkpoint: they come again, the same."""
        path = self.recipe.output / LOSSES
        if self.fabric.is_global_zero and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            # The last line of a run that was killed may be half a line.
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= self.step]
            with replaced(path) as part:
                part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def _report(self, writer: SummaryWriter) -> None:
        record: dict[str, Any] = {"step": self.step, "minutes": round(self.seconds / 60, 2)}
        record |= {name: round(value, 5) for name, value in self.mean.items()}
        if self.fabric.is_global_zero:
            with (self.recipe.output / LOSSES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        for name, value in self.mean.items():
            writer.add_scalar(f"loss/{name}", value, self.step)
        writer.add_scalar("rate", self.learning_rate(), self.step)
        log.info("%s", record)

    def _validate(self, writer: SummaryWriter) -> None:
        """Score the averaged weights; keep the best as ``best.safetensors``."""
        here = {name: value.detach().clone() for name, value in self.task.network.state_dict().items()}
        self.task.network.load_state_dict(self.average)
        self.task.network.eval()
        try:
            with torch.no_grad():
                result = self.task.validate(self.task.network)
        finally:
            self.task.network.load_state_dict(here)
            self.task.network.train()
        for name, value in result.figures.items():
            writer.add_scalar(f"validation/{name}", value, self.step)
        for name, picture in result.pictures.items():
            writer.add_image(name, picture, self.step, dataformats="HWC")
        if result.figures:
            log.info("validation at step %d: %s", self.step, {k: round(v, 3) for k, v in result.figures.items()})
        if result.figures.get("psnr", -math.inf) > self.best:
            self.best = result.figures["psnr"]
            self._write_average("best.safetensors")

    def _write_average(self, name: str) -> None:
        part = self.recipe.output / f"{name}.part"
        save_file({k: v.contiguous() for k, v in self.average.items()}, part, {"step": str(self.step)})
        part.replace(self.recipe.output / name)

    def _follow(self) -> None:
        weight = min(self.recipe.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.task.network.state_dict().items():
                if value.is_floating_point():
                    self.average[name].mul_(weight).add_(value, alpha=1 - weight)
                else:
                    # The number of batches that batch normalization has seen.
                    self.average[name].copy_(value)


def seeded(seed: int) -> None:
    """Every generator of the process from one number (weights are drawn from torch's)."""
    seed_everything(seed, verbose=False)
