"""``chroma-prior`` is trained on crops that hold what the pictures hold; it learns, and resumes exactly."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from streamcolor.color.convert import rgb_to_lab
from streamcolor.colorizers.prior.body import STEM
from streamcolor.colorizers.prior.network import BIN, BINS
from streamcolor.colorizers.registry import create
from streamcolor.errors import CallError, InputError
from streamcolor.train.footage import load_footage
from streamcolor.train.loop import Loop, LoopRecipe
from streamcolor.train.prior import EVERY, PriorCrops, PriorRecipe, PriorTask, binned, train

from resuming import assert_resumes


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six colorful pictures of 192 x 160."""
    folder = tmp_path_factory.mktemp("stills")
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = (rng.random((5, 6, 3)) * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (192, 160), interpolation=cv2.INTER_CUBIC))
    return folder


def write_clip(path: Path, frames: int) -> None:
    """Colors of 192 x 160, redder from frame to frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 192, 160, "bgr0"
        for number in range(frames):
            picture = np.tile(np.array([4 * number, 80, 160], np.uint8), (160, 192, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def recipe(data: Path, output: Path, steps: int, **changes: object) -> PriorRecipe:
    loop = LoopRecipe(output, steps=steps, warmup=2, save_every=3)
    small = {"batch": 4, "workers": 0, "height": 64, "width": 96, "narrow": 2} | changes
    return PriorRecipe("chroma-prior", data, loop, **small)  # type: ignore[arg-type]


def test_batches_are_pure_functions_of_seed_and_number(stills: Path) -> None:
    pictures = load_footage(stills).stills
    plan = recipe(stills, stills, 1)
    one, two = (PriorCrops(pictures, plan, seed=5).sample(3) for _ in range(2))
    assert one.keys() == two.keys() == {"lightness", "ab"}
    assert all(torch.equal(one[name], two[name]) for name in one)
    for seed, number in ((5, 5), (6, 3)):
        assert not torch.equal(one["ab"][:2], PriorCrops(pictures, plan, seed=seed).sample(number)["ab"][:2])


def test_shapes_and_ranges_of_a_batch(stills: Path) -> None:
    source = PriorCrops(load_footage(stills).stills, recipe(stills, stills, 1, aged=1.0))
    batches = [source.sample(number) for number in range(4)]
    # Six pictures, four in a batch.
    assert [len(batch["ab"]) for batch in batches] == [4, 2, 4, 2]
    for batch in batches:
        size = len(batch["ab"])
        assert batch["lightness"].shape == (size, 1, 64, 96) and batch["ab"].shape == (size, 2, 64, 96)
        assert all(tensor.dtype == torch.float32 for tensor in batch.values())
        assert batch["lightness"].min() >= -0.5 and batch["lightness"].max() <= 0.5
        assert 0.1 < batch["ab"].abs().max() <= 1


@pytest.mark.parametrize("shape", [(300, 140), (140, 300)])
def test_crops_keep_the_colors_and_the_grey_of_a_picture(shape: tuple[int, int]) -> None:
    color = np.array([200, 120, 40], np.uint8)
    picture = np.tile(color, (*shape, 1))
    plan = recipe(Path(), Path(), 1, aged=0.0, batch=1)
    source = PriorCrops([picture], plan)
    truth = rgb_to_lab(color[None, None].astype(np.float32) / 255)[1].reshape(2, 1, 1) / 110
    greys = set[float]()
    for number in range(12):
        batch = source.sample(number)
        np.testing.assert_allclose(batch["ab"][0], np.broadcast_to(truth, (2, 64, 96)), atol=1e-4)
        light = batch["lightness"]
        assert light.max() - light.min() < 1e-4
        greys.add(round(float(light.mean()), 3))
    # Between the blue and the red of the picture, as stocks and cameras see it.
    assert len(greys) > 1 and min(greys) > -0.35 and max(greys) < 0.32


def test_colors_and_lightness_stay_in_their_places() -> None:
    """Left dark and blue, right light and yellow: crops and mirrored crops agree on which is which."""
    picture = np.tile(np.array([20, 30, 120], np.uint8), (160, 192, 1))
    picture[:, 96:] = (250, 230, 120)
    source = PriorCrops([picture], recipe(Path(), Path(), 1, aged=0.0, batch=1, smallest=1.0))
    lighter = set[bool]()
    for number in range(8):
        batch = source.sample(number)
        light, yellow = batch["lightness"][0, 0, :, [0, -1]].mean(0), batch["ab"][0, 1, :, [0, -1]].mean(0)
        assert (light[0] < light[1]) == (yellow[0] < yellow[1])
        lighter.add(bool(light[0] < light[1]))
    assert lighter == {True, False}


def test_a_clip_gives_some_of_its_frames_reduced(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mkv", 2 * EVERY + 1)
    (clip,) = load_footage(tmp_path, every=EVERY, short_side=128).clips
    assert [frame.shape for frame in clip] == [(128, 154, 3)] * 3
    assert [int(frame[0, 0, 0]) for frame in clip] == [0, 4 * EVERY, 8 * EVERY]


def test_clips_that_are_set_apart_are_scored(stills: Path, tmp_path: Path) -> None:
    for still in stills.iterdir():
        (tmp_path / still.name).write_bytes(still.read_bytes())
    write_clip(tmp_path / "clip.mkv", EVERY + 1)
    # Of this one a single frame is taken: it cannot be scored, and is learned from.
    write_clip(tmp_path / "short.mkv", EVERY)
    weights = train(recipe(tmp_path, tmp_path / "run", 1, kept=0.999))
    assert (weights.parent / "best.safetensors").exists()
    footage = load_footage(tmp_path, every=EVERY, kept=0.999)
    assert [len(clip) for clip in footage.kept] == [2] and [len(clip) for clip in footage.clips] == [1]


def test_bins_are_learned_from_as_shares_of_the_two_next_to_a_color() -> None:
    logits = torch.randn(2, 2 * BINS, 3, 4)
    ab = (torch.rand(2, 2, 3, 4) * 2 - 1) * 0.9
    centers = (torch.arange(BINS) - BINS // 2) * BIN / 110
    shares = (1 - (ab[:, :, None] - centers[:, None, None]).abs() * 110 / BIN).clamp(min=0)
    torch.testing.assert_close(shares.sum(2), torch.ones_like(ab))
    weight = (0.3 + ab.norm(dim=1) * 110 / 40).clamp(max=2)
    parts = zip(logits.chunk(2, 1), shares.unbind(1), strict=True)
    expected = [F.cross_entropy(part, share, reduction="none") * weight for part, share in parts]
    torch.testing.assert_close(binned(logits, ab), torch.stack(expected).mean())
    # Beyond the bins, the last one.
    beyond = torch.full((1, 2, 1, 1), 1.2)
    sure = F.one_hot(torch.tensor([BINS - 1] * 2), BINS).flatten()[None, :, None, None] * 100.0
    assert binned(sure, beyond) < 0.3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"height": 100}, "--height 100 and --width 96 must be multiples of 32, at least 64"),
        ({"width": 16}, "--height 64 and --width 16 must be multiples of 32, at least 64"),
        ({"batch": 0}, "batch must be positive, workers not negative, and kept, aged and smallest shares"),
        ({"workers": -1}, "workers not negative"),
        ({"kept": 1.0}, "kept, aged and smallest shares"),
        ({"smallest": 0.0}, "kept, aged and smallest shares"),
        ({"aged": 1.5}, "kept, aged and smallest shares"),
        ({"narrow": 3}, "--narrow 3 is not 1 or 2"),
        ({"backbone": "efficientnet-lite0"}, "--backbone and --narrow exclude each other"),
        ({"body_rate": 1.5}, "--body-rate 1.5 is not a share between 0 and 1"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CallError, match=sentence):
        recipe(tmp_path, tmp_path, 1, **values)


def test_a_recipe_holds_without_options(tmp_path: Path) -> None:
    plan = PriorRecipe("chroma-prior", tmp_path, LoopRecipe(tmp_path))
    assert plan.backbone is None and PriorTask(plan).network.body.stem.out_channels == STEM


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no color pictures"):
        train(recipe(tmp_path, tmp_path / "run", 1))
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(recipe(tmp_path, tmp_path / "run", 1), resume=True)


@pytest.mark.timeout(60)
def test_processes_of_the_loader_do_not_wait_for_threads_of_opencv(stills: Path, tmp_path: Path) -> None:
    """What reads the footage uses OpenCV's threads, and a fork has none of them."""
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((2000, 3000, 3), np.uint8), (1500, 1000), interpolation=cv2.INTER_AREA)
    assert train(recipe(stills, tmp_path / "run", 2, workers=1)).exists()


def test_an_interrupted_run_ends_with_the_same_weights(stills: Path, tmp_path: Path) -> None:
    whole = train(recipe(stills, tmp_path / "whole", 6))
    half = recipe(stills, tmp_path / "half", 6)
    batches = PriorCrops(load_footage(stills, short_side=half.width).stills, half)
    assert_resumes(whole, Loop(PriorTask(half), half.loop), batches, lambda: train(half, resume=True))


@pytest.mark.slow
def test_it_learns_and_what_it_wrote_can_run(stills: Path, tmp_path: Path) -> None:
    """Before and after on the same crops, drawn with another seed: from step to step losses jump about."""
    plan = recipe(stills, tmp_path / "run", 200)
    fresh = loss_on_other_crops(PriorTask(plan), stills)
    weights = train(plan)
    trained = PriorTask(plan)
    trained.network.load_state_dict(load_file(weights))
    assert loss_on_other_crops(trained, stills) < 0.8 * fresh
    assert create("chroma-prior", weights=weights).info.id == "chroma-prior"


def loss_on_other_crops(task: PriorTask, stills: Path) -> float:
    source = PriorCrops(load_footage(stills).stills, recipe(stills, stills, 1, aged=0.0), seed=77)
    with torch.no_grad():
        return float(np.mean([float(task(source.sample(n), torch.Generator())["ab"]) for n in range(8)]))
