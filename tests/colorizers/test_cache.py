"""The cache's rules: what stays, what goes first, and that a snapshot holds everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.errors import InputError


def entry(frame: int | None, size: int = 10) -> Entry:
    return Entry({"x": torch.full((size,), float(frame or 0))}, frame)


def rolling(cache: ReferenceCache) -> list[int | None]:
    return [e.frame for e in cache.rolling]


def test_the_newest_stay_and_of_the_older_every_fifth() -> None:
    cache = ReferenceCache(CachePolicy(recent=2, every=5, older=2))
    for frame in range(23):
        cache.remember(entry(frame))
    assert rolling(cache) == [15, 20, 21, 22]


def test_references_are_never_evicted() -> None:
    cache = ReferenceCache(CachePolicy(recent=3), cap=400)
    cache.start_shot([entry(None, 50), entry(7, 50)])
    for frame in range(50):
        cache.remember(entry(frame, 20))
    assert [e.frame for e in cache.permanent] == [None, 7]
    assert rolling(cache) == [49]  # the references alone fill the cap; the newest frame stays


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(100, 4000))
@settings(max_examples=50, deadline=None)
def test_the_cap_holds_unless_one_frame_alone_exceeds_it(sizes: list[int], cap: int) -> None:
    cache = ReferenceCache(CachePolicy(recent=5, every=2, older=9), cap=cap)
    for frame, size in enumerate(sizes):
        cache.remember(entry(frame, size))
        assert cache.nbytes <= cap or len(cache.rolling) == 1
        assert cache.rolling[-1].frame == frame


def test_a_new_shot_forgets() -> None:
    cache = ReferenceCache(CachePolicy(recent=2))
    cache.start_shot([entry(None)])
    cache.remember(entry(0))
    cache.start_shot([entry(5)])
    assert [e.frame for e in cache.permanent] == [5] and cache.rolling == ()
    cache.start_shot([])
    assert cache.permanent == () and cache.rolling == () and cache.nbytes == 0


def test_a_snapshot_holds_everything_and_equal_caches_give_equal_bytes() -> None:
    def build() -> ReferenceCache:
        shared = torch.arange(6.0).view(2, 3)
        cache = ReferenceCache(CachePolicy(2, 3, 4), cap=12345)
        cache.start_shot([Entry({"a": shared, "b": shared}, None), Entry({"n": torch.tensor(3)}, 9)])
        for frame in range(7):
            cache.remember(Entry({"t": shared.t(), "u": torch.ones(2, dtype=torch.uint8)}, frame))
        return cache

    blob = build().snapshot()
    assert blob == build().snapshot()
    back = ReferenceCache.restore(blob)
    assert (back.policy, back.cap) == (CachePolicy(2, 3, 4), 12345)
    assert [e.frame for e in back.permanent] == [None, 9] and rolling(back) == rolling(build())
    for mine, theirs in zip((*back.permanent, *back.rolling), (*build().permanent, *build().rolling), strict=True):
        assert mine.tensors.keys() == theirs.tensors.keys()
        assert all(torch.equal(mine.tensors[k], theirs.tensors[k]) for k in mine.tensors)
    assert back.snapshot() == blob


@pytest.mark.parametrize("blob", [b"", b"nonsense", b"\x08" + b"\0" * 7 + b"{}      ", b"\xff" * 64])
def test_what_is_no_snapshot_is_refused(blob: bytes) -> None:
    with pytest.raises(InputError, match="not a cache snapshot"):
        ReferenceCache.restore(blob)


def test_a_damaged_snapshot_is_refused() -> None:
    cache = ReferenceCache()
    cache.remember(entry(1))
    with pytest.raises(InputError):
        ReferenceCache.restore(cache.snapshot()[:-5])


def test_a_rolling_entry_needs_its_number() -> None:
    with pytest.raises(ValueError, match="number of its frame"):
        ReferenceCache().remember(entry(None))
