"""Generators against critics: two optimizers, their rates and turns, and a resume that is exact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.errors import StreamcolorError
from streamcolor.train.adversarial import (
    AdversarialLoop,
    AdversarialRecipe,
    AdversarialTask,
    adversarial,
    initialize,
)
from streamcolor.train.loop import Batch, LoopRecipe, Validation, seeded


class Toy(AdversarialTask):
    """A cycle of two generators with dropout, against a critic with batch normalization; weights of one are bounded."""

    def __init__(self) -> None:
        super().__init__()
        seeded(3)
        forth, back = (nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.Dropout(0.5)) for _ in range(2))
        self.generators = nn.ModuleList([forth, back])
        self.network: nn.Module = forth
        self.critics = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
        self.frozen = nn.Conv2d(3, 3, 1).requires_grad_(False)

    def generator_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        made = self.generators[1](self.generators[0](batch["grey"]))
        noisy = made + 0.01 * torch.rand(made.shape, generator=rng)
        return {"fooled": (self.critics(noisy) - 1).square().mean(), "l1": F.l1_loss(made, batch["color"])}

    def critic_terms(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            made = self.network(batch["grey"])
        return {"critic": self.critics(made).square().mean() + (self.critics(batch["color"]) - 1).square().mean()}

    def constrain(self) -> None:
        self.generators[0][0].bias.clamp_(0, 0.01)

    def validate(self, network: nn.Module) -> Validation:
        assert not network.training
        return Validation({"psnr": 1.0}, {"picture": np.zeros((8, 8, 3), np.uint8)})


class Batches:
    """Endless, from a step on."""

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def __iter__(self) -> Iterator[Batch]:
        step = self.start
        while True:
            rng = torch.Generator().manual_seed(step)
            yield {name: torch.rand(2, 3, 8, 8, generator=rng) for name in ("grey", "color")}
            step += 1


def loader(start: int = 0) -> torch.utils.data.DataLoader[Batch]:
    class Endless(torch.utils.data.IterableDataset[Batch]):
        def __iter__(self) -> Iterator[Batch]:
            return iter(Batches(start))

    return torch.utils.data.DataLoader(Endless(), None)


def recipe(output: Path, **changes: object) -> AdversarialRecipe:
    made = AdversarialRecipe(
        output, steps=6, rate=2e-3, warmup=1, schedule="constant", betas=(0.5, 0.999), weight_decay=0.0, clip=math.inf
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_each_optimizer_has_its_own_weights_rate_and_betas(tmp_path: Path) -> None:
    task = Toy()
    loop = AdversarialLoop(task, recipe(tmp_path, critic_rate=5e-4, critic_betas=(0.1, 0.9), critic_weight_decay=0.01))
    ours, theirs = loop.optimizer.param_groups[0], loop.critic_optimizer.param_groups[0]
    assert {id(p) for p in ours["params"]} == {id(p) for p in task.generators.parameters()}
    assert {id(p) for p in theirs["params"]} == {id(p) for p in task.critics.parameters()}
    loop.step_once(next(iter(Batches())))
    assert (ours["lr"], ours["betas"], ours["weight_decay"]) == (2e-3, (0.5, 0.999), 0.0)
    assert (theirs["lr"], theirs["betas"], theirs["weight_decay"]) == (5e-4, (0.1, 0.9), 0.01)
    plain = AdversarialLoop(Toy(), recipe(tmp_path)).critic_optimizer.param_groups[0]
    assert (plain["lr"], plain["betas"], plain["weight_decay"]) == (2e-3, (0.5, 0.999), 0.0)


def test_a_step_equals_one_of_two_plain_adams(tmp_path: Path) -> None:
    """By hand: critics first, then generators against the critics that have moved."""
    task, other = Toy(), Toy()
    loop = AdversarialLoop(task, recipe(tmp_path, critic_rate=1e-3))
    adam = torch.optim.Adam(other.generators.parameters(), 2e-3, betas=(0.5, 0.999))
    critic_adam = torch.optim.Adam(other.critics.parameters(), 1e-3, betas=(0.5, 0.999))
    rng = torch.Generator().manual_seed(0)
    for number, batch in zip(range(3), Batches(), strict=False):
        terms = loop.step_once(batch)
        loop.step = number
        loop._draw_anew()
        loop.step = number + 1
        critic_adam.zero_grad()
        of_critics = other.critic_terms(batch, rng)
        sum(of_critics.values()).backward()
        critic_adam.step()
        adam.zero_grad()
        of_generators = other.generator_terms(batch, rng)
        sum(of_generators.values()).backward()
        adam.step()
        with torch.no_grad():
            other.constrain()
        assert terms == {name: value.item() for name, value in (of_critics | of_generators).items()}
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, task.state_dict()[name], atol=1e-6, rtol=1e-5)


def test_generators_wait_while_critics_take_their_steps(tmp_path: Path) -> None:
    task = Toy()
    loop = AdversarialLoop(task, recipe(tmp_path, critic_steps=3))
    for number, batch in zip(range(6), Batches(), strict=False):
        generators, critics, frozen = (weights(part) for part in (task.generators, task.critics, task.frozen))
        terms = loop.step_once(batch)
        turn = number % 3 == 2
        assert changed(critics, task.critics) and not changed(frozen, task.frozen)
        assert bool(changed(generators, task.generators)) is turn
        assert set(terms) == ({"critic", "fooled", "l1"} if turn else {"critic"})
        assert all(p.requires_grad for p in task.critics.parameters())


def test_weights_with_bounds_stay_in_them(tmp_path: Path) -> None:
    task = Toy()
    loop = AdversarialLoop(task, recipe(tmp_path, rate=1.0))
    for _, batch in zip(range(3), Batches(), strict=False):
        loop.step_once(batch)
        bias = task.generators[0][0].bias
        assert bias.min() >= 0 and bias.max() <= 0.01


def test_rates_fall_linearly_to_nothing(tmp_path: Path) -> None:
    loop = AdversarialLoop(Toy(), recipe(tmp_path, steps=200, decay_from=0.5, critic_rate=1e-3))
    rates = []
    for loop.step in (0, 99, 100, 150, 199):
        rates.append((loop.learning_rate(), loop.learning_rate(1e-3)))
    shares = [1, 1, 1, 0.5, 0.01]
    assert rates == [pytest.approx((2e-3 * share, 1e-3 * share)) for share in shares]
    constant = AdversarialLoop(Toy(), recipe(tmp_path))
    constant.step = 5
    assert constant.learning_rate() == 2e-3


def test_the_folder_of_a_run(tmp_path: Path) -> None:
    seen = []
    loop = AdversarialLoop(Toy(), recipe(tmp_path, average=0.5))
    path = loop.train(loader(), lambda step, means: seen.append((step, set(means))))
    assert path == tmp_path / "average.safetensors"
    assert seen == [(step, {"critic", "fooled", "l1"}) for step in range(1, 7)]
    for name in ("last.pt", "best.safetensors", "average.safetensors", "tensorboard"):
        assert (tmp_path / name).exists()
    moved = {
        name for name, value in loop.task.network.state_dict().items() if not torch.equal(value, loop.average[name])
    }
    assert "0.weight" in moved


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("saved", "stop"), [(2, 3), (3, 5)])
def test_a_run_that_is_stopped_sees_the_same_losses(saved: int, stop: int, tmp_path: Path) -> None:
    """Dropout, buffers and noise included, with the generators' turn in the middle of the critics'."""
    made = recipe(tmp_path / "whole", critic_steps=2, average=0.9, decay_from=0.5, save_every=saved)

    def run(made: AdversarialRecipe, *, resume: bool, until: int | None = None) -> tuple[list[dict[str, float]], Toy]:
        task, losses = Toy(), list[dict[str, float]]()
        loop = AdversarialLoop(task, made)
        if resume:
            loop.resume()
        step_once = loop.step_once
        loop.step_once = lambda batch: losses.append(step_once(batch)) or losses[-1]  # type: ignore[func-returns-value,method-assign]

        def on_step(step: int, means: dict[str, float]) -> None:
            if step == until:
                raise Stopped

        loop.train(loader(loop.step), on_step)
        return losses, task

    whole, expected = run(made, resume=False)
    half = replace(made, output=tmp_path / "half")
    with pytest.raises(Stopped):
        run(half, resume=False, until=stop)
    torch.manual_seed(99)
    rest, task = run(half, resume=True)
    assert rest == whole[-len(rest) :] and len(rest) == 6 - saved
    assert not changed(weights(expected), task)
    for name in ("average.safetensors", "best.safetensors"):
        assert (tmp_path / "half" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("side", ["critic", "fooled"])
def test_a_loss_that_is_not_a_number_ends_the_run(side: str, tmp_path: Path) -> None:
    class Broken(Toy):
        def forward(self, batch: Batch, rng: torch.Generator, *, of_critics: bool = False) -> dict[str, Tensor]:
            terms = super().forward(batch, rng, of_critics=of_critics)
            return {name: term * math.nan if name == side else term for name, term in terms.items()}

    loop = AdversarialLoop(Broken(), recipe(tmp_path))
    with pytest.raises(StreamcolorError, match=f"the loss {side} is not a number at step 0"):
        loop.step_once(next(iter(Batches())))
    assert all(p.requires_grad for p in loop.task.critics.parameters())


def test_any_loop_gets_critics(tmp_path: Path) -> None:
    made = adversarial(LoopRecipe(tmp_path, steps=7, seed=3), rate=1e-4, critic_rate=1e-5)
    assert made == AdversarialRecipe(tmp_path, steps=7, seed=3, rate=1e-4, critic_rate=1e-5)
    assert adversarial(made, critic_steps=2) == replace(made, critic_steps=2)


def test_weights_are_drawn_as_in_pix2pix() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.ConvTranspose2d(64, 32, 3), nn.Linear(32, 99))
    initialize(network)
    for part, mean in zip(network, (0, 1, 0, 0), strict=True):
        assert part.weight.mean().item() == pytest.approx(mean, abs=0.01)
        assert part.weight.std().item() == pytest.approx(0.02, rel=0.3)
        assert not part.bias.any()
