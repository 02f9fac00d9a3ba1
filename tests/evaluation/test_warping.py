"""Warp error and flicker: by hand, on films whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamcolor.evaluation.comparison import Pair
from streamcolor.evaluation.metrics import Picture
from streamcolor.evaluation.warping import Flicker, WarpError, standing_still, unoccluded, warp_error


def scene(width: int = 400, seed: int = 0) -> Picture:
    """(160, width, 3): a smooth colored texture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (16, width // 10, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, 160), interpolation=cv2.INTER_CUBIC), np.uint8)


def pair(number: int, truth: Picture, output: Picture) -> Pair:
    luma = truth.mean(-1).astype(np.uint8)
    return Pair(number, truth, output, np.repeat(luma[..., None], 3, -1), luma, luma, number > 0)


def test_warp_error_is_the_sum_written_out() -> None:
    """Lai et al. 2018, equation 9, pixel by pixel with bilinear interpolation."""
    rng = np.random.default_rng(3)
    here, there = (rng.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(2))
    flow = rng.uniform(-3, 3, (16, 16, 2)).astype(np.float32)
    # In sixteenths, because OpenCV interpolates in steps of a thirty-second.
    flow = np.round(flow * 16) / 16
    mask = rng.random((16, 16)) > 0.4
    total = 0.0
    for y, x in zip(*np.nonzero(mask), strict=True):
        at_x, at_y = x + flow[y, x, 0], y + flow[y, x, 1]
        left, top = int(np.floor(at_x)), int(np.floor(at_y))
        moved = np.zeros(3)
        for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (1 - abs(at_x - left - i)) * (1 - abs(at_y - top - j))
            moved += share * there[np.clip(top + j, 0, 15), np.clip(left + i, 0, 15)]
        total += (((here[y, x] - moved) / 255) ** 2).sum()
    assert warp_error(here, there, flow.astype(np.float32), mask) == pytest.approx(total / mask.sum(), rel=1e-4)
    assert warp_error(here, there, flow.astype(np.float32), np.zeros_like(mask)) is None


def test_a_boundary_of_motion_is_left_out() -> None:
    flow = np.zeros((32, 32, 2), np.float32)
    flow[:, 16:, 0] = 4
    grey = np.full((32, 32), 50, np.float32)
    mask = unoccluded(flow, -flow, grey, grey)
    assert mask[:, 2:14].all() and not mask[:, 15:17].any()
    # What moved out of the picture is not there to compare.
    assert not mask[:, 28:].any()


def test_what_moves_with_the_film_has_no_error_and_what_stays_behind_has() -> None:
    film = scene()
    colors = film[:, :240] - film[:, :240].mean(-1, keepdims=True)
    moving, stuck = WarpError(), WarpError()
    for number in range(4):
        truth = film[:, 8 * number : 8 * number + 240]
        moving.add(pair(number, truth, truth))
        # Colors of the first frame that do not follow the motion.
        output = np.clip(truth.mean(-1, keepdims=True) + colors, 0, 255).astype(np.uint8)
        stuck.add(pair(number, truth, output))
    good, bad = moving.end_clip(), stuck.end_clip()
    assert good["warp"] == good["warp_gt"] == pytest.approx(bad["warp_gt"])
    assert good["warp"] is not None and bad["warp"] is not None
    assert good["warp"] < 0.1 and bad["warp"] > 1


def test_a_still_clip_has_no_error() -> None:
    measure = WarpError()
    for number in range(3):
        measure.add(pair(number, scene(240), scene(240, 5)))
    assert measure.end_clip() == pytest.approx({"warp": 0, "warp_gt": 0}, abs=1e-9)


def test_a_clip_starts_afresh_and_one_frame_has_no_change() -> None:
    measures = (WarpError(), Flicker())
    for measure in measures:
        measure.add(pair(0, scene(240), scene(240)))
        assert set(measure.end_clip().values()) == {None}
        measure.add(pair(0, scene(240, 5), scene(240, 5)))
        assert set(measure.end_clip().values()) == {None}


@pytest.mark.parametrize("shape", [(11, 11), (17, 200), (33, 35), (200, 32)])
def test_small_pictures_do_no_harm(shape: tuple[int, int]) -> None:
    measure = WarpError()
    for number in range(2):
        picture = cv2.resize(scene(seed=number), shape[::-1], interpolation=cv2.INTER_AREA)
        measure.add(pair(number, picture, picture))
    assert (measure.end_clip()["warp"] is None) == (min(shape) < 32)


def test_flicker_is_seen_where_the_film_stands_still_only() -> None:
    truth = np.full((64, 128, 3), 120, np.uint8)
    output, moved = truth.copy(), truth.copy()
    moved[:, 64:] = 200  # the right half changes in truth
    flickering = moved.copy()
    flickering[:, 32:64, 0] += 12  # of the still half, half changes in the output
    flickering[:, 64:] = (255, 0, 0)
    flicker = Flicker()
    flicker.add(pair(0, truth, output))
    flicker.add(pair(1, moved, flickering))
    before, now = (pair(0, truth, flickering).labs[1][1], pair(0, truth, output).labs[1][1])
    change = np.hypot(*(before - now))[:, 20]
    still = standing_still(pair(0, truth, truth).labs[0], pair(1, moved, moved).labs[0])
    assert still[:, :30].all() and not still[:, 30:].any()
    figures = flicker.end_clip()
    assert figures["flicker_gt"] == 0
    assert figures["flicker"] == pytest.approx(change.mean() * 14 / 30, rel=1e-4)


def test_single_still_pixels_are_chance() -> None:
    rng = np.random.default_rng(0)
    lab = (rng.uniform(0, 100, (40, 40)).astype(np.float32), np.zeros((2, 40, 40), np.float32))
    other = (rng.uniform(0, 100, (40, 40)).astype(np.float32), np.zeros((2, 40, 40), np.float32))
    assert not standing_still(lab, other).any() and standing_still(lab, lab).all()
