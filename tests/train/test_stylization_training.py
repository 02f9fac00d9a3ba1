"""Stylization learns in two stages, starts from weights of others, resumes exactly and refuses what it cannot use."""

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

from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.colorization import ColorizationNetwork, hint_loss
from streamcolor.colorizers.stylization.network import StylizationNetwork
from streamcolor.colorizers.stylization.transfer import TransferNetwork
from streamcolor.errors import CallError, InputError
from streamcolor.train.hints import Crops, HintCrops
from streamcolor.train.loop import Loop, LoopRecipe
from streamcolor.train.paired import Pair, as_lab, as_rgb
from streamcolor.train.reconstruction import TransferTask
from streamcolor.train.stylization import (
    ColorizationTask,
    FallingLoop,
    StylizationRecipe,
    as_published,
    dropping,
    halving,
    train,
)
from streamcolor.train.vgg19 import PLACES

WIDTH = 4


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def picture(seed: int, size: int = 48) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((4, 4, 3), np.float32) * 255
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    for number in range(0, 12, 2):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torchvision's names at a small width, with layers beyond those that are taken."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("vgg19") / "vgg19.pth"
    encoder = TransferNetwork(WIDTH).encoder
    state = {f"features.{PLACES[name]}.{kind}": value for name in encoder for kind, value in layer(encoder[name])}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, file)
    return file


def layer(module: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [(kind, value.detach().clone()) for kind, value in module.named_parameters()]


def recipe(data: Path, output: Path, steps: int = 3, **changes: object) -> StylizationRecipe:
    loop = as_published("stylization", LoopRecipe(output, steps=steps, save_every=2))
    small = {"batch": 4, "transfer_batch": 4, "workers": 0, "size": 32, "crop": 24, "width": WIDTH}
    return StylizationRecipe("stylization", data, loop, **(small | changes))  # type: ignore[arg-type]


def test_the_schedules_are_those_of_the_paper(tmp_path: Path) -> None:
    """At 20 epochs: the decoder's rate halves every 5, the other's drops to a tenth after 10, hints end after 15."""
    made = StylizationRecipe("stylization", tmp_path, as_published("stylization", LoopRecipe(tmp_path, steps=40)))
    assert (made.epochs, made.transfer_epochs, made.empty, made.hint_weight) == (20, 20, 0.25, 10)
    assert (made.reconstruction, made.perceptual, made.transfer_rate, made.loop.rate) == (0.8, 0.2, 1e-4, 1e-4)
    assert [halving(step / 40) for step in (0, 9, 10, 19, 20, 30, 39)] == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.125]
    assert [dropping(step / 40) for step in (0, 19, 20, 39)] == [1, 1, 0.1, 0.1]
    small = replace(made, width=WIDTH)
    loop = FallingLoop(ColorizationTask(small), small.loop, dropping)
    rates = []
    for loop.step in (0, 19, 20, 39):
        rates.append(loop.learning_rate())
    assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])


def test_crops_are_a_function_of_seed_and_number() -> None:
    pictures = [picture(n, 40) for n in range(5)]
    one, other = (HintCrops(pictures, 2, 24, sparsest=0.001, densest=0.5, seed=4) for _ in range(2))
    for number in (0, 1, 2, 7):
        first, second = one.sample(number), other.sample(number)
        assert torch.equal(first["lab"], second["lab"]) and torch.equal(first["mask"], second["mask"])
    assert one.epoch == 3 and len(one.sample(2)["lab"]) == 1
    assert not torch.equal(one.sample(0)["lab"], one.sample(3)["lab"])
    batch = Crops(pictures, 5, 40).sample(0)["picture"]
    assert sorted(batch.mean((1, 2, 3)).tolist()) == pytest.approx(
        sorted(as_rgb(p).mean().item() for p in pictures), abs=1e-6
    )


def test_hints_are_as_dense_as_the_recipe_says_and_end() -> None:
    crops = HintCrops([picture(n, 64) for n in range(4)], 4, 64, sparsest=0.001, densest=0.5, empty_from=60)
    shares = torch.cat([crops.sample(number)["mask"].mean((1, 2, 3)) for number in range(60)])
    assert 0 < shares.min() < 0.004 and 0.3 < shares.max() < 0.52
    # Evenly on a logarithmic scale: the median is the geometric mean of the ends.
    assert math.sqrt(0.001 * 0.5) / 2 < shares.median() < math.sqrt(0.001 * 0.5) * 2
    assert crops.sample(60)["mask"].sum() == 0 and crops.sample(99)["mask"].sum() == 0
    two = HintCrops([picture(0, 64)], 1, 64, sparsest=0.5, densest=0.5, empty_from=3, world=2)
    assert two.sample(5)["mask"].sum() > 0 and two.sample(6)["mask"].sum() == 0


def test_the_decoder_learns_and_a_pretrained_encoder_gets_no_gradient(tmp_path: Path, vgg19: Path) -> None:
    batch = {"picture": torch.stack([as_rgb(picture(n, 32)) for n in range(4)])}
    for weights in (vgg19, None):
        torch.manual_seed(1)
        task = TransferTask(WIDTH, vgg19=weights)
        before = {name: value.clone() for name, value in task.network.state_dict().items()}
        loop = Loop(
            task, replace(as_published("stylization", LoopRecipe(tmp_path / f"{weights is None}", steps=40)), rate=1e-2)
        )
        losses = [loop.step_once(batch) for _ in range(30)]
        assert set(losses[0]) == ({"reconstruction", "perceptual"} if weights else {"reconstruction"})
        assert losses[-1]["reconstruction"] < 0.5 * losses[0]["reconstruction"]
        moved = {n.partition(".")[0] for n, v in task.network.state_dict().items() if not torch.equal(v, before[n])}
        assert moved == ({"decoder"} if weights else {"encoder", "decoder"})
        gradients = [p.grad is not None for p in task.network.encoder.parameters()]
        assert not any(gradients) if weights else all(gradients)


def test_the_losses_of_the_decoder_are_the_written_ones(vgg19: Path) -> None:
    task = TransferTask(WIDTH, vgg19=vgg19)
    given = torch.rand(2, 3, 16, 16)
    made, network = task.network(given), task.network
    terms = task({"picture": given}, torch.Generator())
    assert terms["reconstruction"].item() == pytest.approx(0.8 * ((made - given) ** 2).mean().item(), rel=1e-5)
    squares = [
        ((a - b) ** 2).mean().item() for a, b in zip(network.features(made), network.features(given), strict=True)
    ]
    assert len(squares) == 4
    assert terms["perceptual"].item() == pytest.approx(0.2 * sum(squares), rel=1e-5)


def test_the_colorization_sub_net_learns_by_equation_2_alone(tmp_path: Path) -> None:
    made = recipe(tmp_path, tmp_path, 40)
    task = ColorizationTask(made)
    loop = Loop(task, replace(made.loop, rate=1e-2))
    crops = HintCrops([picture(n, 32) for n in range(4)], 4, 32, sparsest=0.1, densest=0.5)
    batch = crops.sample(0)
    colorization = task.network.colorization
    truth = batch["lab"][:, 1:]
    colors = colorization.train()(batch["lab"][:, :1] - 0.5, truth, batch["mask"])
    assert task(batch, torch.Generator())["huber"].item() == pytest.approx(
        hint_loss(colors, truth, batch["mask"], 10).item(), rel=1e-4
    )
    before = {name: value.clone() for name, value in task.network.transfer.state_dict().items()}
    losses = [loop.step_once(batch)["huber"] for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in task.network.transfer.state_dict().items())
    assert all(p.grad is None for p in task.network.transfer.parameters())


def test_a_short_run_writes_what_can_be_used(stills: Path, tmp_path: Path, vgg19: Path) -> None:
    output, seen = tmp_path / "run", []
    weights = train(recipe(stills, output, 3, vgg19=vgg19), on_step=lambda step, means: seen.append((step, set(means))))
    assert [step for step, _ in seen] == [1, 2, 3, 1, 2, 3]
    assert seen[0][1] == {"reconstruction", "perceptual"} and seen[-1][1] == {"huber"}
    for folder in (output, output / "transfer"):
        for name in ("average.safetensors", "best.safetensors", "last.pt", "card.yaml", "tensorboard"):
            assert (folder / name).exists()
    card = yaml.safe_load((output / "card.yaml").read_text())
    assert card["model"] == "stylization" and len(card["pretrained"]["vgg19"]) == 64
    assert card["pretrained"]["zhang"] == "none"
    assert card["trainable"] == sum(p.numel() for p in ColorizationNetwork(WIDTH).parameters()) < card["parameters"]
    assert card["data"] == {"train": 5, "validation": 1, "skipped": 1, "grey": 0}
    first, taken = load_file(output / "transfer/average.safetensors"), load_file(weights)
    assert all(torch.equal(taken[f"transfer.{name}"], value) for name, value in first.items())
    made = Stylization(weights)
    chroma = made.color(torch.rand(1, 1, 40, 56) * 100, [])
    assert chroma.ab.shape == (2, 40, 56) and torch.isfinite(chroma.ab).all()
    # The transfer sub-net of a run, or of a whole network, is taken and not trained again.
    for file in (output / "transfer/average.safetensors", weights):
        again = tmp_path / f"again-{file.parent.name}"
        reused = load_file(train(recipe(stills, again, 1, transfer=file)))
        assert not (again / "transfer").exists()
        assert torch.equal(reused["transfer.decoder.d1_1.bias"], first["decoder.d1_1.bias"])


@pytest.mark.parametrize(("empty", "steps", "seen"), [(0.0, 2, True), (0.5, 2, True), (1.0, 2, False)])
def test_the_last_steps_have_no_hints(empty: float, steps: int, seen: bool, stills: Path, tmp_path: Path) -> None:
    """Where nothing is known, the weights that see colors and mask get no gradient."""
    made = recipe(stills, tmp_path, steps, empty=empty, sparsest=0.5)
    start = ColorizationTask(made).network.state_dict()["colorization.model1.0.weight"].clone()
    trained = load_file(train(made))["colorization.model1.0.weight"]
    assert not torch.equal(trained[:, :1], start[:, :1])
    assert (not torch.equal(trained[:, 1:], start[:, 1:])) is seen


def test_epochs_bound_the_steps_of_either_stage(stills: Path, tmp_path: Path) -> None:
    seen = []
    made = recipe(stills, tmp_path, 10**9, epochs=1, transfer_epochs=2)
    train(made, on_step=lambda step, _: seen.append(step))
    # Five pairs are ten pictures: three batches of four.
    assert seen == [1, 2, 3, 4, 5, 6, 1, 2, 3]


@torch.no_grad()
def test_validation_scores_the_truth_highest(tmp_path: Path) -> None:
    pairs = [Pair("", picture(1, 32), picture(2, 32)), Pair("", picture(3, 32), picture(4, 32))]
    task = ColorizationTask(recipe(tmp_path, tmp_path, 1), pairs)
    network = task.network.eval()
    plain = task.validate(network).figures
    truths = iter([as_lab(pair.target)[None][:, 1:] * 110 for pair in pairs])
    network.color = lambda lightness, style: next(truths)  # type: ignore[method-assign]
    result = task.validate(network)
    assert result.figures["psnr"] > 25 > plain["psnr"]
    assert result.figures["colorfulness"] == pytest.approx(result.figures["colorfulness of the truth"], rel=0.03)
    (sheet,) = result.pictures.values()
    assert sheet.shape == (2 * 32, 4 * 32, 3)


@torch.no_grad()
@pytest.mark.parametrize("switches", [{"stages": "transfer"}, {"variant": "wct"}, {"sites": "enc"}, {"density": 0.9}])
def test_switches_reach_the_validation(switches: dict[str, object], tmp_path: Path) -> None:
    pairs = [Pair("", picture(1, 32), picture(2, 32))]
    sheets = []
    for changed in ({}, switches):
        task = ColorizationTask(recipe(tmp_path, tmp_path, 1, **changed), pairs)
        (sheet,) = task.validate(task.network.eval()).pictures.values()
        sheets.append(sheet)
    assert not np.array_equal(*sheets)


def test_what_cannot_be_used_is_refused(stills: Path, tmp_path: Path) -> None:
    made = recipe(stills, tmp_path / "run", 1)
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(made, resume=True)
    with pytest.raises(CallError, match="multiple of 8"):
        train(replace(made, size=44))
    with pytest.raises(CallError, match="crops of 40 pixels do not fit into pictures of 32"):
        train(replace(made, crop=40))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no color pictures"):
        train(replace(made, data=tmp_path / "empty"))
    wrong = tmp_path / "wrong.safetensors"
    save_file(TransferNetwork(8).state_dict(), wrong)
    with pytest.raises(InputError, match="does not hold a transfer sub-net of this width"):
        train(replace(made, transfer=wrong))


def test_the_full_size_takes_a_step(tmp_path: Path) -> None:
    made = recipe(tmp_path, tmp_path, 1, width=64)
    task = ColorizationTask(made)
    assert sum(p.numel() for p in task.network.parameters()) == sum(
        p.numel() for p in StylizationNetwork().parameters()
    )
    crops = HintCrops([picture(1, 32)], 1, 32, sparsest=0.1, densest=0.5)
    assert Loop(task, made.loop).step_once(crops.sample(0))["huber"] > 0
    torch.manual_seed(0)
    assert Loop(TransferTask(), made.loop).step_once({"picture": torch.rand(1, 3, 16, 16)})["reconstruction"] > 0
