"""The cycle of AGIN learns, keeps rho in bounds, resumes exactly and refuses what it cannot use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from streamcolor.colorizers.agin import Agin
from streamcolor.colorizers.agin.network import AginNetwork
from streamcolor.errors import CallError, InputError
from streamcolor.train.adversarial import AdversarialLoop
from streamcolor.train.agin import AginRecipe, AginTask, as_published, bleeding, least_squares, told_apart, train
from streamcolor.train.loop import Batch, LoopRecipe
from streamcolor.train.paired import Pair
from streamcolor.train.unpaired import UnpairedBatches, jittered


def picture(seed: int, size: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.random((4, 4, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def singles(count: int) -> list[Pair]:
    return [Pair(str(n), picture(n), picture(n)) for n in range(count)]


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for number in range(0, 20, 2):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def recipe(data: Path, output: Path, steps: int = 3, **changes: object) -> AginRecipe:
    loop = as_published("agin", LoopRecipe(output, steps=steps, save_every=2))
    made = AginRecipe("agin", data, loop, workers=0, size=32, width=4, critic_width=2, global_scale=False)
    return replace(made, **changes)  # type: ignore[arg-type]


def batch(seed: int = 0) -> Batch:
    return UnpairedBatches(singles(3), 1, seed=seed).sample(0)


def test_the_loop_is_that_of_the_paper(tmp_path: Path) -> None:
    loop = as_published("agin", LoopRecipe(tmp_path, steps=200))
    running = AdversarialLoop(AginTask(recipe(tmp_path, tmp_path, loop=loop)), loop)
    for optimizer in (running.optimizer, running.critic_optimizer):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 0)
    rates = []
    for running.step in (0, 100, 150, 199):
        rates.append(running.learning_rate())
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 2e-6])
    defaults = AginRecipe("agin", tmp_path, loop)
    assert (defaults.batch, defaults.size, defaults.width, defaults.critic_width) == (1, 256, 64, 64)
    assert (defaults.adversarial, defaults.cycle, defaults.content, defaults.classes) == (1, 9, 9, 999)


@pytest.mark.parametrize("rate", [2e-4, 10.0])
def test_rho_stays_in_its_bounds(rate: float, tmp_path: Path) -> None:
    made = recipe(tmp_path, tmp_path)
    task = AginTask(made)
    if rate > 1:
        # Of everything else such a rate makes no numbers.
        for name, weight in task.generators.named_parameters():
            weight.requires_grad_(name.endswith(".rho"))
    loop = AdversarialLoop(task, replace(made.loop, rate=rate, critic_rate=2e-4))
    norms = [*task.network.norms(), *task.to_grey.norms()]
    assert len(norms) == 2 * (8 + 2)
    before = [norm.rho.detach().clone() for norm in norms]
    for number in range(4):
        loop.step_once(batch(number))
        for norm in norms:
            assert norm.rho.min() >= 0 and norm.rho.max() <= 1
    assert all(not torch.equal(norm.rho, rho) for norm, rho in zip(norms, before, strict=True))
    if rate == 10:
        # It was the clipping that held them.
        assert {0.0, 1.0} <= {value for norm in norms for value in norm.rho.flatten().tolist()}


def test_scores_are_drawn_to_their_labels() -> None:
    scores, classes = torch.rand(2, 1, 3, 3, requires_grad=True), torch.rand(2, 2, requires_grad=True)
    for label, sign in ((1, -1), (0, 1)):
        loss = least_squares([(scores, classes), (scores, None)], label)
        expected = 2 * (scores - label).square().mean() + (classes - label).square().mean()
        torch.testing.assert_close(loss, expected)
        gradients = torch.autograd.grad(loss, [scores, classes])
        assert all(bool((gradient.sign() == sign).all()) for gradient in gradients)
    inside, outside = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 3.0]])
    entropy = -(inside.sigmoid().log().mean() + (1 - outside.sigmoid()).log().mean())
    torch.testing.assert_close(told_apart(inside, outside), entropy)


def test_the_losses_of_the_generators(tmp_path: Path) -> None:
    """Equation 9 from its parts, by generators and critics whose answers are known."""
    made = recipe(tmp_path, tmp_path, global_scale=True, size=96)
    task = AginTask(made)
    assert [len(task.critics[domain]) for domain in ("color", "grey")] == [2, 2]

    class Known(nn.Module):
        """Adds an amount; is sure of being inside by its logit."""

        def __init__(self, amount: float) -> None:
            super().__init__()
            self.amount = amount

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            return picture + self.amount

        def explained(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            return picture + self.amount, torch.full((1, 2), 1.5), picture

    task.network, task.to_grey = Known(0.25), Known(0.5)  # type: ignore[assignment]
    task.judged = lambda domain, picture: [(picture.mean(), None)]  # type: ignore[method-assign]
    given = {"film": torch.full((1, 3, 8, 8), 0.5), "color": torch.full((1, 3, 8, 8), 0.75)}
    terms = task.generator_terms(given, torch.Generator())
    film = 2 * 0.9999 * 0.5 - 1
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "adversarial": (film + 0.25 - 1) ** 2 + (0.5 + 0.5 - 1) ** 2,
            "cycle": 9 * (0.75 + 0.75),
            "content": 9 * (0.25 + 0.5),
            "classes": 999 * 2 * (np.log1p(np.exp(-1.5)) + np.log1p(np.exp(1.5))),
        },
        rel=1e-5,
    )
    terms = task.critic_terms(given, torch.Generator())
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {
            "critics of color": (0.5 - 1) ** 2 + (film + 0.25) ** 2,
            "critics of grey": (film - 1) ** 2 + (0.5 + 0.5) ** 2,
        },
        rel=1e-5,
    )


def test_every_loss_reaches_its_networks(tmp_path: Path) -> None:
    task = AginTask(recipe(tmp_path, tmp_path))
    rng = torch.Generator()

    def reached(term: torch.Tensor) -> set[str]:
        task.zero_grad()
        term.backward(retain_graph=True)
        return {
            name
            for name, part in (("network", task.network), ("to_grey", task.to_grey), ("critics", task.critics))
            if any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
        }

    made, judged = task.generator_terms(batch(), rng), task.critic_terms(batch(), rng)
    assert reached(judged["critics of color"]) == reached(judged["critics of grey"]) == {"critics"}
    assert reached(made["adversarial"]) == {"network", "to_grey", "critics"}
    assert all(reached(made[name]) == {"network", "to_grey"} for name in ("cycle", "content", "classes"))
    task.zero_grad()
    made["classes"].backward()
    assert task.network.attention is not None and task.network.attention.gap_fc.weight.grad is not None
    # The classifiers look at the encoder, before the mixture and the decoder.
    assert all(p.grad is None for p in task.network.decoder.parameters())


def test_one_picture_can_be_kept_as_it_is(tmp_path: Path) -> None:
    """With the content loss alone it falls."""
    made = recipe(tmp_path, tmp_path, adversarial=0.0, cycle=0.0, classes=0.0)
    loop = AdversarialLoop(AginTask(made), replace(made.loop, rate=2e-3, steps=50))
    losses = [loop.step_once(batch())["content"] for _ in range(50)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize(
    ("switches", "without"),
    [({"cam": False}, {"classes"}), ({"norm": "gn"}, set()), ({"norm": "in"}, set()), ({"cam_pool": "gap+max"}, set())],
)
def test_switches(switches: dict[str, object], without: set[str], tmp_path: Path) -> None:
    task = AginTask(recipe(tmp_path, tmp_path, **switches))
    loop = AdversarialLoop(task, recipe(tmp_path, tmp_path).loop)
    terms = loop.step_once(batch())
    everything = {"critics of color", "critics of grey", "adversarial", "cycle", "content", "classes"}
    assert set(terms) == everything - without
    if "norm" in switches:
        rho = {value for norm in task.network.norms() for value in norm.rho.flatten().tolist()}
        assert rho == {1.0 if switches["norm"] == "gn" else 0.0}


def test_pictures_of_the_two_domains_are_unrelated() -> None:
    source = UnpairedBatches(singles(7), 2, seed=1)
    assert source.epoch == 4

    def seen(epoch: int, name: str) -> list[int]:
        """Which pictures were drawn, told by their nearest untouched neighbor in color."""
        means = np.stack([single.target.mean((0, 1)) for single in singles(7)])
        batches = [source.sample(number)[name] for number in range(4 * epoch, 4 * epoch + 4)]
        assert [len(drawn) for drawn in batches] == [2, 2, 2, 1]
        colors = torch.cat(batches).mean((2, 3)).numpy() * 255
        return [int(np.abs(means - color).sum(1).argmin()) for color in colors]

    orders = [seen(epoch, name) for epoch in (0, 1) for name in ("film", "color")]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    again = UnpairedBatches(singles(7), 2, seed=1).sample(5)
    assert all(torch.equal(value, again[name]) for name, value in source.sample(5).items())


def test_pictures_are_enlarged_cropped_and_mirrored() -> None:
    ramp = np.zeros((64, 64, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(64) * 3, np.arange(64)[:, None] * 3
    mirrored, lefts, tops = set(), set(), set()
    for seed in range(24):
        part = jittered(ramp, np.random.default_rng(seed)).astype(float)
        assert part.shape == (64, 64, 3)
        across, down = np.diff(part[32, :, 0]).mean(), np.diff(part[:, 32, 1]).mean()
        # Enlarged by 286 / 256: what was a slope of 3 is one of 2.69.
        assert (abs(across), down) == pytest.approx((3 * 64 / 72, 3 * 64 / 72), rel=0.03)
        mirrored.add(across < 0)
        lefts.add(round(part[32, :, 0].min()))
        tops.add(round(part[0, 32, 1]))
    assert mirrored == {True, False} and len(lefts) > 4 and len(tops) > 4


def test_a_short_run_writes_what_can_be_used(stills: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "run", []
    weights = train(recipe(stills, output), on_step=lambda step, means: seen.append((step, means)))
    assert [step for step, _ in seen] == [1, 2, 3] and seen[0][1]["cycle"] > 0
    for name in ("average.safetensors", "best.safetensors", "last.pt", "card.yaml", "tensorboard"):
        assert (output / name).exists()
    card = yaml.safe_load((output / "card.yaml").read_text())
    assert card["model"] == "agin" and card["parameters"] == sum(p.numel() for p in AginNetwork(4).parameters())
    assert card["data"] == {"train": 8, "validation": 2, "skipped": 1, "grey": 0}
    assert card["recipe"]["classes"] == 999 and card["pretrained"] == {}
    made = Agin(weights)
    chroma = made.color(torch.rand(1, 1, 40, 56) * 100, [])
    assert chroma.ab.shape == (2, 40, 56) and torch.isfinite(chroma.ab).all()


@torch.no_grad()
def test_validation_scores_the_truth_highest(tmp_path: Path) -> None:
    task = AginTask(recipe(tmp_path, tmp_path), singles(2))
    plain = task.validate(task.network.eval()).figures
    truths = iter([torch.from_numpy(single.target).permute(2, 0, 1)[None] / 127.5 - 1 for single in singles(2)])
    task.network.explained = lambda film: (next(truths), None, film[:, :1, ::4, ::4])  # type: ignore[method-assign]
    result = task.validate(task.network)
    assert result.figures["psnr"] > 50 > plain["psnr"]
    assert result.figures["colorfulness"] == pytest.approx(result.figures["colorfulness of the truth"])
    assert result.figures["bleeding"] == pytest.approx(result.figures["bleeding of the truth"])
    assert result.figures["rho"] == pytest.approx((8 * 16 * 0.1 + 8 + 4) / (8 * 16 + 8 + 4))
    (sheet,) = result.pictures.values()
    assert sheet.shape == (2 * 32, 4 * 32, 3)
    assert AginTask(recipe(tmp_path, tmp_path)).validate(task.network).figures == {}


def test_color_bleeds_where_there_is_no_edge_of_light() -> None:
    film = np.full((32, 32, 3), 128, np.uint8)
    bled = film.copy()
    bled[:, 16:] = (168, 110, 128)
    assert bleeding(film, film) == pytest.approx(0, abs=1e-5)
    assert bleeding(bled, film) > 0.5
    edge = film.copy()
    edge[:, 16:] = 200
    assert bleeding(bled, edge) == pytest.approx(0, abs=1e-5)


def test_what_cannot_be_used_is_refused(stills: Path, tmp_path: Path) -> None:
    made = recipe(stills, tmp_path / "run", 1)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(made, resume=True)
    with pytest.raises(CallError, match="30 pixels do not fit the networks; take a multiple of 4 from 24 on"):
        train(replace(made, size=30))
    with pytest.raises(CallError, match="92 pixels do not fit the networks; take a multiple of 4 from 96 on"):
        train(replace(made, size=92, global_scale=True))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no color pictures"):
        train(replace(made, data=tmp_path / "empty"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_full_size_takes_a_step(stills: Path, tmp_path: Path) -> None:
    loop = as_published("agin", LoopRecipe(tmp_path, steps=1))
    made = AginRecipe("agin", stills, loop, workers=0, size=96)
    task = AginTask(made)
    assert sum(p.numel() for p in task.parameters()) == 134_021_248
    given = {name: torch.rand(1, 3, 96, 96) for name in ("film", "color")}
    assert all(np.isfinite(value) for value in AdversarialLoop(task, loop).step_once(given).values())
