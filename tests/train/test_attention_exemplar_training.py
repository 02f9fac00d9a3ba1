"""attention-exemplar learns in two stages, resumes exactly in either, and refuses what it cannot use."""

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
from torch import Tensor

from streamcolor.colorizers.attention_exemplar import AttentionExemplar
from streamcolor.colorizers.attention_exemplar.bins import soft_histogram
from streamcolor.colorizers.attention_exemplar.features import Features
from streamcolor.colorizers.lab import lab_to_rgb
from streamcolor.errors import CallError, InputError
from streamcolor.train.adversarial import AdversarialLoop
from streamcolor.train.attention_exemplar import (
    RECIPES,
    AttentionExemplarRecipe,
    AttentionExemplarTask,
    as_published,
    parts,
    train,
)
from streamcolor.train.exemplar_losses import histogram_loss, sparse_loss
from streamcolor.train.exemplars import Exemplar, ExemplarBatches
from streamcolor.train.loop import LoopRecipe
from streamcolor.train.vgg19 import Vgg19

MODEL = "attention-exemplar"


def picture(seed: int, size: int = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.random((4, 4, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for number in range(0, 20, 2):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def recipe(data: Path, output: Path, steps: int = 3, **changes: object) -> AttentionExemplarRecipe:
    loop = as_published(MODEL, LoopRecipe(output, steps=steps, save_every=2))
    small = {"batch": 2, "workers": 0, "size": 32, "short_side": 36, "width": 4, "discriminator_width": 4}
    return AttentionExemplarRecipe(MODEL, data, loop, **small | changes)  # type: ignore[arg-type]


def batch() -> dict[str, Tensor]:
    made = ExemplarBatches([Exemplar(str(n), (picture(n),)) for n in range(4)], 2, size=32, short_side=36)
    return made.sample(1)


def task(tmp_path: Path, *, alone: bool = False, **changes: object) -> AttentionExemplarTask:
    return AttentionExemplarTask(recipe(tmp_path, tmp_path, **changes), alone=alone)


def test_the_recipe_is_that_of_the_paper(tmp_path: Path) -> None:
    loop = as_published(MODEL, LoopRecipe(tmp_path))
    assert (loop.rate, loop.critic_rate, loop.betas, loop.schedule) == (2e-5, None, (0.5, 0.99), "constant")
    assert (loop.weight_decay, loop.clip, loop.average, loop.decay_from) == (0, math.inf, 0, 1)
    made = RECIPES[MODEL](MODEL, tmp_path, loop)
    weights = (made.perceptual_weight, made.adversarial_weight, made.sparse_weight, made.l1_weight)
    assert (*weights, made.histogram_weight) == (1000, 0.1, 1, 1000, 1)
    assert (made.batch, made.size, made.short_side, made.perceptual_layer) == (6, 256, 288, "relu5_1")
    critics = AttentionExemplarTask(replace(recipe(tmp_path, tmp_path), discriminator_width=64)).critics
    assert sum(p.numel() for p in critics.parameters()) == 2_765_633


def test_the_losses_are_those_of_the_paper(tmp_path: Path) -> None:
    """Equation 12, term by term."""
    torch.manual_seed(1)
    torch.save(Vgg19().state_dict(), tmp_path / "vgg19.pth")
    made, given = task(tmp_path, vgg19=tmp_path / "vgg19.pth"), batch()
    made.eval()
    terms = made.generator_terms(given, torch.Generator())
    lightness, truth = parts(given["target"])
    assert lightness.min() >= -0.5 and lightness.max() <= 0.5 and truth.abs().max() <= 1
    reference, colors = parts(given["reference"])
    bins = made.network.database.centers
    wanted = soft_histogram(colors * 110, bins)
    colored = made.network(lightness, reference, colors, wanted)
    rgb, true_rgb = (lab_to_rgb(torch.cat([lightness * 100 + 50, ab * 110], 1)) for ab in (colored.ab, truth))
    judged = made.critics(torch.cat([lightness, colored.ab], 1))
    expected = {
        "l1": 1000 * (colored.ab - truth).abs().mean(),
        "perceptual": 1000 * (made.vgg19(rgb) - made.vgg19(true_rgb)).square().mean(),
        "adversarial": 0.1 * 0.5 * (judged - 1).square().mean(),
        "sparse": sparse_loss(colored.gate),
        "histogram": histogram_loss(soft_histogram(colored.ab * 110, bins), wanted),
    }
    assert terms.keys() == expected.keys()
    for name, term in terms.items():
        torch.testing.assert_close(term, expected[name], msg=name)
    critic = made.critic_terms(given, torch.Generator())
    real = made.critics(given["target"] - torch.tensor([0.5, 0, 0])[:, None, None])
    torch.testing.assert_close(critic["critic"], 0.5 * judged.square().mean() + 0.5 * (real - 1).square().mean())
    sum(terms.values()).backward()
    learning = [name for name, p in made.network.named_parameters() if p.grad is not None and p.grad.any()]
    assert len(learning) == len(list(made.network.parameters()))
    assert all(p.grad is None for p in made.vgg19.parameters())


def test_the_first_stage_has_neither_references_nor_their_losses(tmp_path: Path) -> None:
    made, given = task(tmp_path, alone=True), batch()
    terms = made.generator_terms(given, torch.Generator())
    assert terms.keys() == {"l1", "adversarial"}
    sum(terms.values()).backward()
    moved = {name.split(".")[0] for name, p in made.network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"features", "decoder"}
    other = given | {"reference": given["reference"].flip(0)}
    assert torch.equal(made.made(given)[0], made.made(other)[0])
    together = task(tmp_path)
    assert not torch.equal(together.made(given)[0], together.made(other)[0])


def test_switches(tmp_path: Path) -> None:
    rng, given = torch.Generator(), batch()
    assert "sparse" in task(tmp_path).generator_terms(given, rng)
    for changes in ({"dcm": False}, {"sparse": False}):
        made = task(tmp_path, **changes)
        assert made.generator_terms(given, rng).keys() == {"l1", "adversarial", "histogram"}
        assert not made.network.variant.gate
    assert task(tmp_path, prior=False).network.database.prior is False
    np.save(tmp_path / "bins.npy", np.array([[0, 0], [40, 20], [-30, 10]]))
    made = task(tmp_path, bins=tmp_path / "bins.npy")
    assert made.made(given)[1].likelihood.shape == (2, 3, 4, 4)
    torch.save(Vgg19("relu3_1").state_dict(), tmp_path / "vgg19.pth")
    made = task(tmp_path, vgg19=tmp_path / "vgg19.pth", perceptual_layer="relu3_1")
    assert made.vgg19 is not None and made.vgg19(torch.rand(1, 3, 32, 32)).shape == (1, 256, 8, 8)
    features = {name.replace("b", "model", 1): torch.randn(v.shape) for name, v in Features(4).state_dict().items()}
    features["model1.0.weight"] = torch.randn(4, 4, 3, 3)
    torch.save(features, tmp_path / "zhang.pth")
    made = task(tmp_path, zhang=tmp_path / "zhang.pth")
    assert torch.equal(made.network.features.b1[0].weight, features["model1.0.weight"][:, :1])


def test_the_gate_learns_to_choose(tmp_path: Path) -> None:
    """The sparse loss alone makes the weights certain: its mean entropy falls."""
    loop = replace(recipe(tmp_path, tmp_path).loop, rate=1e-3)
    made = AttentionExemplarTask(
        replace(recipe(tmp_path, tmp_path), loop=loop, l1_weight=0.0, adversarial_weight=0.0, histogram_weight=0.0)
    )
    running, given = AdversarialLoop(made, loop), batch()
    losses = [running.step_once(given)["sparse"] for _ in range(20)]
    assert losses[0] < math.log(2) + 1e-6 and losses[-1] < 0.9 * losses[0]


def test_two_pictures_can_be_learned_by_heart(tmp_path: Path) -> None:
    loop = replace(recipe(tmp_path, tmp_path).loop, rate=2e-3)
    made = AttentionExemplarTask(replace(recipe(tmp_path, tmp_path), loop=loop))
    given = batch()
    grey = 1000 * parts(given["target"])[1].abs().mean().item()
    running = AdversarialLoop(made, loop)
    for _ in range(20):
        terms = running.step_once(given)
    assert terms["l1"] < 0.8 * grey


def test_a_short_run_writes_what_can_be_used(stills: Path, tmp_path: Path) -> None:
    output, seen = tmp_path / "run", []
    weights = train(recipe(stills, output), on_step=lambda step, means: seen.append((step, set(means))))
    assert seen == [(n, {"critic", "l1", "adversarial"}) for n in (1, 2, 3)] + [
        (n, {"critic", "l1", "adversarial", "sparse", "histogram"}) for n in (1, 2, 3)
    ]
    for folder in (output, output / "first-stage"):
        for name in ("average.safetensors", "best.safetensors", "last.pt", "card.yaml", "tensorboard"):
            assert (folder / name).exists()
    card = yaml.safe_load((output / "card.yaml").read_text())
    assert card["model"] == MODEL and card["data"] == {"train": 8, "validation": 2, "skipped": 1, "grey": 0}
    assert card["pretrained"] == {"vgg19": "none", "zhang": "none", "bins": "none", "first stage": "none"}
    made = AttentionExemplar(weights)
    chroma = made.color(torch.rand(1, 1, 40, 56) * 100, [])
    assert chroma.ab.shape == (2, 40, 56) and torch.isfinite(chroma.ab).all()


@pytest.mark.slow
def test_the_full_size_takes_a_step(stills: Path, tmp_path: Path) -> None:
    weights = train(recipe(stills, tmp_path, 1, width=64, discriminator_width=64))
    card = yaml.safe_load((tmp_path / "card.yaml").read_text())
    assert card["parameters"] == card["trainable"] == 30_240_265
    chroma = AttentionExemplar(weights).color(torch.rand(1, 1, 40, 56) * 100, [])
    assert torch.isfinite(chroma.ab).all()


def test_the_second_stage_goes_on_where_the_first_ended(stills: Path, tmp_path: Path) -> None:
    """Without a rate the second stage ends with the features and the decoder that it was given."""
    made = recipe(stills, tmp_path / "run", 2)

    def stop(step: int, means: dict[str, float]) -> None:
        if "sparse" in means:
            raise Stopped

    with pytest.raises(Stopped):
        train(made, on_step=stop)
    first = load_file(tmp_path / "run/first-stage/average.safetensors")
    still = replace(made, loop=replace(made.loop, rate=0.0, output=tmp_path / "still"))
    still = replace(still, first_stage=tmp_path / "run/first-stage/average.safetensors")
    second = load_file(train(still))
    assert not (tmp_path / "still/first-stage").exists()
    same = {name for name, value in second.items() if torch.equal(value, first[name])}
    for name in first:
        learned = name.startswith(("features.", "decoder.")) and name.endswith(("weight", "bias"))
        assert not learned or name in same, name
    card = yaml.safe_load((tmp_path / "still/card.yaml").read_text())
    assert len(card["pretrained"]["first stage"]) == 64
    save_file({"features.x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="does not hold the features of attention-exemplar"):
        train(replace(still, first_stage=tmp_path / "w.safetensors"))


class Stopped(Exception):
    pass


def test_epochs_bound_the_steps_of_either_stage(stills: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    train(recipe(stills, tmp_path, 100, epochs=1, batch=3), on_step=lambda step, _: seen.append(step))
    assert seen == [1, 2, 3, 1, 2, 3]


@torch.no_grad()
def test_validation_scores_the_truth_highest(tmp_path: Path) -> None:
    exemplars = [Exemplar(str(n), (picture(n), picture(n + 5))) for n in range(2)]
    made = AttentionExemplarTask(recipe(tmp_path, tmp_path), exemplars).eval()
    plain = made.validate(made.network).figures
    assert 0 < plain["entropy"] <= math.log(2) + 1e-6
    made.made = lambda batch: (parts(batch["target"])[1], None)  # type: ignore[method-assign]
    result = made.validate(made.network)
    assert result.figures["psnr"] > 25 > plain["psnr"] and result.figures["psnr of grey"] == plain["psnr of grey"]
    assert result.figures["colorfulness"] == pytest.approx(result.figures["colorfulness of the truth"], rel=0.05)
    (sheet,) = result.pictures.values()
    assert sheet.shape == (2 * 32, 4 * 32, 3)
    # The reference is the other frame of the shot, and the score is against it.
    made.made = lambda batch: (parts(batch["reference"])[1], None)  # type: ignore[method-assign]
    assert made.validate(made.network).figures["his"] > result.figures["his"]


def test_what_cannot_be_used_is_refused(stills: Path, tmp_path: Path) -> None:
    made = recipe(stills, tmp_path / "run", 1)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(made, resume=True)
    for changes in ({"size": 36}, {"size": 40}, {"size": 24}):
        with pytest.raises(CallError, match="multiple of 8 from 32 to the short side, 36"):
            train(replace(made, **changes))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no color pictures"):
        train(replace(made, data=tmp_path / "empty"))
    (tmp_path / "x.pth").write_bytes(b"nonsense")
    for name in ("vgg19", "zhang"):
        with pytest.raises(InputError, match=r"x\.pth is not a PyTorch checkpoint"):
            train(replace(made, **{name: tmp_path / "x.pth"}))
