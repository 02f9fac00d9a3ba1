"""Promises 1 and 2 on generated films: any depth, subsampling, odd size, variable rate, cuts."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamcolor import RunOptions, run

from films import audio_packets, read_luma, scene, write_film, write_keyframe


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    depth=st.sampled_from([8, 10, 12, 16]),
    subsampling=st.sampled_from(["400", "420", "422", "444"]),
    height=st.integers(48, 97),
    width=st.integers(64, 131),
    gaps=st.lists(st.integers(1, 5), min_size=3, max_size=9),
    cut=st.integers(1, 8),
    model=st.sampled_from(["propagator", "flow", "welsh"]),
)
def test_luma_and_time_survive_whatever_the_film(
    depth: int, subsampling: str, height: int, width: int, gaps: list[int], cut: int, model: str
) -> None:
    count = len(gaps)
    luma = [scene(height, width, n, depth, seed=0 if n < cut else 1) for n in range(count)]
    pts = list(accumulate(gaps))
    with tempfile.TemporaryDirectory() as folder:
        film = write_film(
            Path(folder, "film.mkv"), luma, depth=depth, subsampling=subsampling, pts=pts, time_base=Fraction(1, 50)
        )
        key = write_keyframe(Path(folder, "key.png"), luma[0], depth)
        output = Path(folder, "out.mkv")
        run(RunOptions(film=film, references=[key], output=output, codec="ffv1", model=model, threads=1))
        before, times_before = read_luma(film)
        after, times_after = read_luma(output)
    assert len(after) == count
    assert times_after == times_before
    for mine, theirs, original in zip(after, before, luma, strict=True):
        np.testing.assert_array_equal(theirs, original)
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_and_time_survive_the_container(tmp_path: Path, suffix: str) -> None:
    luma = [scene(64, 96, n, 8) for n in range(30)]
    pts = list(accumulate([3 if n % 5 == 0 else 2 for n in range(30)]))
    film = write_film(tmp_path / f"film{suffix}", luma, codec="libx264", pts=pts, time_base=Fraction(1, 50), sound=True)
    key = write_keyframe(tmp_path / "key.png", luma[0])
    output = tmp_path / f"out{suffix}"
    report = run(RunOptions(film=film, references=[key], output=output, model="welsh", threads=1))
    assert report.frames == 30
    assert read_luma(output)[1] == read_luma(film)[1]
    assert audio_packets(output) == audio_packets(film)
    assert len(audio_packets(film)) > 10


def test_color_does_arrive(tmp_path: Path) -> None:
    """The other tests would pass on a film that was merely copied."""
    import av

    luma = [scene(64, 96, n, 8) for n in range(6)]
    film = write_film(tmp_path / "film.mkv", luma)
    key = write_keyframe(tmp_path / "key.png", luma[0])
    for model in ("propagator", "flow", "welsh"):
        output = tmp_path / f"{model}.mkv"
        run(RunOptions(film=film, references=[key], output=output, codec="ffv1", model=model, threads=1))
        with av.open(str(output)) as container:
            frames = [f.to_ndarray(format="yuv444p").astype(int) for f in container.decode(video=0)]
        above, below = frames[-1][1:, :24], frames[-1][1:, 40:]
        assert above[1].mean() > 128 + 4 > below[1].mean(), model
        assert below[0].mean() > 128 + 4 > above[0].mean(), model
