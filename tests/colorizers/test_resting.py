"""What ``propagator`` need not do in every frame: look with its network, look for references that are out of sight."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F

from streamcolor.colorizers.cache import Entry, ReferenceCache
from streamcolor.colorizers.propagator import Propagator
from streamcolor.colorizers.tracks import Float32, Tracks
from streamcolor.frame import Chroma

from scenes import SIZE, pictures, random_colorizer, reference


@dataclass(frozen=True)
class Played:
    chroma: Chroma
    looked: bool


def played(
    colorizer: Propagator, frames: list[torch.Tensor], cache: ReferenceCache, first: int = 0, *, ahead: int = 1
) -> list[Played]:
    """Frames one after the other, each with so many of those after it in sight."""
    out = []
    for number, lightness in enumerate(frames[first:], first):
        chroma, entry = colorizer.step(lightness, cache, number, frames[number + 1 :][:ahead])
        assert entry is not None
        cache.remember(entry)
        out.append(Played(chroma, looked="way" not in entry.tensors))
    return out


def test_of_frames_that_are_averaged_the_network_looks_at_every_second() -> None:
    colorizer = random_colorizer()
    frames = pictures(7)
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frames[0]))])
    out = played(colorizer, frames, cache)
    # The last one has nothing after it that could speak for it.
    assert [one.looked for one in out] == [True, False, True, False, True, False, True]
    for one in out:
        assert (one.chroma.own is None) == one.looked
        if one.chroma.own is not None:
            assert one.chroma.own.shape == one.chroma.confidence.shape
            assert one.chroma.own.min() >= 0 and one.chroma.own.max() <= 1
    again = ReferenceCache(colorizer.info.policy)
    again.start_shot([colorizer.encode(reference(frames[0]))])
    alone = colorizer.step(frames[0], again, 0)[0]
    torch.testing.assert_close(out[0].chroma.ab, alone.ab, atol=0, rtol=0)


def test_the_network_looks_where_flow_has_lost_too_much() -> None:
    """Something comes out of nowhere, covers half of the fourth picture, and stays."""
    colorizer = random_colorizer()
    frames = pictures(6)
    covered = torch.rand(1, 1, SIZE[0], SIZE[1] // 2, generator=torch.Generator().manual_seed(1)) * 100
    for frame in frames[3:]:
        frame[..., : SIZE[1] // 2] = covered
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frames[0]))])
    assert [one.looked for one in played(colorizer, frames, cache)] == [True, False, True, True, False, True]


@pytest.mark.parametrize("far", [1, 3])
def test_flow_that_was_found_ahead_makes_no_difference(far: int) -> None:
    frames = pictures(6)
    colorizer = random_colorizer()
    caches = [ReferenceCache(colorizer.info.policy) for _ in range(2)]
    for cache in caches:
        cache.start_shot([colorizer.encode(reference(frames[0]))])
    ahead = played(colorizer, frames, caches[0], ahead=far)
    for number, one in enumerate(ahead):
        # A colorizer that has just been made has prepared nothing.
        chroma, entry = random_colorizer().step(frames[number], caches[1], number, frames[number + 1 :][:1])
        assert entry is not None
        caches[1].remember(entry)
        torch.testing.assert_close(chroma.ab, one.chroma.ab, atol=0, rtol=0)
        torch.testing.assert_close(chroma.confidence, one.chroma.confidence, atol=0, rtol=0)


def test_the_network_looks_at_frames_that_are_references_or_get_one() -> None:
    colorizer = random_colorizer()
    frames = pictures(6)
    cache = ReferenceCache(colorizer.info.policy)
    one, another = reference(frames[0], 0), reference(frames[3], 3)
    cache.start_shot([colorizer.encode(one), colorizer.encode(another)])
    out = played(colorizer, frames, cache, ahead=4)
    assert [one.looked for one in out] == [True, False, True, True, False, True]
    # Where the frame is a reference it has the reference's colors, whatever lies around it.
    late = ReferenceCache(colorizer.info.policy)
    late.start_shot([colorizer.encode(one)])
    assert [one.looked for one in played(colorizer, frames[:1], late)] == [True]
    late.add_reference(colorizer.encode(reference(frames[5])))
    assert [one.looked for one in played(colorizer, frames, late, 1)] == [True, False, True, False, True]


def test_a_run_goes_on_from_a_snapshot_that_was_taken_at_a_frame_nobody_looked_at() -> None:
    colorizer = random_colorizer()
    frames = pictures(6)
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(reference(frames[0]))])
    played(colorizer, frames[:3], cache)
    _, entry = colorizer.step(frames[3], cache, 3, frames[4:])
    assert entry is not None and "way" in entry.tensors
    cache.remember(entry)
    moved = ReferenceCache.restore(cache.snapshot())
    for one, other in zip(played(colorizer, frames, cache, 4), played(colorizer, frames, moved, 4), strict=True):
        torch.testing.assert_close(one.chroma.ab, other.chroma.ab, atol=0, rtol=0)


def test_a_still_picture_keeps_its_colors_where_nobody_looks() -> None:
    """Flow alone colors these frames: what it has followed from the reference is what the reference shows."""
    colorizer = random_colorizer()
    (picture,) = pictures(1)
    guide = reference(picture)
    cache = ReferenceCache(colorizer.info.policy)
    cache.start_shot([colorizer.encode(replace(guide, lightness=picture + 0.5))])
    _, rested, *_ = played(colorizer, [picture] * 4, cache)
    assert not rested.looked
    assert (rested.chroma.ab - F.avg_pool2d(guide.ab, 2)[0]).abs().mean() < 1


@pytest.mark.parametrize("patience", [1, 4])
def test_a_reference_that_is_nowhere_to_be_seen_is_looked_for_less_and_less(
    patience: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    anchor = Tracks._anchor

    def counted(tracks: Tracks, number: int, here: Float32, entry: Entry, start: Float32 | None) -> None:
        tried.append(frame)
        anchor(tracks, number, here, entry, start)

    monkeypatch.setattr(Tracks, "_anchor", counted)
    # Hardly a place in the frames is as light.
    entry = random_colorizer().encode(reference(torch.full((1, 1, *SIZE), 100.0)))
    held = None
    for frame, lightness in enumerate(pictures(8)):
        here = lightness[0, 0].numpy()
        held = Tracks.follow(here, held, [entry], frame, fine=True, patience=patience).tensors(here)
    # The first frame is anchored in any case, and so is every eighth.
    assert tried == ([*range(8)] if patience == 1 else [0, 1, 3, 7])


@pytest.mark.parametrize("most", [None, 1])
def test_of_references_that_are_out_of_sight_the_nearest_in_time_is_looked_for(
    most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[list[int]] = []
    anchor = Tracks._anchor

    def counted(tracks: Tracks, number: int, here: Float32, entry: Entry, start: Float32 | None) -> None:
        tried[-1].append(number)
        anchor(tracks, number, here, entry, start)

    monkeypatch.setattr(Tracks, "_anchor", counted)
    colorizer = random_colorizer()
    # Hardly a place in the frames is as light or as dark.
    guides = [
        colorizer.encode(reference(torch.full((1, 1, *SIZE), light), at)) for light, at in ((100.0, -20), (0.0, 9))
    ]
    held = None
    for frame, lightness in enumerate(pictures(6)):
        tried.append([])
        here = lightness[0, 0].numpy()
        held = Tracks.follow(here, held, guides, frame, fine=True, most=most).tensors(here)
    # Both are new in the first frame. In the fifth the farther one is 24 frames old, and yet it is not its turn.
    assert [sorted(numbers) for numbers in tried] == [[0, 1], *([[0, 1]] * 5 if most is None else [[1]] * 5)]
