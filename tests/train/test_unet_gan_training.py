"""The generators learn against their discriminator, start from other runs, resume exactly, refuse what does not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from streamcolor.colorizers.unet_gan import AttentionUnetGan, UnetGan
from streamcolor.colorizers.unet_gan.unet import UnetGanNetwork
from streamcolor.errors import CallError, InputError
from streamcolor.train.adversarial import AdversarialLoop
from streamcolor.train.labeled import Labeled, LabeledBatches
from streamcolor.train.loop import LoopRecipe
from streamcolor.train.unet_gan import (
    UnetGanModel,
    UnetGanRecipe,
    UnetGanTask,
    as_published,
    parts,
    take_weights,
    train,
)

KINDS = {"unet-gan": UnetGan, "attention-unet-gan": AttentionUnetGan}
LN2 = math.log(2)


def picture(seed: int, size: int = 48) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((4, 4, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for number in range(0, 20, 2):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
    return folder


def recipe(data: Path, output: Path, steps: int = 3, model: UnetGanModel = "unet-gan", **changes) -> UnetGanRecipe:
    loop = as_published(model, LoopRecipe(output, steps=steps, save_every=2))
    reduced = {"batch": 4, "workers": 0, "size": 64, "width": 4, "depth": 6, "discriminator_width": 4}
    return UnetGanRecipe(model, data, loop, **(reduced | changes))


def batch(count: int = 4, size: int = 64) -> dict[str, torch.Tensor]:
    pictures = [Labeled("", picture(n, size), picture(n, size)) for n in range(count)]
    return LabeledBatches(pictures, count, flip=False).sample(0)


def test_the_loop_is_that_of_the_tutorial(tmp_path: Path) -> None:
    for model, rate in (("unet-gan", 2e-4), ("attention-unet-gan", 2e-5)):
        loop = as_published(model, LoopRecipe(tmp_path, steps=50, seed=3))
        assert (loop.rate, loop.critic_rate, loop.seed) == (2e-4, rate, 3)
        assert (loop.betas, loop.weight_decay, loop.average, loop.clip) == ((0.5, 0.999), 0, 0, math.inf)
        running = AdversarialLoop(UnetGanTask(recipe(tmp_path, tmp_path, model=model)), loop)
        for running.step in (0, 49):
            assert (running.learning_rate(), running.learning_rate(loop.critic_rate)) == (2e-4, rate)


@torch.no_grad()
def test_weights_start_as_in_pix2pix(tmp_path: Path) -> None:
    task = UnetGanTask(recipe(tmp_path, tmp_path, width=16, discriminator_width=16))
    for network in (task.network, task.critics):
        kernels = torch.cat([p.flatten() for name, p in network.named_parameters() if p.ndim == 4])
        scales = torch.cat([m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
        assert kernels.mean().abs() < 1e-3 and kernels.std() == pytest.approx(0.02, rel=0.02)
        assert scales.mean() == pytest.approx(1, abs=0.01) and scales.std() == pytest.approx(0.02, rel=0.3)
        assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


def test_losses_are_those_of_equations_6_to_8(tmp_path: Path) -> None:
    task, given, rng = UnetGanTask(recipe(tmp_path, tmp_path)).eval(), batch(), torch.Generator()
    film, truth = parts(given)
    assert film.shape == (4, 1, 64, 64) and truth.shape == (4, 2, 64, 64)
    torch.testing.assert_close(film, 2 * given["picture"][:, :1] - 1)
    made = task.network(film)
    real, fake = (task.critics(torch.cat([film, chroma], 1)) for chroma in (truth, made))
    critics, generators = task.critic_terms(given, rng), task.generator_terms(given, rng)
    torch.testing.assert_close(critics["true"], -0.5 * torch.sigmoid(real).log().mean())
    torch.testing.assert_close(critics["made"], -0.5 * (1 - torch.sigmoid(fake)).log().mean())
    torch.testing.assert_close(generators["adversarial"], -torch.sigmoid(fake).log().mean())
    torch.testing.assert_close(generators["l1"], 100 * (made - truth).abs().mean())
    assert set(critics) == {"true", "made"} and set(generators) == {"adversarial", "l1"}
    light = UnetGanTask(recipe(tmp_path, tmp_path, l1_weight=1.0)).eval()
    torch.testing.assert_close(light.generator_terms(given, rng)["l1"], generators["l1"] / 100)
    # A discriminator that cannot tell: ln 2 in all, as when it is fooled.
    nn.init.zeros_(task.critics.layers[-1].weight)
    assert sum(task.critic_terms(given, rng).values()).item() == pytest.approx(LN2)


def test_either_side_pulls_its_way(tmp_path: Path) -> None:
    task, given, rng = UnetGanTask(recipe(tmp_path, tmp_path)), batch(), torch.Generator()
    bias = task.critics.layers[-1].bias
    slopes = {}
    for name in ("true", "made", "adversarial"):
        terms = task.generator_terms if name == "adversarial" else task.critic_terms
        slopes[name] = torch.autograd.grad(terms(given, rng)[name], bias)[0].item()
    assert slopes["made"] > 0 > slopes["true"] and slopes["adversarial"] < 0
    task.zero_grad(set_to_none=True)
    sum(task.critic_terms(given, rng).values()).backward()
    assert all(p.grad is None for p in task.network.parameters())
    assert all(p.grad is not None for p in task.critics.parameters())


def test_the_discriminator_judges_chroma_by_its_film(tmp_path: Path) -> None:
    task, given = UnetGanTask(recipe(tmp_path, tmp_path)).eval(), batch()
    film, truth = parts(given)
    right, wrong = (task.critics(torch.cat([one, truth], 1)) for one in (film, film.flip(0)))
    assert right.shape == (4, 1, 6, 6) and not torch.equal(right, wrong)


@pytest.mark.parametrize("model", KINDS)
def test_it_learns(model: UnetGanModel, tmp_path: Path) -> None:
    task = UnetGanTask(recipe(tmp_path, tmp_path, model=model, width=8))
    running = AdversarialLoop(task, replace(task.recipe.loop, rate=5e-3, critic_rate=5e-3))
    given = batch()
    losses = [running.step_once(given) for _ in range(15)]
    assert losses[-1]["l1"] < 0.9 * losses[0]["l1"]
    assert losses[-1]["true"] + losses[-1]["made"] < losses[0]["true"] + losses[0]["made"]


@pytest.mark.parametrize("model", KINDS)
def test_a_short_run_writes_what_can_be_used_and_started_from(
    model: UnetGanModel, stills: Path, tmp_path: Path
) -> None:
    output, seen = tmp_path / "run", []
    made = recipe(stills, output, 3, model)
    weights = train(made, on_step=lambda step, means: seen.append((step, means)))
    assert [step for step, _ in seen] == [1, 2, 3]
    assert set(seen[0][1]) == {"true", "made", "adversarial", "l1"}
    for name in ("average.safetensors", "best.safetensors", "last.pt", "card.yaml", "tensorboard"):
        assert (output / name).exists()
    card = yaml.safe_load((output / "card.yaml").read_text())
    assert card["model"] == model and card["pretrained"] == {"generator": "none"}
    assert card["data"] == {"train": 8, "validation": 2, "skipped": 0, "grey": 0, "classes": 0}
    chroma = KINDS[model](weights).color(torch.rand(1, 1, 40, 56) * 100, [])
    assert chroma.ab.shape == (2, 40, 56) and torch.isfinite(chroma.ab).all()
    # Without learning, a run that starts from another ends with its weights.
    again = recipe(stills, tmp_path / "again", 1, model, pretrain=weights)
    tuned = load_file(train(replace(again, loop=replace(again.loop, rate=0.0))))
    before = load_file(weights)
    for name in (n for n in before if n.endswith("weight")):
        assert torch.equal(tuned[name], before[name]), name
    assert len(yaml.safe_load((tmp_path / "again/card.yaml").read_text())["pretrained"]["generator"]) == 64


def test_weights_to_start_from_must_all_be_there(stills: Path, tmp_path: Path) -> None:
    network, file = UnetGanNetwork(4, 6), tmp_path / "w.safetensors"
    save_file(network.state_dict(), file)
    other = UnetGanNetwork(4, 6)
    take_weights(other, file, "unet-gan")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())
    assert other.training and all(p.requires_grad for p in other.parameters())
    save_file({name: value for name, value in network.state_dict().items() if name != "up.1.bias"}, file)
    with pytest.raises(InputError, match=r"the weights of unet-gan: 1 do not fit, up.1.bias"):
        train(recipe(stills, tmp_path / "run", 1, pretrain=file))


def test_a_rate_for_the_discriminator(stills: Path, tmp_path: Path) -> None:
    """0: it stays what it was, but for its batch statistics."""
    made = recipe(stills, tmp_path / "run", 2, discriminator_rate=0.0)
    before = UnetGanTask(made).critics.state_dict()
    train(made)
    after = torch.load(tmp_path / "run/last.pt", weights_only=True)["task"]
    for name, value in before.items():
        if name.endswith(("weight", "bias")):
            assert torch.equal(after[f"critics.{name}"], value), name


@torch.no_grad()
def test_validation_scores_the_generator(tmp_path: Path) -> None:
    pictures = [Labeled("", picture(n, 64), picture(n, 64)) for n in range(2)]
    task = UnetGanTask(recipe(tmp_path, tmp_path), pictures)

    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(()))

        def forward(self, film: torch.Tensor) -> torch.Tensor:
            assert -1 <= film.min() < 0 < film.max() <= 1
            return self.scale * film.expand(-1, 2, -1, -1)

    figures = task.validate(Grey()).figures
    assert figures["psnr"] == figures["psnr of grey"] and figures["colorfulness"] < 1


def test_what_cannot_be_used_is_refused(stills: Path, tmp_path: Path) -> None:
    made = recipe(stills, tmp_path / "run", 1)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(made, resume=True)
    with pytest.raises(CallError, match="unet-gan; take a multiple of 256"):
        train(replace(made, depth=8))
    with pytest.raises(CallError, match="attention-unet-gan; take a multiple of 16"):
        train(replace(made, model="attention-unet-gan", size=40))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no color pictures"):
        train(replace(made, data=tmp_path / "empty"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_the_full_size_takes_a_step(model: UnetGanModel, tmp_path: Path) -> None:
    task = UnetGanTask(UnetGanRecipe(model, tmp_path, as_published(model, LoopRecipe(tmp_path, steps=1))))
    before = [p.detach().clone() for p in task.parameters()]
    given = batch(2, 256)
    terms = AdversarialLoop(task, task.recipe.loop).step_once(given)
    assert all(math.isfinite(value) and value > 0 for value in terms.values())
    assert all((p != old).any() for p, old in zip(task.parameters(), before, strict=True))
    with torch.no_grad():
        assert task.critics(torch.cat(parts(given), 1)).shape == (2, 1, 30, 30)
