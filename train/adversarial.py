"""The training loop of generators against critics (discriminators), with an optimizer for either side.

A step is one of the critics, then one of the generators, on the same batch. Everything else, the run folder with its
files, validation, the average of the network that is kept, is that of ``loop.py``.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from streamcolor.train.loop import Batch, Loop, LoopRecipe, Task


@dataclass(frozen=True)
class AdversarialRecipe(LoopRecipe):
    """Hyper-parameters of a run with critics; ``rate``, ``betas`` and ``weight_decay`` are those of the generators.

    critic_rate, critic_betas, critic_weight_decay: None: as the generators'. critic_steps: the critics step on every
    batch, the generators on every so many-th. decay_from: share of the steps after which both rates, on top of
    ``schedule``, fall linearly to 0; 1: never. ``clip`` holds for the gradients of either side.
    """

    critic_rate: float | None = None
    critic_betas: tuple[float, float] | None = None
    critic_weight_decay: float | None = None
    critic_steps: int = 1
    decay_from: float = 1.0


def adversarial(loop: LoopRecipe, **changes: Any) -> AdversarialRecipe:
    """A loop with all that it has, and critics; ``changes`` by the names of ``AdversarialRecipe``."""
    return replace(AdversarialRecipe(**vars(loop)), **changes)


class AdversarialTask(Task):
    """Generators and critics with their losses; the terms are already weighted.

    network: what is saved, averaged and validated. generators: all that the first optimizer trains, ``network`` among
    it (a cycle GAN has a second one). critics: all that the second one trains. A ``nn.Module`` that has none of its
    weights in these is frozen.
    """

    generators: nn.Module
    critics: nn.Module

    @abstractmethod
    def generator_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Losses of the generators; gradients flow through the critics, which do not move."""

    @abstractmethod
    def critic_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        """Losses of the critics; what is generated for them is made under ``torch.no_grad``."""

    def constrain(self) -> None:
        """Called without gradients after every step of the generators' optimizer, for weights that have bounds."""

    def forward(self, batch: Batch, rng: torch.Generator, *, of_critics: bool = False) -> dict[str, Tensor]:
        return self.critic_terms(batch, rng) if of_critics else self.generator_terms(batch, rng)


class AdversarialLoop(Loop):
    """Two optimizers, one task; a run that is resumed sees the losses of an undisturbed one, dropout included."""

    # Either side's step leaves the other's weights without a gradient.
    strategy: ClassVar[str] = "ddp_find_unused_parameters_true"

    task: AdversarialTask
    recipe: AdversarialRecipe

    def __init__(self, task: AdversarialTask, recipe: AdversarialRecipe) -> None:
        super().__init__(task, recipe)

    def set_up(self) -> None:
        """See ``Loop.set_up``."""
        recipe = self.recipe
        decay, betas = recipe.critic_weight_decay, recipe.critic_betas
        generators = torch.optim.AdamW(
            self.task.generators.parameters(), recipe.rate, recipe.betas, weight_decay=recipe.weight_decay
        )
        critics = torch.optim.AdamW(
            self.task.critics.parameters(),
            self._critic_rate,
            recipe.betas if betas is None else betas,
            weight_decay=recipe.weight_decay if decay is None else decay,
        )
        self.module, self.optimizer, self.critic_optimizer = self.fabric.setup(self.task, generators, critics)

    @property
    def _critic_rate(self) -> float:
        return self.recipe.rate if self.recipe.critic_rate is None else self.recipe.critic_rate

    def restore(self, state: dict[str, Any]) -> None:
        """See ``Loop.restore``."""
        super().restore(state)
        self.task.load_state_dict(state["task"])
        self.critic_optimizer.load_state_dict(state["critic optimizer"])

    def state(self) -> dict[str, Any]:
        """See ``Loop.state``; ``task`` holds every network of either side with its buffers."""
        task, critics = self.task.state_dict(), self.critic_optimizer.state_dict()
        return super().state() | {"task": task, "critic optimizer": critics}

    def learning_rate(self, highest: float | None = None) -> float:
        """See ``Loop.learning_rate``; then linearly to 0."""
        left = self.recipe.steps * (1 - self.recipe.decay_from)
        decline = min(1.0, (self.recipe.steps - self.step) / left) if left > 0 else 1.0
        return super().learning_rate(highest) * decline

    def step_once(self, batch: Batch) -> dict[str, float]:
        """One step of the critics and, every ``critic_steps``-th time, one of the generators; the terms of both.

        Raises StreamcolorError when a loss is not a number.
        """
        self._draw_anew()
        for optimizer, rate in ((self.optimizer, self.recipe.rate), (self.critic_optimizer, self._critic_rate)):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(rate)
        terms: dict[str, Tensor] = self.module(batch, self.rng, of_critics=True)
        self.descend(terms, self.critic_optimizer)
        if self.step % self.recipe.critic_steps == self.recipe.critic_steps - 1:
            self.task.critics.requires_grad_(False)
            try:
                generated: dict[str, Tensor] = self.module(batch, self.rng)
                self.descend(generated, self.optimizer)
            finally:
                self.task.critics.requires_grad_(True)
            with torch.no_grad():
                self.task.constrain()
            terms |= generated
        self.step += 1
        self._follow()
        return {name: term.item() for name, term in terms.items()}

    def _draw_anew(self) -> None:
        """Dropout draws from torch's own generator: its state is made a function of (seed, step, process)."""
        key = f"{self.recipe.seed} {self.step} {self.fabric.global_rank}"
        torch.manual_seed(zlib.crc32(key.encode()))


def initialize(network: nn.Module) -> None:
    """Weights from N(0, 0.02), those of batch normalization from N(1, 0.02), biases 0 (Isola et al. 2017, A.1).

    Call it before spectral normalization is put on.
    """
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
