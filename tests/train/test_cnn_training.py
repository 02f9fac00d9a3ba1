"""The convolutional networks learn, with and without classes, resume exactly and refuse what they cannot use."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors.torch import load_file

from streamcolor.colorizers.cnn import CnnClassifier, ResnetCnn
from streamcolor.colorizers.cnn.classifier import ClassifierNetwork
from streamcolor.colorizers.cnn.resnet import ResnetFront
from streamcolor.errors import CallError, InputError
from streamcolor.train.cnn import (
    CnnModel,
    CnnRecipe,
    CnnTask,
    as_published,
    as_signal,
    from_signal,
    train,
)
from streamcolor.train.labeled import Labeled, LabeledBatches
from streamcolor.train.loop import Loop, LoopRecipe

KINDS = {"resnet-cnn": ResnetCnn, "cnn-classifier": CnnClassifier}


def picture(seed: int, size: int = 48) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((4, 4, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    for number, name in enumerate(("bird", "tower")):
        (folder / name).mkdir()
        for n in range(6):
            Image.fromarray(picture(10 * number + n)).save(folder / name / f"{name}{n}x.png")
    return folder


def recipe(data: Path, output: Path, steps: int = 3, model: CnnModel = "cnn-classifier", **changes) -> CnnRecipe:
    loop = as_published(model, LoopRecipe(output, steps=steps, save_every=2))
    return CnnRecipe(model, data, loop, **({"batch": 4, "workers": 0, "size": 64, "width": 4} | changes))


def batch(count: int = 4, size: int = 64) -> dict[str, torch.Tensor]:
    pictures = [Labeled("", picture(n, size), picture(n, size), n % 2) for n in range(count)]
    return LabeledBatches(pictures, count, flip=False).sample(0)


def test_the_loop_is_that_of_the_paper(tmp_path: Path) -> None:
    loop = as_published("resnet-cnn", LoopRecipe(tmp_path, steps=50))
    assert (loop.rate, as_published("cnn-classifier", loop).rate) == (1e-4, 5e-5)
    assert (loop.betas, loop.weight_decay, loop.average, loop.clip) == ((0.9, 0.999), 0, 0, math.inf)
    running = Loop(CnnTask(recipe(tmp_path, tmp_path, model="resnet-cnn")), loop)
    rates = []
    for running.step in (0, 20, 49):
        rates.append(running.learning_rate())
    assert rates == [1e-4] * 3


def test_losses_are_those_of_the_paper(tmp_path: Path) -> None:
    given, rng = batch(), torch.Generator()
    film, truth = given["picture"][:, :1], as_signal(given["picture"][:, 1:])
    assert truth.min() > 18 / 255 - 1e-6 and truth.max() < 238 / 255 + 1e-6
    torch.testing.assert_close(from_signal(truth), given["picture"][:, 1:])
    for loss, error in (("l1", F.l1_loss), ("l2", F.mse_loss)):
        task = CnnTask(recipe(tmp_path, tmp_path, model="resnet-cnn", loss=loss))
        terms = task(given, rng)
        assert set(terms) == {loss}
        torch.testing.assert_close(terms[loss], error(task.network(film), truth))
    task = CnnTask(recipe(tmp_path, tmp_path), classes=3)
    terms = task(given, rng)
    colored, logits = task.network(film)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(terms["l1"], F.l1_loss(colored, truth))
    torch.testing.assert_close(terms["cross-entropy"], F.cross_entropy(logits, given["label"]) / 300)


def test_without_classes_there_is_one_that_teaches_nothing(tmp_path: Path) -> None:
    task = CnnTask(recipe(tmp_path, tmp_path))
    given = batch() | {"label": torch.zeros(4, dtype=torch.long)}
    running = Loop(task, replace(task.recipe.loop, rate=1e-2))
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    assert running.step_once(given)["cross-entropy"] == 0
    changed = {
        name.partition(".")[0] for name, value in task.network.state_dict().items() if (value != before[name]).any()
    }
    assert "classification" not in changed and {"low", "mid", "whole", "colorization"} <= changed


@pytest.mark.parametrize("model", KINDS)
def test_it_learns(model: CnnModel, tmp_path: Path) -> None:
    task = CnnTask(recipe(tmp_path, tmp_path, model=model, width=8), classes=2)
    running = Loop(task, replace(task.recipe.loop, rate=3e-3))
    given = batch()
    losses = [running.step_once(given) for _ in range(15)]
    for name in losses[0]:
        assert losses[-1][name] < 0.7 * losses[0][name], name


@pytest.mark.parametrize("model", KINDS)
def test_a_short_run_writes_what_can_be_used(model: CnnModel, classes: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "run", []
    weights = train(recipe(classes, output, 3, model), on_step=lambda step, means: seen.append((step, means)))
    assert [step for step, _ in seen] == [1, 2, 3] and seen[0][1]["l1"] > 0
    for name in ("average.safetensors", "best.safetensors", "last.pt", "card.yaml", "tensorboard"):
        assert (output / name).exists()
    card = yaml.safe_load((output / "card.yaml").read_text())
    labeled = model == "cnn-classifier"
    assert card["model"] == model and card["data"]["classes"] == (2 if labeled else 0)
    assert card["data"]["train"] == 10 and card["data"]["validation"] == 2
    assert card["pretrained"] == ({} if labeled else {"resnet18": "none"})
    chroma = KINDS[model](weights).color(torch.rand(1, 1, 40, 56) * 100, [])
    assert chroma.ab.shape == (2, 40, 56) and torch.isfinite(chroma.ab).all()
    assert ("cross-entropy" in seen[0][1]) is labeled


@torch.no_grad()
def test_validation_counts_the_classes_that_are_found(tmp_path: Path) -> None:
    pictures = [Labeled("", picture(n, 64), picture(n, 64), n % 2) for n in range(3)]
    task = CnnTask(recipe(tmp_path, tmp_path), 2, pictures)
    assert isinstance(task.network, ClassifierNetwork)
    task.network.eval()
    task.network.classification[2].weight.zero_()
    for number, share in ((0, 2 / 3), (1, 1 / 3)):
        task.network.classification[2].bias.copy_(F.one_hot(torch.tensor(number), 2))
        assert task.validate(task.network).figures["accuracy"] == pytest.approx(share)
    assert "accuracy" not in CnnTask(recipe(tmp_path, tmp_path), 0, pictures).validate(task.network.eval()).figures


def test_a_run_starts_from_a_resnet(classes: Path, tmp_path: Path) -> None:
    state = {n: torch.rand_like(v.float()) for n, v in ResnetFront(8).state_dict().items() if "tracked" not in n}
    torch.save(state | {"conv1.weight": torch.rand(8, 3, 7, 7)}, tmp_path / "resnet18.pth")
    made = recipe(classes, tmp_path / "run", 1, "resnet-cnn", width=8, resnet18=tmp_path / "resnet18.pth")
    train(replace(made, loop=replace(made.loop, rate=0.0)))
    weights = load_file(tmp_path / "run/average.safetensors")
    assert torch.equal(weights["encoder.layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    card = yaml.safe_load((tmp_path / "run/card.yaml").read_text())
    assert len(card["pretrained"]["resnet18"]) == 64


def test_switches(classes: Path, tmp_path: Path) -> None:
    deconv = recipe(classes, tmp_path / "d", 1, "resnet-cnn", decoder="deconv")
    assert "decoder.12.weight" in load_file(train(deconv))
    plain = load_file(train(recipe(classes, tmp_path / "n", 1, norm="none", labels=False)))
    assert "low.0.1.weight" not in plain and plain["classification.2.bias"].shape == (1,)


def test_what_cannot_be_used_is_refused(classes: Path, tmp_path: Path) -> None:
    made = recipe(classes, tmp_path / "run", 1)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(made, resume=True)
    with pytest.raises(CallError, match="cnn-classifier; take a multiple of 32"):
        train(replace(made, size=40))
    with pytest.raises(CallError, match="take a multiple of 32 from 64 on"):
        train(replace(made, size=32))
    with pytest.raises(CallError, match="resnet-cnn; take a multiple of 8"):
        train(replace(made, model="resnet-cnn", size=30))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no color pictures"):
        train(replace(made, data=tmp_path / "empty"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_the_full_size_takes_a_step(model: CnnModel, tmp_path: Path) -> None:
    task = CnnTask(CnnRecipe(model, tmp_path, as_published(model, LoopRecipe(tmp_path, steps=1))), classes=27)
    before = [p.detach().clone() for p in task.network.parameters()]
    terms = Loop(task, task.recipe.loop).step_once(batch(2, 224))
    assert all(math.isfinite(value) and value > 0 for value in terms.values())
    assert all((p != old).any() for p, old in zip(task.network.parameters(), before, strict=True))
