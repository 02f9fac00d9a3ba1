"""Training does learn, resumes exactly, and refuses what it cannot use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from streamcolor.color.convert import lab_to_ycbcr
from streamcolor.color.standards import ColorSpace
from streamcolor.colorizers.prior import shipped_network
from streamcolor.colorizers.prior.colorizer import guess, look
from streamcolor.colorizers.propagator.network import PropagatorNetwork
from streamcolor.colorizers.registry import create
from streamcolor.errors import CallError, InputError
from streamcolor.frame import ColorTags
from streamcolor.train.footage import Footage, load_footage
from streamcolor.train.loop import Loop, LoopRecipe
from streamcolor.train.old_film import lightness_of_grey
from streamcolor.train.propagation_losses import deserved, shown, steadiness, within_cells
from streamcolor.train.propagator import (
    PropagatorRecipe,
    PropagatorTask,
    encoded,
    guessed,
    help_along,
    looked,
    perturbed,
    train,
    unroll,
)
from streamcolor.train.sequences import Scene, SequenceRecipe, Sequences, follow

from resuming import assert_resumes

SMALL = SequenceRecipe(height=64, width=64, frames=3, warm=2)
TINY = {"height": 64, "width": 64, "frames": 3, "warm": 2}


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six colorful pictures, a grey one and a broken one."""
    folder = tmp_path_factory.mktemp("stills")
    rng = np.random.default_rng(0)
    for number in range(6):
        picture = cv2.resize((rng.random((5, 6, 3)) * 255).astype(np.uint8), (192, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    cv2.imwrite(str(folder / "grey.png"), np.full((160, 160, 3), 90, np.uint8))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def recipe(data: Path, output: Path, steps: int) -> PropagatorRecipe:
    loop = LoopRecipe(output, steps=steps, warmup=2, save_every=3)
    return PropagatorRecipe("propagator", data, loop, batch=2, workers=0, **TINY)


def test_broken_and_grey_files_are_left_out_and_named(stills: Path) -> None:
    footage = load_footage(stills)
    assert len(footage.stills) == 6
    assert len(footage.skipped) == 1 and "broken.png" in footage.skipped[0]


def test_samples_are_pure_functions_of_seed_and_number(stills: Path) -> None:
    footage = load_footage(stills)
    one, two = (Sequences(footage, SMALL, seed=5, batch=2).sample(17) for _ in range(2))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    other = Sequences(footage, SMALL, seed=5, batch=2).sample(18)
    assert not torch.equal(one["ab"][:, :1], other["ab"][:, :1])


def test_shapes_and_ranges_of_a_batch(stills: Path) -> None:
    source = Sequences(load_footage(stills), replace(SMALL, two=1.0, ahead=0.0), batch=2)
    batch = source.sample(0)
    assert batch["lightness"].shape == (2, 5, 1, 64, 64) and batch["ab"].shape == (2, 5, 2, 64, 64)
    assert batch["tracked"].shape == batch["flow"].shape == (2, 3, 4, 16, 16)
    assert batch["still_lightness"].shape == (6, 2, 1, 64, 64) and batch["still_ab"].shape == (6, 2, 2, 64, 64)
    assert batch["lightness"].min() >= -0.5 and batch["lightness"].max() <= 0.5
    assert batch["ab"].abs().max() <= 1
    assert batch["tracked"][:, :, 2].min() >= 0 and batch["tracked"][:, :, 2].max() <= 1
    assert batch["flow"][:, 0].abs().max() == 0 and batch["flow"][:, 1:].abs().max() > 0


def test_a_run_that_is_warmed_up_is_longer_and_learned_from_at_its_end(stills: Path, tmp_path: Path) -> None:
    warmed = replace(recipe(stills, tmp_path, 1), ahead=1.0, without_reference=0.0)
    batch = Sequences(load_footage(stills), warmed.sequences, batch=2).sample(0)
    assert batch["tracked"].shape[1] == batch["flow"].shape[1] == 5
    torch.manual_seed(0)
    network = PropagatorNetwork()
    sum(unroll(network, batch, warmed, torch.Generator().manual_seed(0), shipped_network()).values()).backward()
    gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)
    lightness = batch["lightness"]
    seen = looked(shipped_network(), lightness)
    frozen = encoded(network, lightness, seen, range(1, 3))
    assert [f.key4.requires_grad for f in frozen] == [n not in (1, 2) for n in range(len(frozen))]
    whole = network.encoder(lightness[:, 3], look(shipped_network(), lightness[:, 3]))
    torch.testing.assert_close(frozen[3].key8, whole.key8, atol=1e-5, rtol=1e-4)


def test_help_moves_colors_towards_the_truth_and_trust_with_them() -> None:
    target, ab = torch.zeros(64, 2, 4, 4), torch.full((64, 2, 4, 4), 0.3)
    trust = torch.full((64, 1, 4, 4), 0.2)
    moved, believed = help_along(ab, trust, target, 0.5, torch.Generator().manual_seed(0))
    helped = moved[:, 0, 0, 0] < 0.3
    assert 16 < int(helped.sum()) < 48
    assert torch.equal(moved[~helped], ab[~helped]) and torch.equal(believed[~helped], trust[~helped])
    assert (deserved(moved, target) <= 1).all() and (deserved(target, target) == 1).all()
    best = moved[:, 0, 0, 0].argmin()
    assert believed[best].mean() > 0.5


def test_what_moves_is_drawn_more_often() -> None:
    rng = np.random.default_rng(0)
    still = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)] * 12
    moving = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(12)]
    source = Sequences(Footage([], [still, moving], [], []), SMALL, batch=1)
    assert source._shares[1] > 5 * source._shares[0]


def test_a_fast_run_through_a_short_clip_goes_back_the_way_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = [np.full((64, 64, 3), 6 * n, np.uint8) for n in range(40)]
    source = Sequences(Footage([], [clip], [], []), replace(SMALL, pan=0.0), batch=1)
    monkeypatch.setattr(source, "_occlude", lambda frames, rng: frames)
    fastest = 0.0
    for seed in range(20):
        pictures = source._from_clip(np.random.default_rng(seed), 1, 19, near=True).pictures
        steps = np.abs(np.diff(pictures[1:, 8, 8, 0] * 255 / 6))
        # It may show a frame twice where it turns.
        assert len(steps) == 18 and (steps > 0.5).mean() > 0.7
        fastest = max(fastest, float(np.median(steps)))
    assert fastest == pytest.approx(6, abs=0.1)


def test_tracked_colors_of_a_still_camera_are_the_true_ones(stills: Path) -> None:
    """Without motion, age or strangers, flow finds every pixel where it is."""
    picture = np.asarray(cv2.cvtColor(cv2.imread(str(stills / "0.png")), cv2.COLOR_BGR2RGB))
    rgb = np.repeat(picture[None, :64, :64].astype(np.float32) / 255, 3, 0)
    lab = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2Lab) for frame in rgb])
    found = follow(np.ascontiguousarray(lab[..., 0]), lab[..., 1:], Scene(rgb, [0, 1, 2], 0, joined=False), 1)
    tracked, flow = found["tracked"], found["flow"]
    truth = F.avg_pool2d(torch.from_numpy(lab[1:, ..., 1:].transpose(0, 3, 1, 2).copy()), 4) / 110
    np.testing.assert_allclose(tracked[:, :2], truth, atol=0.01)
    assert tracked[:, 2].min() > 0.9 and np.abs(flow[:, :2]).max() < 0.05
    assert found["moving"].shape == (2, 1, 8, 8) and found["moving"].max() < 0.01
    assert found["moved"].shape == (2, 1, 2, 8, 8) and found["moved"][0].max() == 0


def test_a_camera_that_turns_leaves_its_reference_behind() -> None:
    """Seen of a picture whose values tell the place: every frame of a run lies farther from the first than the last."""
    y, x = np.meshgrid(np.arange(120), np.arange(160), indexing="ij")
    picture = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    source = Sequences(Footage([picture], [], [], []), SMALL, batch=1)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        frames = source._pan([picture] * 9, rng, guides=1, lead=0, near=True)
        assert frames.shape == (9, 64, 64, 3)
        places = frames[:, 32, 32, :2] * 255
        away = np.linalg.norm(places - places[0], axis=1)
        assert away[-1] > 5 and (np.diff(away) > -3).all()
        reference, after, *run = source._pan([picture] * 9, rng, guides=2, lead=2, near=False)
        middle = [frame[32, 32, :2] * 255 for frame in (reference, *run, after)]
        away = np.array([np.linalg.norm(place - middle[0]) for place in middle])
        assert 0 < away[1] < away[2] < away[3] and away[-1] > away[1:-1].max() - 3


def test_the_prior_of_a_sequence_is_spoiled_alike_in_all_its_frames() -> None:
    said = torch.full((3, 4, 2, 8, 12), 0.2)
    spoiled = perturbed(said, torch.Generator().manual_seed(0))
    assert spoiled.shape == said.shape
    for sequence in spoiled:
        assert torch.equal(sequence[0], sequence[-1])
    assert not torch.allclose(spoiled[0], spoiled[1], atol=1e-3) and (spoiled - said).abs().mean() > 0.01


def test_what_the_prior_says_of_a_batch_is_what_it_says_of_each_frame() -> None:
    lightness = torch.rand(2, 3, 1, 64, 96) - 0.5
    prior = shipped_network()
    said = guessed(prior, looked(prior, lightness), lightness)
    assert said.shape == (2, 3, 2, 16, 24)
    one = guess(prior, lightness[1, 2:3], F.avg_pool2d(lightness[1, 2:3], 4))
    torch.testing.assert_close(said[1, 2:3], one, atol=1e-4, rtol=1e-3)


def test_steadiness_counts_changes_that_the_truth_does_not_make() -> None:
    flow = torch.zeros(1, 4, 8, 8)
    flow[:, 2] = 1
    now, before = torch.full((1, 2, 8, 8), 0.3), torch.full((1, 2, 8, 8), 0.1)
    assert steadiness(now, before, now, before, flow) < 1e-6
    torch.testing.assert_close(steadiness(now, before, before, before, flow), torch.tensor(0.2))
    flow[:, 2] = 0
    assert steadiness(now, before, before, before, flow) == 0


@pytest.mark.parametrize("share", ["pan", "without_reference", "clips"])
def test_what_is_not_a_share_is_refused(stills: Path, tmp_path: Path, share: str) -> None:
    with pytest.raises(CallError, match=f"--{share.replace('_', '-')} 1.5 is not a share"):
        replace(recipe(stills, tmp_path, 1), **{share: 1.5})


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no color pictures"):
        train(recipe(tmp_path, tmp_path / "run", 1))
    with pytest.raises(InputError, match="no checkpoint to resume"):
        train(recipe(tmp_path, tmp_path / "run", 1), resume=True)


def test_an_interrupted_run_ends_with_the_same_weights(stills: Path, tmp_path: Path) -> None:
    whole = train(recipe(stills, tmp_path / "whole", 6))
    half = recipe(stills, tmp_path / "half", 6)
    batches = Sequences(load_footage(stills), SMALL, batch=2)
    assert_resumes(whole, Loop(PropagatorTask(half), half.loop), batches, lambda: train(half, resume=True))


@pytest.mark.slow
def test_it_learns_and_what_it_wrote_can_run(stills: Path, tmp_path: Path) -> None:
    """Before and after on the same runs of frames, drawn with another seed: from step to step losses jump about."""
    plan = recipe(stills, tmp_path / "run", 75)
    fresh = losses_on_other_runs(PropagatorTask(plan), stills)
    weights = train(plan)
    trained = PropagatorTask(plan)
    trained.network.load_state_dict(load_file(weights))
    after = losses_on_other_runs(trained, stills)
    assert after["ab"] < 0.95 * fresh["ab"]
    assert after["guess"] < 0.9 * fresh["guess"]
    assert create("propagator", weights=weights).info.id == "propagator"


def losses_on_other_runs(task: PropagatorTask, stills: Path) -> dict[str, float]:
    source = Sequences(load_footage(stills), replace(SMALL, stills=0), seed=77, batch=2)
    with torch.no_grad():
        found = [task(source.sample(number), torch.Generator().manual_seed(number)) for number in range(12)]
    return {name: float(np.mean([float(terms[name]) for terms in found])) for name in ("ab", "guess")}


def test_what_is_scored_is_about_the_error_that_is_seen() -> None:
    """Against the error of R'G'B' worked out exactly, for errors of either sign, on dark and on light places."""
    space, rng = ColorSpace.of(ColorTags(1, 1, 1, 1), 480), np.random.default_rng(3)

    def rgb(luma: np.ndarray, ab: np.ndarray) -> np.ndarray:
        cb, cr = lab_to_ycbcr(luma, ab, space)
        red, blue = luma + 1.5748 * cr, luma + 1.8556 * cb
        return np.stack([red, (luma - 0.2126 * red - 0.0722 * blue) / 0.7152, blue]) * 255

    for value in (0.25, 0.5, 0.75):
        luma = np.full((12, 12), value, np.float32)
        light = float(lightness_of_grey(luma)[0, 0]) / 100 - 0.5
        for error in ((6, 6), (6, -6), (0, 8)):
            ab = rng.normal(0, 6, (2, 12, 12)).astype(np.float32)
            wrong = ab + np.array(error, np.float32)[:, None, None]
            exact = float(np.square(rgb(luma, wrong) - rgb(luma, ab)).mean())
            two = [torch.from_numpy(part)[None] / 110 for part in (wrong, ab)]
            assert float(shown(*two, torch.full((1, 1, 12, 12), light))) == pytest.approx(exact, rel=0.3)


def test_cells_without_detail_leave_nothing_but_rounding() -> None:
    flat = torch.full((2, 2, 16, 16), 0.2)
    torch.testing.assert_close(within_cells(flat, F.avg_pool2d(flat, 4)), torch.full((2,), 4.0))
    fine = flat + 0.1 * torch.tensor([1.0, -1.0]).repeat(8)
    assert within_cells(fine, F.avg_pool2d(fine, 4)).min() > 50
