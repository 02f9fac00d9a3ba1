"""Averaging along the motion: who waits for whom, what the mean is of, and that nothing is smeared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.frame import Chroma, Frame, Link
from streamcolor.media.reader import Reader, open_film
from streamcolor.media.streams import Packet
from streamcolor.pipeline.averaging import Around, Told, Waiting
from streamcolor.pipeline.chain import Coloring
from streamcolor.pipeline.node import Node
from streamcolor.pipeline.painter import Painted, Planes

from films import scene, write_film

SIZE = (24, 32)


def link(shift: float = 0.0, believed: float = 1.0) -> Link:
    """The picture has moved by ``shift`` samples to the right since the frame before."""
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = shift
    belief = np.full(SIZE, believed, np.float32)
    return Link(-flow, flow, belief, belief)


def chroma(a: float | NDArray[np.float32], confidence: float = 0.5, joined: Link | None = None) -> Chroma:
    plane = np.broadcast_to(np.asarray(a, np.float32), SIZE)
    ab = torch.from_numpy(np.stack([plane, 0.5 * plane]))
    return Chroma(ab, torch.full((1, *SIZE), confidence), None, joined)


def square(x: int) -> NDArray[np.float32]:
    plane = np.zeros(SIZE, np.float32)
    plane[8:16, x : x + 6] = 40
    return plane


@given(
    reach=st.integers(0, 4),
    linked=st.lists(st.booleans(), max_size=24),
    cuts=st.lists(st.integers(0, 23), max_size=3),
)
def test_every_frame_comes_out_in_turn_with_its_neighbors_and_no_later_than_promised(
    reach: int, linked: list[bool], cuts: list[int]
) -> None:
    line: Waiting[int] = Waiting(reach)
    shots = [sum(cut <= n for cut in cuts) for n in range(len(linked))]
    frames = [chroma(n, joined=link() if one else None) for n, one in enumerate(linked)]
    run = np.cumsum([not one or (n and shots[n] != shots[n - 1]) for n, one in enumerate(linked)])
    out: list[tuple[int, Around]] = []
    for n, frame in enumerate(frames):
        out += line.push(n, frame, shots[n])
        assert n - len(out) < reach
    out += line.flush()
    assert [n for n, _ in out] == list(range(len(linked)))
    number = {id(frame): n for n, frame in enumerate(frames)}
    for n, around in out:
        together = [k for k in range(n - reach, n + reach + 1) if 0 <= k < len(run) and run[k] == run[n]]
        assert around.here.chroma is frames[n]
        assert [number[id(told.chroma)] for told in around.before] == [k for k in together[::-1] if k < n]
        assert [number[id(told.chroma)] for told in around.after] == [k for k in together if k > n]


def around(frames: Sequence[Chroma], n: int, reach: int = 4) -> Around:
    told = [Told(frame) for frame in frames]
    return Around(told[n], tuple(told[max(n - reach, 0) : n][::-1]), tuple(told[n + 1 : n + 1 + reach]))


def test_one_color_stays_what_it_is() -> None:
    frames = [chroma(17.3, 0.1 + 0.08 * n, link()) for n in range(9)]
    np.testing.assert_allclose(around(frames, 4).averaged(), frames[4].ab.numpy(), atol=1e-4)


def test_without_neighbors_nothing_changes() -> None:
    alone = chroma(square(3), 0.0)
    np.testing.assert_allclose(Around(Told(alone)).averaged(), alone.ab.numpy(), atol=1e-5)


def test_flicker_is_averaged_away() -> None:
    frames = [chroma(20 + 10 * (-1) ** n, joined=link()) for n in range(9)]
    steady = [around(frames, n).averaged()[0].mean() for n in range(4, 6)]
    assert abs(steady[0] - steady[1]) < 0.15 * 20


@pytest.mark.parametrize("pace", [-2, 2])
def test_what_moves_is_followed_both_ways_and_leaves_no_trail(pace: int) -> None:
    start = 3 if pace > 0 else 22
    places = [start + pace * n for n in range(9)]
    frames = [chroma(square(x), joined=link(pace)) for x in places]
    np.testing.assert_allclose(around(frames, 4).averaged()[0], square(places[4]), atol=1e-3)


def test_where_the_motion_is_not_believed_the_frame_has_the_only_say() -> None:
    frames = [chroma(float(n), joined=link(believed=0.0)) for n in range(9)]
    np.testing.assert_allclose(around(frames, 4).averaged()[0], 4, atol=1e-5)


def test_who_is_sure_is_hardly_moved_by_those_who_are_not() -> None:
    frames = [chroma(30.0 if n == 4 else 0.0, 1.0 if n == 4 else 0.4, link()) for n in range(9)]
    assert around(frames, 4).averaged()[0].min() > 24
    assert around(frames, 3).averaged()[0].min() > 20


def test_what_was_carried_here_counts_for_less_than_what_was_found_around() -> None:
    frames = [chroma(30.0 if n == 4 else 10.0, 0.8, link()) for n in range(9)]
    carried = replace(frames[4], own=torch.zeros(1, *SIZE))
    found = around(frames, 4).averaged()[0].mean()
    assert found > 12.5
    assert around([*frames[:4], carried, *frames[5:]], 4).averaged()[0].mean() < 10.2
    # Where no motion leads away from it, it is all there is.
    alone = [replace(frame, link=link(believed=0.0)) for frame in [*frames[:4], carried, *frames[5:]]]
    np.testing.assert_allclose(around(alone, 4).averaged()[0], 30, atol=1e-4)


class Restless:
    """Colors a frame by its number, now more and now less, and says that nothing moves within a shot."""

    info = ColorizerInfo("restless", False, 24, 1, "Apache-2.0", CachePolicy(recent=1), linked=True)

    def __init__(self) -> None:
        self.told: list[bool] = []

    def encode(self, reference: Reference) -> Entry:
        return Entry({}, reference.frame)

    def step(
        self, lightness: torch.Tensor, cache: ReferenceCache, frame: int, following: Sequence[torch.Tensor] = ()
    ) -> tuple[Chroma, Entry]:
        self.told.append(bool(following))
        joined = link() if cache.rolling else None
        return chroma(20 + 10 * (-1) ** frame, joined=joined), Entry({"seen": torch.ones(1)}, frame)


def painted(film: Path, colorizer: Restless | None = None, **settings: Any) -> tuple[list[Painted], list[int]]:
    """What comes out of a step that colors the frames of a film, and how many frames each waited for."""
    node = Node(model="restless", **{"lookahead": 3, "cuts": (6,)} | settings)
    out, late, taken = [], [], -1

    def frames(reader: Reader) -> Iterator[Frame | Packet]:
        nonlocal taken
        for item in reader:
            taken += isinstance(item, Frame)
            yield item

    with open_film(film) as reader:
        step = Coloring(node, reader.info, reader.info, colorizer or Restless(), [], Planes(SIZE, 8))
        for item in step.paint(frames(reader)):
            if isinstance(item, Painted):
                late.append(taken - item.frame.index)
                out.append(item)
    return out, late


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film.mkv", [scene(*SIZE, n, 8) for n in range(12)])


def swing(out: Sequence[Painted]) -> float:
    """How much the color changes from frame to frame within the shots."""
    values = np.array([one.planes[1].mean() for one in out])
    return float(np.abs(np.diff(values))[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]].mean())


def test_a_run_is_steadier_and_its_frames_come_a_little_later(film: Path) -> None:
    plain, at_once = painted(film, stabilize=False)
    steady, late = painted(film)
    assert [one.frame.index for one in steady] == [one.frame.index for one in plain] == list(range(12))
    # One frame is held in any case, for the colorizer to see what comes.
    assert max(at_once) == 1
    assert max(late) == 5
    assert swing(steady) < 0.3 * swing(plain)


def test_who_lets_no_frame_wait_gets_them_at_once(film: Path) -> None:
    out, late = painted(film, lookahead=0)
    assert late == [0] * 12
    assert swing(out) == swing(painted(film, stabilize=False)[0])


def test_a_colorizer_is_told_of_the_next_frame_where_both_will_be_averaged(film: Path) -> None:
    averaged, plain = Restless(), Restless()
    painted(film, averaged)
    painted(film, plain, stabilize=False)
    assert averaged.told == [True] * 5 + [False] + [True] * 5 + [False]
    assert plain.told == [False] * 12
