"""The stable family learns, resumes exactly, keeps its encoder frozen and refuses what it cannot use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from streamcolor.colorizers.registry import create
from streamcolor.colorizers.stable.network import AutoencoderNetwork, StableColorizerNetwork, UnetBasicNetwork
from streamcolor.errors import CallError, InputError
from streamcolor.evaluation.metrics import psnr
from streamcolor.train.loop import Loop, LoopRecipe
from streamcolor.train.paired import Pair, PairBatches, as_lab
from streamcolor.train.stable import StableModel, StableRecipe, StableTask, as_published, build, film_of, train


def picture(seed: int, size: int = 48) -> np.ndarray:
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


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    file = tmp_path_factory.mktemp("autoencoder") / "a.safetensors"
    save_file(AutoencoderNetwork().state_dict(), file)
    return file


def recipe(
    data: Path, output: Path, steps: int = 3, model: StableModel = "stable-colorizer", **changes
) -> StableRecipe:
    loop = as_published(model, LoopRecipe(output, steps=steps, save_every=2))
    return StableRecipe(model, data, loop, batch=4, workers=0, size=32, **changes)


def test_the_loop_is_that_of_the_paper(tmp_path: Path) -> None:
    loop = as_published("stable-colorizer", LoopRecipe(tmp_path, steps=50))
    assert (loop.rate, as_published("autoencoder", loop).rate, loop.betas) == (1e-2, 1e-3, (0.9, 0.999))
    task = StableTask(StableRecipe("unet-basic", tmp_path, loop))
    running = Loop(task, loop)
    assert running.learning_rate() == 1e-2
    running.step = 49
    assert running.learning_rate() == 1e-2
    # AdamW without decay and clipping is Adam with its defaults.
    batch = {"target": torch.rand(2, 3, 32, 32), "reference": torch.rand(2, 3, 32, 32)}
    ours = {name: value.clone() for name, value in task.network.state_dict().items()}
    other = UnetBasicNetwork()
    other.load_state_dict(ours)
    adam = torch.optim.Adam(other.parameters(), 1e-2)
    for _ in range(3):
        running.step_once(batch)
        adam.zero_grad()
        torch.nn.functional.mse_loss(other(film_of(batch["target"], "rgb")), batch["target"]).backward()
        adam.step()
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, task.network.state_dict()[name], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(value, running.average[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("size", "steps"), [(64, 70), pytest.param(128, 120, marks=pytest.mark.slow)])
def test_four_pictures_can_be_learned_by_heart(size: int, steps: int, tmp_path: Path) -> None:
    """Below the error of grey, and the lower the more the reference tells."""
    pairs = [Pair("", picture(n, size), picture(n, size)) for n in range(4)]
    batch = PairBatches(pairs, 4).of(range(4))
    batch["reference"] = batch["reference"].flip(0)
    grey = torch.nn.functional.mse_loss(film_of(batch["target"], "rgb"), batch["target"]).item()
    losses = {}
    for name, model, reference in (("basic", "unet-basic", "pair"), ("cheat", "stable-colorizer", "cheat")):
        loop = as_published(model, LoopRecipe(tmp_path / name, steps=steps))
        task = StableTask(StableRecipe(model, tmp_path, loop, reference=reference))
        running = Loop(task, loop)
        frozen = {n: v.clone() for n, v in task.network.state_dict().items() if n.startswith("reference_encoder")}
        for _ in range(steps):
            losses[name] = running.step_once(batch)["mse"]
        assert all(torch.equal(value, task.network.state_dict()[n]) for n, value in frozen.items())
    assert losses["basic"] < 0.9 * grey and losses["cheat"] < 0.6 * losses["basic"]


@pytest.mark.parametrize("model", ["autoencoder", "unet-basic", "stable-colorizer"])
def test_a_short_run_writes_what_can_be_used(
    model: StableModel, stills: Path, tmp_path: Path, autoencoder: Path
) -> None:
    output, seen = tmp_path / "run", []
    made = recipe(stills, output, 3, model, autoencoder=autoencoder if model == "stable-colorizer" else None)
    weights = train(made, on_step=lambda step, means: seen.append((step, means)))
    assert [step for step, _ in seen] == [1, 2, 3] and seen[0][1]["mse"] > 0
    for name in ("average.safetensors", "best.safetensors", "last.pt", "card.yaml", "tensorboard"):
        assert (output / name).exists()
    card = yaml.safe_load((output / "card.yaml").read_text())
    sizes = {"autoencoder": 131_721, "unet-basic": 177_132, "stable-colorizer": 309_452}
    assert card["model"] == model and card["parameters"] == sizes[model]
    assert card["data"] == {"train": 8, "validation": 2, "skipped": 1, "grey": 0}
    if model == "autoencoder":
        return
    made = create(model, weights=weights)
    chroma = made.color(torch.rand(1, 1, 40, 56) * 100, [])
    assert chroma.ab.shape == (2, 40, 56) and torch.isfinite(chroma.ab).all()
    if model == "stable-colorizer":
        assert len(card["pretrained"]["autoencoder"]) == 64 and card["trainable"] == 243_500
        taken = load_file(weights)
        for name, value in load_file(autoencoder).items():
            if name.startswith("encoder."):
                assert torch.equal(taken[f"reference_{name}"], value), name


def test_without_an_autoencoder_one_is_trained_first(stills: Path, tmp_path: Path) -> None:
    weights = train(recipe(stills, tmp_path / "run", 2))
    first = load_file(tmp_path / "run/autoencoder/average.safetensors")
    assert torch.equal(load_file(weights)["reference_encoder.d4.0.weight"], first["encoder.d4.0.weight"])
    train(recipe(stills, tmp_path / "random", 1, allow_random_encoder=True))
    assert not (tmp_path / "random/autoencoder").exists()
    card = yaml.safe_load((tmp_path / "random/card.yaml").read_text())
    assert card["pretrained"] == {"autoencoder": "none"}


def test_epochs_bound_the_steps(stills: Path, tmp_path: Path) -> None:
    seen = []
    train(recipe(stills, tmp_path, 100, "unet-basic", epochs=2), on_step=lambda step, _: seen.append(step))
    assert seen == [1, 2, 3, 4]


def test_switches(tmp_path: Path) -> None:
    def task(**changes: object) -> StableTask:
        made = recipe(tmp_path, tmp_path, **changes)  # type: ignore[arg-type]
        return StableTask(made)

    batch = {"target": torch.rand(2, 3, 32, 32), "reference": torch.rand(2, 3, 32, 32)}
    other = batch | {"reference": torch.rand(2, 3, 32, 32)}
    rng = torch.Generator()
    for reference, listens in (("pair", True), ("cheat", False), ("none", False)):
        made = task(reference=reference)
        first, second = (made(given, rng)["mse"] for given in (batch, other))
        assert bool(first != second) is listens
    colored, truth = task(loss="mae").colored(task().network, batch)
    mae = task(loss="mae")
    assert set(mae(batch, rng)) == {"mae"} and colored.shape == truth.shape
    assert isinstance(task(attention=False).network, UnetBasicNetwork)
    assert isinstance(build(recipe(tmp_path, tmp_path)), StableColorizerNetwork)


@pytest.mark.parametrize("model", ["autoencoder", "unet-basic", "stable-colorizer"])
def test_lab_in_the_place_of_rgb(model: StableModel, stills: Path, tmp_path: Path) -> None:
    pair = Pair("", picture(1, 32), picture(2, 32))
    batch = PairBatches([pair], 1, as_lab).of([0])
    task = StableTask(recipe(stills, tmp_path, 1, model, space="lab"))
    colored, truth = task.colored(task.network, batch)
    assert colored.shape == truth.shape == (1, 3 if model == "autoencoder" else 2, 32, 32)
    if model != "autoencoder":
        torch.testing.assert_close(truth, batch["target"][:, 1:])
        weights = train(recipe(stills, tmp_path / "run", 1, model, space="lab", allow_random_encoder=True))
        assert create(model, weights=weights).color(torch.rand(1, 1, 32, 32) * 100, []).ab.abs().max() <= 110


def test_the_grey_of_the_film_is_that_of_the_paper() -> None:
    grey = film_of(torch.rand(2, 3, 8, 8), "rgb")
    assert grey.shape == (2, 3, 8, 8) and torch.equal(grey[:, 0], grey[:, 1])
    values = film_of(torch.eye(3)[:, :, None, None], "rgb")[:, 0, 0, 0]
    torch.testing.assert_close(values, torch.tensor([0.2989, 0.587, 0.114]))


@torch.no_grad()
@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_validation_scores_the_truth_highest(space: str, tmp_path: Path) -> None:
    """A network that returns the truth scores as high as can be, and its colors are those of the truth."""
    pairs = [Pair("", picture(1, 32), picture(2, 32)), Pair("", picture(3, 32), picture(4, 32))]
    task = StableTask(recipe(tmp_path, tmp_path, 1, "unet-basic", space=space), pairs)
    plain = task.validate(task.network.eval()).figures
    task.colored = lambda network, batch: (batch["target"][:, -2:] if space == "lab" else batch["target"],) * 2  # type: ignore[method-assign]
    result = task.validate(task.network)
    assert result.figures["mse"] == 0 < plain["mse"]
    assert result.figures["psnr"] > 25 > plain["psnr"]
    assert result.figures["colorfulness"] == pytest.approx(result.figures["colorfulness of the truth"], rel=0.03)
    greys = [np.asarray(Image.fromarray(pair.target).convert("L").convert("RGB")) for pair in pairs]
    expected = np.mean([psnr(grey, pair.target) for grey, pair in zip(greys, pairs, strict=True)])
    assert result.figures["psnr of grey"] == pytest.approx(expected, abs=0.05)
    (sheet,) = result.pictures.values()
    assert sheet.shape == (2 * 32, 4 * 32, 3)


def test_what_cannot_be_used_is_refused(stills: Path, tmp_path: Path) -> None:
    made = recipe(stills, tmp_path / "run", 1, allow_random_encoder=True)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(made, resume=True)
    with pytest.raises(CallError, match="multiple of 16"):
        train(replace(made, size=40))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no color pictures"):
        train(replace(made, data=tmp_path / "empty"))
    wrong = tmp_path / "wrong.safetensors"
    save_file({"encoder.x": torch.zeros(1)}, wrong)
    with pytest.raises(InputError, match="does not hold the encoder"):
        train(replace(made, autoencoder=wrong, allow_random_encoder=False))
    with pytest.raises(InputError, match="does not hold the weights of autoencoder"):
        train(replace(made, autoencoder=tmp_path / "none.safetensors", allow_random_encoder=False))
