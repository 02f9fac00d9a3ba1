"""What moves by itself is told from what moves with the camera, and is read from what does the same."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from streamcolor.colorizers.cache import Entry, ReferenceCache
from streamcolor.colorizers.contract import Reference
from streamcolor.colorizers.propagator.encoder import SMALL, Features
from streamcolor.colorizers.propagator.matching import Matcher
from streamcolor.colorizers.propagator.memory import Memory
from streamcolor.colorizers.propagator.motion import follow
from streamcolor.colorizers.propagator.movers import Movers, as_keys, as_query, independent
from streamcolor.colorizers.propagator.network import Semantic
from streamcolor.colorizers.registry import create
from streamcolor.colorizers.tracks import Between, Float32

HEIGHT, WIDTH = 192, 256
BOX = (slice(64, 128), slice(96, 160))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def texture(seed: int, height: int, width: int) -> Float32:
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 5, 95, cv2.NORM_MINMAX))


def shown(number: int) -> Float32:
    """L* (h, w) of a box that moves by 6 pixels a frame over a ground that a camera pans over and zooms into."""
    zoom = 1.01**number
    camera = np.array([[zoom, 0, 3 * number], [0, zoom, number]], np.float32)
    frame = cv2.warpAffine(texture(1, HEIGHT, WIDTH), camera, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101)
    y, x = BOX
    frame[y, slice(x.start - 6 * number, x.stop - 6 * number)] = texture(2, 64, 64)
    return np.ascontiguousarray(frame)


def between(number: int) -> Between:
    return Between.of(shown(number), shown(number - 1), fine=True)


def test_a_box_moves_and_the_ground_goes_with_the_camera() -> None:
    moving = independent(between(1))
    assert moving.shape == (HEIGHT // 4, WIDTH // 4)
    assert moving[18:30, 26:36].mean() > 0.9
    moving[12:36, 18:44] = 0
    assert moving.mean() < 0.05


def test_parallax_counts_for_less_than_the_same_motion_before_a_flat_ground() -> None:
    """Half of the frame lies nearer to the camera: that is usual there, and nobody walks."""
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    believed = np.ones((HEIGHT, WIDTH), bool)
    flow[BOX] = (4, 0)
    alone = independent(Between(flow, believed, -flow, believed))[18:30, 26:36].mean()
    ripples = np.random.default_rng(0).normal(0, 3, flow.shape).astype(np.float32)
    among = independent(Between(flow + ripples, believed, -flow - ripples, believed))[18:30, 26:36].mean()
    assert alone > 0.9 > 0.7 > among


def test_nothing_moves_where_flow_knows_nothing() -> None:
    flow = np.random.default_rng(0).normal(0, 9, (64, 64, 2)).astype(np.float32)
    lost = np.zeros((64, 64), bool)
    assert independent(Between(flow, lost, flow, lost)).max() == 0


def test_flow_that_means_nothing_gives_numbers_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A homography whose horizon lies in the frame sends places to infinity: nobody knows the camera then."""
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 66, 0, 1]])
    monkeypatch.setattr(cv2, "findHomography", lambda *given, **named: (horizon, None))
    flow, believed = np.zeros((HEIGHT, WIDTH, 2), np.float32), np.ones((HEIGHT, WIDTH), bool)
    assert independent(Between(flow, believed, flow, believed)).max() == 0


def film(count: int, identities: list[list[int]]) -> list[Movers]:
    """The state along a film whose frame 0 is the reference 7; ``identities`` says who is at hand in which frame."""
    picture = shown(0)
    named = {
        "lightness": torch.from_numpy(picture),
        "ab": torch.zeros(HEIGHT, WIDTH, 2),
        "opaque": torch.ones(HEIGHT, WIDTH),
    }
    held: dict[str, torch.Tensor] | None = None
    states = []
    for number in range(count):
        references = [Entry(named | {"identity": torch.tensor(n)}, 0) for n in identities[number]]
        here = shown(number)
        movers = Movers.of(between(number), held, identities[number]) if held is not None else None
        tracks = follow(here, held, references, number, None if movers is None else between(number))
        held = tracks.tensors(here) | ({} if movers is None else movers.tensors(tracks))
        states += [] if movers is None else [movers]
    return states


def test_what_a_reference_shows_is_known_to_move_once_it_has() -> None:
    states = film(4, [[7]] * 4)
    first, last = states[0].memories()[0], states[-1].memories()[0]
    assert first[1].max() == 0
    assert last[1, 10:14, 14:18].min() > 0.3
    assert last[0, 10:14, 14:18].mean() > 0.8
    ground = np.ones((HEIGHT // 8, WIDTH // 8), bool)
    ground[6:18, 8:22] = False
    assert last[0][ground & (last[1] > 0.5)].mean() < 0.1


def test_what_is_known_of_a_reference_goes_with_it() -> None:
    """Another one comes in before it, and the first goes: nobody takes over what was known of somebody else."""
    moved = film(4, [[7], [7], [3, 7], [3]])[1:]
    alone = film(4, [[7]] * 4)[1:]
    assert np.array_equal(moved[0].references[1], alone[0].references[0]) and moved[0].references[0].max() == 0
    assert len(moved[1].references) == 1 and not np.array_equal(moved[1].references[0], alone[1].references[0])


def test_a_film_remembers_what_moves_whether_it_is_looked_at_or_not() -> None:
    colorizer = create("propagator")
    light = [torch.from_numpy(shown(number))[None, None] for number in range(4)]
    guide = Reference(light[0], torch.zeros(1, 2, HEIGHT, WIDTH), torch.ones_like(light[0]), 0)
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(guide)])
    rested = []
    for number, frame in enumerate(light):
        _, entry = colorizer.step(frame, cache, number, light[number + 1 :])
        assert entry is not None
        cache.remember(entry)
        rested.append("way" in entry.tensors)
        if number:
            assert entry.tensors["moving"][18:30, 22:36].mean() > 0.7
            assert entry.tensors["moved"].shape == (1, 2, HEIGHT // 8, WIDTH // 8)
        else:
            assert "moving" not in entry.tensors
    assert True in rested and False in rested


def test_what_is_taken_grows_with_the_square_of_the_difference() -> None:
    torch.manual_seed(0)
    here, there = torch.rand(2, 1, 3, 4), torch.rand(2, 2, 3, 4)
    taken = as_query(here, torch.tensor(0.3)).flatten(1, 2) @ as_keys(there)
    gap = here.flatten(1)[:, :, None] - there[:, 0].flatten(1)[:, None]
    torch.testing.assert_close(taken, -0.3 * there[:, 1].flatten(1)[:, None] * gap.square())


def alike(value4: torch.Tensor) -> tuple[Features, Memory]:
    """A frame all of whose places look the same, and a memory of the same look."""
    height, width = value4.shape[2:]

    def key(channels: int, stride: int) -> torch.Tensor:
        one = torch.zeros(1, channels, height * 4 // stride, width * 4 // stride)
        one[:, 0] = 1
        return one

    light = torch.zeros(1, 1, height, width)
    context = torch.zeros(1, SMALL.context, height // 4, width // 4)
    features = Features(key(8, 4), key(8, 8), key(8, 16), light, context, light, torch.zeros(1, 1, *context.shape[2:]))
    return features, Memory(features.key4, features.key8, features.key16, value4, light)


@pytest.mark.parametrize("stride", [8, 16])
@torch.inference_mode()
def test_what_moves_is_read_from_what_moves(stride: int) -> None:
    """The left half of a reference moves and is red, the right one stays and is blue; both look the same."""
    value4 = torch.zeros(1, 3, 16, 16)
    value4[:, 2] = 1
    value4[:, 0, :, :8], value4[:, 1, :, 8:] = 0.5, -0.5
    features, memory = alike(value4)
    known = torch.ones(1, 2, 8, 8)
    known[:, 0, :, 4:] = 0
    moving8 = torch.zeros(1, 1, 8, 8)
    moving8[:, :, :4] = 1

    def read(memory: Memory, moving8: torch.Tensor | None) -> torch.Tensor:
        if stride == 8:
            matcher = Matcher()
            matcher.log_sharpness8.fill_(4)
            return matcher(features, [memory], moving8).coarse[0, :2]
        semantic = Semantic(SMALL)
        semantic.log_sharpness.fill_(4)
        return semantic(features, [memory], moving8).read[0, :2]

    found = read(replace(memory, moved8=known), moving8)
    top, bottom = found[:, : found.shape[1] // 4], found[:, -found.shape[1] // 4 :]
    assert top[0].min() > 0.45 and bottom[1].max() < -0.45
    # Where nobody knows how it moves both halves have the same say.
    for nobody in (read(memory, moving8), read(replace(memory, moved8=known), None)):
        torch.testing.assert_close(nobody[0], torch.full_like(nobody[0], 0.25))
    unknown = read(replace(memory, moved8=torch.zeros_like(known)), moving8)
    torch.testing.assert_close(unknown[1], torch.full_like(unknown[1], -0.25))
