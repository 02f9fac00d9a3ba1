"""Colors of single frames become steady along the motion, and only along the motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.colorizers.stabilization import SPAN, FrameWise, nearest
from streamcolor.frame import Chroma

from scenes import SIZE, pictures, reference


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Restless(FrameWise[nn.Identity]):
    """Every frame the color of its lightness and, all over, another error; half the size."""

    info = ColorizerInfo("restless", True, 64, 2, "Apache-2.0", CachePolicy(recent=1))
    stride = 2

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> nn.Identity:
        return nn.Identity()

    def encode(self, reference: Reference) -> Entry:
        return Entry({"ab": reference.ab.mean((0, 2, 3))}, reference.frame)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        small = torch.nn.functional.avg_pool2d(lightness, self.stride)[0]
        error = 20 if int(lightness[0, 0, 0].sum() * 1000) % 2 else -20
        ab = torch.cat([small / 2, 30 - small / 2]) + error
        for entry in references:
            ab = ab + entry.tensors["ab"][:, None, None]
        return Chroma(ab, torch.ones(1, *ab.shape[1:]))


class FullSize(Restless):
    stride = 1


class Counting(Restless):
    """The first frame has the color 1 all over, the second 2, and so on."""

    calls = 0

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        self.calls += 1
        return Chroma(torch.full((2, *SIZE), float(self.calls)), torch.ones(1, *SIZE))


def restless(*, stabilize: bool = True, kind: type[Restless] = Restless) -> Restless:
    return kind.around(nn.Identity(), stabilize=stabilize)


def play(colorizer: Restless, frames: list[Tensor], cache: ReferenceCache | None = None) -> list[Tensor]:
    cache = cache or ReferenceCache(colorizer.info.policy)
    result = []
    for number, frame in enumerate(frames):
        chroma, entry = colorizer.step(frame, cache, number)
        if entry is not None:
            cache.remember(entry)
        result.append(chroma.ab)
    return result


def flicker(colors: list[Tensor], stride: int) -> float:
    """Mean change of a place that moves two pixels of the film a frame."""
    moved = 2 // stride
    pairs = zip(colors[4:], colors[3:], strict=False)
    return float(
        torch.stack([(now[..., :-moved] - old[..., moved:])[..., 4:-4].abs().mean() for now, old in pairs]).mean()
    )


@pytest.mark.parametrize("kind", [Restless, FullSize])
def test_errors_of_single_frames_are_averaged_along_the_motion(kind: type[Restless]) -> None:
    frames = pictures(20)
    shaken = play(restless(stabilize=False, kind=kind), frames)
    calm = play(restless(kind=kind), frames)
    assert flicker(calm, kind.stride) < 0.3 * flicker(shaken, kind.stride)
    # What moves is not smeared: the color still goes with the lightness.
    for frame, ab in list(zip(frames, calm, strict=True))[8:]:
        small = torch.nn.functional.avg_pool2d(frame, kind.stride)[0, 0, :, 4:-8]
        sought = ab[0, :, 4:-8] - ab[0, :, 4:-8].mean()
        assert (sought - (small / 2 - (small / 2).mean())).abs().mean() < 4


def test_without_it_frames_are_colored_alone() -> None:
    colorizer = restless(stabilize=False)
    cache = ReferenceCache(colorizer.info.policy)
    chroma, entry = colorizer.step(pictures(1)[0], cache, 0)
    assert entry is None
    assert torch.equal(chroma.ab, colorizer.color(pictures(1)[0], []).ab)


def test_a_still_film_keeps_the_mean_of_what_the_network_says() -> None:
    colors = [float(ab.mean()) for ab in play(restless(kind=Counting), pictures(1) * 12)]
    expected, age = 1.0, 1
    for number, color in enumerate(colors):
        if number:
            expected = (expected * age + number + 1) / (age + 1)
            age = min(age + 1, SPAN - 1)
        assert color == pytest.approx(expected, abs=1e-3)


def test_nothing_is_carried_over_a_cut_noticed_or_not() -> None:
    frames = pictures(4)
    colorizer = restless()
    cache = ReferenceCache(colorizer.info.policy)
    play(colorizer, frames[:3], cache)
    cache.start_shot([])
    chroma, _ = colorizer.step(frames[3], cache, 3)
    assert torch.equal(chroma.ab, colorizer.color(frames[3], []).ab)
    # A cut that nobody has noticed: the picture is another one.
    unlike = 100 - frames[2].flip(-1)
    play(colorizer, frames[:3], cache)
    chroma, _ = colorizer.step(unlike, cache, 3)
    assert torch.equal(chroma.ab, colorizer.color(unlike, []).ab)


def test_what_comes_into_sight_has_its_own_color() -> None:
    """Something bright lies over the right half, and is gone: what it hid was not followed."""
    film = pictures(1)[0]
    hidden = film.clone()
    hidden[..., 48:] = 100
    _, chroma = play(restless(kind=Counting), [hidden, film])
    assert (chroma[..., 52:] == 2).all()
    assert (chroma[..., 2:36] - 1.5).abs().mean() < 0.05


def test_a_new_reference_is_heard_at_once() -> None:
    frames = pictures(6)
    colorizer = restless()
    cache = ReferenceCache(colorizer.info.policy)
    play(colorizer, frames[:5], cache)
    cache.add_reference(colorizer.encode(reference(frames[5], 5)))
    chroma, _ = colorizer.step(frames[5], cache, 5)
    assert torch.equal(chroma.ab, colorizer.color(frames[5], cache.permanent).ab)


def test_the_nearest_references_are_taken() -> None:
    entries = [Entry({}, frame) for frame in (0, 10, None, 20, 30, 40)]
    assert [entry.frame for entry in nearest(entries, 22, 3)] == [10, 20, 30]
    assert [entry.frame for entry in nearest(entries, 41, 1)] == [40]
    assert nearest(entries, 0, 6) is entries
    assert [entry.frame for entry in nearest([Entry({}), *entries[:2]], 0, 2)] == [0, 10]
