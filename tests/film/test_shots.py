"""Shots: cuts, dissolves and fades are found where they are, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage import data

from streamcolor.errors import CallError
from streamcolor.film.shots import AHEAD, FrameReady, Shot, ShotFinder
from streamcolor.frame import Frame

Pictures = NDArray[np.float32]

DATA = Path(__file__).parents[3] / "shared" / "data"
HEIGHT, WIDTH = 144, 256
STILLS: dict[str, Callable[[], NDArray[np.uint8]]] = {
    "astronaut": data.astronaut,
    "coffee": data.coffee,
    "chelsea": data.chelsea,
    "rocket": data.rocket,
}


def take(name: str, length: int, *, pan: float = 1.5, zoom: float = 0.003) -> Pictures:
    """(length, H, W) luma of a camera that pans (pixels a frame) and zooms (share a frame) over a still."""
    rgb = STILLS[name]()
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    still = cv2.resize(grey, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_AREA)
    pictures = []
    for number in range(length):
        scale = 1.5 - zoom * number
        move = np.array([[scale, 0, 20 + pan * number], [0, scale, 30]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        pictures.append(cv2.warpAffine(still, move, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT))
    return 16 + np.stack(pictures).astype(np.float32) * (219 / 255)


def aged(pictures: Pictures, seed: int = 0, flicker: float = 0.1) -> Pictures:
    """Flicker, grain, a scratch now and then and a picture that is not steady."""
    rng = np.random.default_rng(seed)
    old = pictures * (1 + rng.uniform(-flicker, flicker, (len(pictures), 1, 1)))
    old += rng.normal(0, 6, old.shape)
    for picture in old:
        if rng.random() < 0.3:
            picture[:, rng.integers(WIDTH)] = 235
        picture[:] = np.roll(picture, rng.integers(-1, 2, 2), (0, 1))
    return old.astype(np.float32)


def dissolve(old: Pictures, new: Pictures, length: int) -> Pictures:
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None].astype(np.float32)
    return np.concatenate([old[:-length], (1 - share) * old[-length:] + share * new[:length], new[length:]])


def frames(pictures: Pictures, depth: int = 8) -> list[Frame]:
    codes = np.round(np.clip(pictures, 0, 255) * 2 ** (depth - 8))
    lumas = codes.astype(np.uint8 if depth == 8 else np.uint16)
    lumas.flags.writeable = False
    return [Frame(luma, depth, number, 1001 * number, Fraction(1, 24000)) for number, luma in enumerate(lumas)]


def watch(film: Sequence[Frame], finder: ShotFinder | None = None) -> list[FrameReady]:
    finder = finder or ShotFinder()
    ready = [event for frame in film for event in finder.push(frame)]
    ready += finder.flush()
    assert [event.frame.index for event in ready] == [frame.index for frame in film]
    return ready


def shots(ready: Sequence[FrameReady]) -> list[Shot]:
    """Every shot but the first."""
    return list({event.shot.number: event.shot for event in ready if event.shot.number > 0}.values())


@pytest.mark.parametrize("lookahead", [0, 1, 3, 24])
@pytest.mark.parametrize("depth", [8, 10])
def test_hard_cuts_are_found_whatever_the_look_ahead(lookahead: int, depth: int) -> None:
    film = np.concatenate([take(name, 20) for name in STILLS])
    found = shots(watch(frames(film, depth), ShotFinder(lookahead=lookahead)))
    assert found == [Shot(1, 20, "cut"), Shot(2, 40, "cut"), Shot(3, 60, "cut")]


def test_old_and_dark_film() -> None:
    film = np.concatenate([aged(take(name, 30), seed) for seed, name in enumerate(STILLS)])
    assert [shot.start for shot in shots(watch(frames(film)))] == [30, 60, 90]
    dark = 16 + (film - 16) * 0.25
    assert [shot.start for shot in shots(watch(frames(dark)))] == [30, 60, 90]


@pytest.mark.parametrize("name", list(STILLS))
def test_a_moving_camera_flicker_and_pumping_are_one_shot(name: str) -> None:
    fast = take(name, 40, pan=6, zoom=0.01)
    assert shots(watch(frames(fast))) == []
    assert shots(watch(frames(aged(take(name, 60), flicker=0.2)))) == []
    exposure = 1 + 0.4 * np.sin(np.arange(60) * 2 * np.pi / 9)[:, None, None].astype(np.float32)
    assert shots(watch(frames(take(name, 60) * exposure))) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_not_a_cut(length: int) -> None:
    film = take("coffee", 60)
    film[20 : 20 + length] = np.minimum(film[20 : 20 + length] * 1.5 + 100, 255)
    film[40 : 40 + length] = 235
    assert shots(watch(frames(film))) == []


def test_a_foreign_frame_is_not_a_shot() -> None:
    film = take("coffee", 60)
    film[30] = take("astronaut", 1)[0]
    assert shots(watch(frames(film))) == []


@pytest.mark.parametrize("length", [2, 6, 12, 18, 24])
@pytest.mark.parametrize(("old", "new"), [("coffee", "chelsea"), ("rocket", "coffee")])
def test_a_dissolve_is_found_with_its_mixed_frames(old: str, new: str, length: int) -> None:
    film = dissolve(take(old, 40 + length, pan=0.3), take(new, 40 + length, pan=-0.3), length)
    (shot,) = shots(watch(frames(film)))
    assert shot.transition == "dissolve" and shot.blend is not None
    assert shot.start == shot.blend[1]
    slack = 1 + length // 12
    assert abs(shot.blend[0] - 40) <= slack and abs(shot.start - (40 + length)) <= slack


def test_in_a_dissolve_the_coming_shot_is_announced() -> None:
    film = frames(dissolve(take("coffee", 52), take("chelsea", 60), 12))
    ready = watch(film)
    (shot,) = shots(ready)
    assert shot.blend is not None
    for event in ready:
        inside = shot.blend[0] <= event.frame.index < shot.blend[1]
        assert event.blending == (shot if inside else None)
        assert event.shot.number == int(event.frame.index >= shot.start)
        if inside:
            assert event.preview is film[shot.start]
            assert event.blending_known is not None and event.blending_known >= shot.start


def test_a_dissolve_in_old_film() -> None:
    film = aged(dissolve(take("coffee", 60, pan=0), take("chelsea", 60, pan=0), 16))
    (shot,) = shots(watch(frames(film)))
    assert shot.transition == "dissolve" and abs(shot.start - 60) <= 3


@pytest.mark.parametrize("length", [6, 12, 20])
@pytest.mark.parametrize("level", [16, 235])
def test_a_fade_is_cut_in_the_blank(length: int, level: int) -> None:
    out, into = take("coffee", 30 + length), take("chelsea", 30 + length)
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None].astype(np.float32)
    out[-length:] = level + (out[-length:] - level) * (1 - share)
    into[:length] = level + (into[:length] - level) * share
    film = np.concatenate([out, np.full((5, HEIGHT, WIDTH), level, np.float32), into])
    ready = watch(frames(film))
    (shot,) = shots(ready)
    blank = 30 + length
    assert shot.transition == "fade" and blank <= shot.start <= blank + 5 + length // 8
    preview = next(event.preview for event in ready if event.frame.index == shot.start)
    assert preview.luma.std() > 0.5 * ready[-1].frame.luma.std()


def test_blank_frames_inside_a_shot_are_a_dropout() -> None:
    film = take("coffee", 60)
    film[30:34] = 16
    assert shots(watch(frames(film))) == []


@pytest.mark.parametrize(("lookahead", "waits"), [(0, 0), (24, 1)])
def test_given_cuts_replace_detection_and_a_frame_waits_for_the_next_at_most(lookahead: int, waits: int) -> None:
    film = frames(np.concatenate([take("coffee", 20), take("chelsea", 20)]))
    finder = ShotFinder(lookahead=lookahead, cuts=[30, 0, 10, 10])
    ready = [finder.push(frame) for frame in film]
    assert [len(events) for events in ready] == [0] * waits + [1] * (40 - waits)
    events = [event for batch in ready for event in batch] + finder.flush()
    assert [shot.start for shot in shots(events)] == [10, 30]
    assert [events[n].known for n in (0, 9, 10, 29)] == [9, 9, 29, 29] and events[39].known > 10**9


@pytest.mark.parametrize("wrong", [{"cuts": [-1]}, {"lookahead": -1}, {"min_length": 0}, {"threshold": 0.0}])
def test_a_wrong_call_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CallError):
        ShotFinder(**wrong)  # type: ignore[arg-type]


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    lookahead=st.integers(0, 30),
    min_length=st.integers(1, 12),
    offset=st.integers(0, 1000),
)
def test_frames_leave_in_order_on_time_and_within_what_was_known(
    lengths: list[int], lookahead: int, min_length: int, offset: int
) -> None:
    names = list(STILLS)
    film = [
        Frame(frame.luma, 8, frame.index + offset, frame.pts, frame.time_base)
        for frame in frames(np.concatenate([take(names[n % 4], length, pan=n) for n, length in enumerate(lengths)]))
    ]
    finder = ShotFinder(lookahead=lookahead, min_length=min_length)
    ready: list[FrameReady] = []
    for frame in film:
        ready += finder.push(frame)
        assert frame.index - (ready[-1].frame.index if ready else offset - 1) <= lookahead
    ready += finder.flush()
    assert [event.frame for event in ready] == film
    shot_of = {event.frame.index: event.shot for event in ready}
    for event in ready:
        assert event.frame.index <= event.known <= film[-1].index
        assert all(shot_of[n] == event.shot for n in range(event.frame.index, event.known + 1))
    numbers = [event.shot.number for event in ready]
    assert all(after - before in (0, 1) for before, after in pairwise(numbers))
    again = watch(film, ShotFinder(lookahead=lookahead, min_length=min_length))
    assert [(e.shot, e.known, e.blending) for e in again] == [(e.shot, e.known, e.blending) for e in ready]


def decoded(path: Path) -> list[NDArray[np.uint8]]:
    pictures = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            pictures.append(rows[: frame.height, : frame.width].copy())
    return pictures


def numbered(pictures: Sequence[NDArray[np.uint8]]) -> list[Frame]:
    return [Frame(luma, 8, number, number, Fraction(1, 25)) for number, luma in enumerate(pictures)]


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared films")
@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("nosferatu", [70, 240, 497, 551, 683, 788, 852, 962, 1017]),
        ("a-bomb_blast_effects_part", [44, 134, 299]),
        ("silent-street-comedy", []),
        ("chaplin", []),
    ],
)
def test_historical_film(name: str, starts: list[int]) -> None:
    """Starts read off contact sheets; before 551 stand five black frames of an iris that closed."""
    found = shots(watch(numbered(decoded(DATA / "historical" / f"{name}.mp4"))))
    assert [shot.start for shot in found] == pytest.approx(starts, abs=3 if 551 in starts else 0)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs the shared films")
def test_davis_clips_in_a_row() -> None:
    clips = [decoded(path) for path in sorted((DATA / "eval" / "davis").glob("*.mp4"))]
    starts = np.cumsum([len(clip) for clip in clips])[:-1].tolist()
    found = shots(watch(numbered([picture for clip in clips for picture in clip])))
    assert [shot.start for shot in found] == starts


def test_the_frames_after_are_told_up_to_a_boundary() -> None:
    film = np.concatenate([take(name, 20) for name in list(STILLS)[:2]])
    ready = watch(frames(film))
    for event in ready:
        number = event.frame.index
        stop = min(number + 1 + AHEAD, 20 if number < 20 else 40)
        assert [frame.index for frame in event.following] == [*range(number + 1, stop)]
    assert not any(event.following for event in watch(frames(film), ShotFinder(lookahead=0)))


def test_frames_are_not_told_ahead_where_another_picture_shines_through_them() -> None:
    old, new = (take(name, 40) for name in list(STILLS)[:2])
    ready = watch(frames(dissolve(old, new, 12)))
    (shot,) = shots(ready)
    assert shot.blend is not None
    first, stop = shot.blend
    silent = [event.frame.index for event in ready if not event.following]
    assert silent == [*range(first - 1, stop), ready[-1].frame.index]
    assert [frame.index for frame in ready[first - 3].following] == [first - 2, first - 1]
