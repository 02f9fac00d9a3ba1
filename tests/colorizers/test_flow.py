"""The flow baseline: exact where nothing moves, right where things move, silent where it cannot know."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.flow import Flow, fill
from streamcolor.colorizers.tracks import Between, agreement, flow_between, sample, to_grey

SIDE = 160


def scene(shift_x: int = 0, shift_y: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Lightness (1, 1, h, w) and ab (1, 2, h, w) of a textured picture, shifted."""
    rng = np.random.default_rng(5)
    wide = cv2.resize(rng.random((24, 24)).astype(np.float32), (256, 256), interpolation=cv2.INTER_CUBIC)
    wide = np.clip(wide * 80 + 10 + rng.random((256, 256)) * 4, 0, 100).astype(np.float32)
    colors = cv2.resize(rng.normal(0, 30, (6, 6, 2)).astype(np.float32), (256, 256), interpolation=cv2.INTER_CUBIC)
    y, x = 40 + shift_y, 40 + shift_x
    light = wide[y : y + SIDE, x : x + SIDE]
    ab = colors[y : y + SIDE, x : x + SIDE].transpose(2, 0, 1)
    return torch.from_numpy(light.copy())[None, None], torch.from_numpy(ab.copy())[None]


def start(frame: int | None = 0) -> tuple[Flow, ReferenceCache]:
    flow = Flow()
    cache = ReferenceCache(flow.info.policy)
    light, ab = scene()
    cache.start_shot([flow.encode(Reference(light, ab, torch.ones_like(light), frame))])
    return flow, cache


def color(flow: Flow, cache: ReferenceCache, light: torch.Tensor, frame: int) -> torch.Tensor:
    chroma, entry = flow.step(light, cache, frame)
    assert entry is not None
    cache.remember(entry)
    return chroma.ab


def test_a_still_shot_keeps_the_references_colors() -> None:
    flow, cache = start()
    light, ab = scene()
    for frame in range(12):
        assert (color(flow, cache, light, frame) - ab[0]).abs().max() < 0.5


def test_the_frame_of_the_reference_gives_it_exactly() -> None:
    flow, cache = start()
    light, ab = scene()
    assert torch.equal(color(flow, cache, light, 0), ab[0])


def test_a_shift_is_followed() -> None:
    here, there = to_grey(scene(5, 3)[0][0, 0].numpy()), to_grey(scene()[0][0, 0].numpy())
    forth, back = flow_between(here, there), flow_between(there, here)
    inner = np.s_[16:-16, 16:-16]
    np.testing.assert_allclose(np.median(forth[inner], (0, 1)), [5, 3], atol=0.05)
    light = scene(5, 3)[0][0, 0].numpy(), scene()[0][0, 0].numpy()
    assert agreement(forth, back, *light)[0][inner].mean() > 0.98


def test_a_flow_that_slips_is_believed_where_nothing_tells_places_apart() -> None:
    """It comes back 5 pixels away: no harm on a bright coat, but not on cloth with a pattern, nor across an edge."""
    here = scene()[0][0, 0].numpy().copy()
    here[40:120, 40:120] = 95 + np.random.default_rng(1).random((80, 80))
    forth, back = np.zeros((2, SIDE, SIDE, 2), np.float32)
    back[..., 0] = 5
    assert not agreement(forth, back, here, here)[0].any()
    believed, off = agreement(forth, back, here, here, flat=True)
    coat, edge = np.s_[46:114, 46:114], np.s_[46:114, 37:43]
    assert believed[coat].all() and off[coat].max() < 1
    assert not believed[edge].any() and believed[:36].mean() < 0.05
    there = here.copy()
    there[40:120, 40:120] -= 8
    assert not agreement(forth, back, here, there, flat=True)[0][coat].any()


def test_the_fine_setting_keeps_its_belief_on_a_grainy_coat() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for shift in (0, 3):
        frame = scene(shift)[0][0, 0].numpy().copy()
        frame[30:130, 30 - shift : 130 - shift] = 92
        frames.append(np.clip(frame + rng.normal(0, 1, frame.shape), 0, 100).astype(np.float32))
    coat = np.s_[42:118, 42:112]
    plain, fine = (Between.of(frames[1], frames[0], fine=fine).believed[coat].mean() for fine in (False, True))
    assert fine > 0.9 > plain


def test_down_to_single_pixels_flow_follows_small_things() -> None:
    """Small disks that move against their background: the fine search must be nearer to where they came from."""
    rng = np.random.default_rng(2)
    ground = cv2.GaussianBlur(rng.random((SIDE, SIDE)).astype(np.float32), (0, 0), 2)
    ground = (ground - ground.min()) / np.ptp(ground) * 60 + 20
    here, there, moved = ground.copy(), ground.copy(), np.zeros((SIDE, SIDE), np.uint8)
    for y in range(16, SIDE - 16, 24):
        for x in range(16, SIDE - 16, 24):
            tone = float(rng.choice([0, 100]))
            cv2.circle(there, (x, y), 4, tone, -1, cv2.LINE_AA)
            cv2.circle(here, (x + 3, y + 2), 4, tone, -1, cv2.LINE_AA)
            cv2.circle(moved, (x + 3, y + 2), 3, 1, -1)
    now, then = to_grey(here), to_grey(there)
    coarse, fine = (flow_between(now, then, fine=chosen)[moved > 0] for chosen in (False, True))
    miss = [float(np.linalg.norm(flow - (-3, -2), axis=-1).mean()) for flow in (coarse, fine)]
    assert miss[1] < 0.4 * miss[0]


def test_colors_follow_a_pan_better_than_standing_still() -> None:
    flow, cache = start()
    for frame in range(11):
        light, truth = scene(2 * frame, frame)
        result = color(flow, cache, light, frame)
    inner = np.s_[:, 24:-24, 24:-24]
    still = (scene()[1][0] - truth[0])[inner].abs().mean()
    assert (result - truth[0])[inner].abs().mean() < 0.15 * still


def test_an_occluder_leaves_no_smear() -> None:
    flow, cache = start()
    for frame in range(10):
        light, truth = scene()
        if frame < 9:
            light[..., 60:100, 8 * frame : 8 * frame + 40] = 1.0
        result = color(flow, cache, light, frame)
    uncovered = np.s_[:, 60:100, 64:104]
    assert (result - truth[0])[uncovered].norm(dim=0).mean() < truth[0][uncovered].norm(dim=0).mean() * 0.5


def test_a_reference_that_comes_later_is_used() -> None:
    flow, cache = start()
    light, _ = scene(0, 0)
    color(flow, cache, light, 0)
    far, truth = scene(30, 20)
    cache.add_reference(flow.encode(Reference(far, truth, torch.ones_like(far), 1)))
    assert (color(flow, cache, far, 1) - truth[0]).abs().mean() < 1.0


def test_holes_are_filled_from_what_looks_alike() -> None:
    light = np.full((60, 80), 30.0, np.float32)
    light[:, 40:] = 80
    ab = np.where(light[..., None] > 50, 20.0, -20.0).repeat(2, 2).astype(np.float32)
    unknown = np.zeros((60, 80), bool)
    unknown[20:40, 25:55] = True
    filled = fill(light, np.where(unknown[..., None], 99, ab).astype(np.float32), unknown)
    assert np.abs(filled - ab)[22:38, 27:37].max() < 4 and np.abs(filled - ab)[22:38, 43:53].max() < 4
    np.testing.assert_array_equal(filled[~unknown], ab[~unknown])
    assert np.abs(fill(light, ab, np.ones((60, 80), bool))).max() == 0


def test_sampling_is_bilinear() -> None:
    ramp = np.arange(10, dtype=np.float32)[None].repeat(4, 0)
    moved = sample(ramp, np.full((4, 10, 2), (0.5, 0), np.float32))
    np.testing.assert_allclose(moved[:, :9], ramp[:, :9] + 0.5, atol=0.02)


@pytest.mark.parametrize("size", [(2, 640), (640, 2), (8, 8), (1, 1)])
@pytest.mark.parametrize("fine", [False, True])
def test_films_of_a_few_lines_have_flow_too(size: tuple[int, int], fine: bool) -> None:
    """OpenCV refuses them."""
    grey = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    flow = flow_between(grey, grey, np.zeros((*size, 2), np.float32), fine=fine)
    assert flow.shape == (*size, 2) and np.abs(flow).max() < 0.5
