"""FFmpeg's filters around the color: ``run --vf``, ``--mix``, ``--enable`` and ``--sat``."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from streamcolor import RunOptions, run
from streamcolor.errors import CallError, InputError
from streamcolor.media import FilmInfo, Reader
from streamcolor.pipeline.layout import read_steps
from streamcolor.pipeline.node import Node

from films import read_luma, scene, write_film, write_keyframe

COUNT = 10


@pytest.fixture
def film(tmp_path: Path) -> Path:
    pts = [0, *accumulate((2, 1, 2, 3, 1, 2, 2, 1, 2))]
    luma = [scene(64, 96, n, 8) for n in range(COUNT)]
    return write_film(tmp_path / "film.mkv", luma, pts=pts, time_base=Fraction(1, 50))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_keyframe(tmp_path / "key.png", scene(64, 96, 0, 8))


def colored(film: Path, key: Path, **options: Any) -> Path:
    output = film.with_name("out.mkv")
    chosen = {"model": "welsh", "codec": "ffv1", "overwrite": True, "lookahead": 2} | options
    run(RunOptions(film=film, references=[key], output=output, threads=1, **chosen))
    return output


def read_chroma(film: Path) -> list[NDArray[np.int32]]:
    """Cb and Cr of every picture, (2, h, w)."""
    planes = []
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
            rows = [np.frombuffer(p, kind).reshape(p.height, -1)[:, : p.width] for p in frame.planes[1:]]
            planes.append(np.stack(rows).astype(np.int32))
    return planes


def read(film: Path) -> tuple[Any, Any, FilmInfo]:
    with Reader(film) as reader:
        return read_luma(film), read_chroma(film), reader.info


def test_a_chain_of_the_color_alone_changes_nothing(film: Path, key: Path) -> None:
    (luma, times), chroma, info = read(colored(film, key))
    for vf in ("streamcolor", "null,streamcolor", "null,streamcolor,null"):
        (chained_luma, chained_times), chained_chroma, chained_info = read(colored(film, key, vf=vf))
        assert chained_times == times
        assert chained_info == info
        np.testing.assert_array_equal(chained_luma, luma)
        np.testing.assert_array_equal(chained_chroma, chroma)


def test_luma_passes_a_chain_at_its_own_depth(tmp_path: Path, key: Path) -> None:
    luma = [scene(64, 96, n, 12) for n in range(4)]
    film = write_film(tmp_path / "deep.mkv", luma, depth=12, subsampling="422")
    out = colored(film, key, vf="null,streamcolor,streamcolor=model=flow:mix=0.5,null")
    with Reader(out) as reader:
        assert (reader.info.depth, reader.info.subsampling) == (12, "422")
    for mine, original in zip(read_luma(out)[0], luma, strict=True):
        np.testing.assert_array_equal(mine, original)


def test_fields_become_frames_at_the_half_steps(film: Path, key: Path) -> None:
    """yadif's send_field doubles the frames; their times are exact although the rate varies."""
    out = colored(film, key, vf="yadif=send_field,streamcolor")
    before, times = read_luma(film)[1], read_luma(out)[1]
    assert len(times) == 2 * COUNT
    assert times[::2] == before
    assert times[1:-1:2] == [(a + b) / 2 for a, b in pairwise(before)]
    assert all(np.ptp(chroma) > 10 for chroma in read_chroma(out))


def test_frames_at_another_rate(film: Path, key: Path) -> None:
    out = colored(film, key, vf="streamcolor,fps=10")
    times = read_luma(out)[1]
    assert (
        times == [Fraction(n, 10) for n in range(len(times))] and len(times) == 3
    )  # as many as the ffmpeg program makes
    with Reader(out) as reader:
        assert reader.info.rate == 10


def test_size_aspect_and_format_behind_the_color(film: Path, key: Path) -> None:
    out = colored(film, key, vf="crop=96:48,setsar=16/15,streamcolor,scale=192:-2,format=yuv444p10", fit="crop")
    with Reader(out) as reader:
        assert (reader.info.width, reader.info.height) == (192, 96)
        assert (reader.info.depth, reader.info.subsampling) == (10, "444")
        assert reader.info.sample_aspect == Fraction(16, 15)
    assert all(np.ptp(chroma) > 20 for chroma in read_chroma(out))


def test_enable_colors_from_here_to_there(film: Path, key: Path) -> None:
    for options in ({"enable": "between(t,0.1,0.22)"}, {"vf": "streamcolor=enable='between(t,0.1,0.22)'"}):
        part = read_chroma(colored(film, key, **options))
        inside = [Fraction(1, 10) <= time <= Fraction(22, 100) for time in read_luma(film)[1]]
        assert 2 <= sum(inside) <= 6
        assert [bool(np.ptp(chroma) > 10) for chroma in part] == inside
        assert all((chroma == 128).all() for chroma, within in zip(part, inside, strict=True) if not within)


def test_two_models_are_blended(film: Path, key: Path) -> None:
    one, other = read_chroma(colored(film, key, model="welsh")), read_chroma(colored(film, key, model="flow"))
    blended = read_chroma(colored(film, key, vf="streamcolor,streamcolor=model=flow:mix=0.25"))
    assert max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) > 8
    for a, b, mine in zip(one, other, blended, strict=True):
        assert np.abs(mine - (0.75 * a + 0.25 * b)).max() <= 0.5


def test_mix_keeps_the_color_that_was_there(tmp_path: Path, film: Path, key: Path) -> None:
    once = colored(film, key).rename(tmp_path / "once.mkv")
    nothing = read_chroma(colored(once, key, model="flow", mix=0))
    for mine, own in zip(nothing, read_chroma(once), strict=True):
        np.testing.assert_array_equal(mine, own)


def test_saturation(film: Path, key: Path) -> None:
    plain, strong, none = (read_chroma(colored(film, key, sat=sat)) for sat in (1, 1.5, 0))
    for a, b, grey in zip(plain, strong, none, strict=True):
        away, farther = np.abs(a - 128).mean(), np.abs(b - 128).mean()
        assert 1.2 * away < farther < 1.6 * away
        assert (grey == 128).all()


@pytest.mark.parametrize(
    ("vf", "kind", "says"),
    [
        ("yadif", CallError, "put streamcolor among the filters"),
        ("nope,streamcolor", CallError, "no filter 'nope'"),
        ("yadif=zzz=1,streamcolor", CallError, "yadif refuses its options"),
        ("split,streamcolor", CallError, "one input and one output"),
        ("streamcolor;null", CallError, "without branches"),
        ("streamcolor=sat=much", CallError, "sat=much in streamcolor is not a number"),
        ("streamcolor=ref=key.png:format=nut", CallError, "no option 'format'"),
        ("streamcolor=enable='t>1'", CallError, "left over"),
        ("streamcolor=mix=2", CallError, "mix 2 is out of range"),
        ("streamcolor=ref=gone.png", InputError, "gone.png"),
        ("select=0,streamcolor", CallError, "let none of the first"),
        ("aresample,streamcolor", CallError, "aresample"),
    ],
)
def test_wrong_chains_are_refused_before_any_file_is_made(
    vf: str, kind: type[Exception], says: str, film: Path, key: Path
) -> None:
    before = sorted(film.parent.iterdir())
    with pytest.raises(kind) as error:
        colored(film, key, vf=vf)
    assert says in str(error.value)
    assert sorted(film.parent.iterdir()) == before


def test_what_streamcolor_does_not_say_is_taken_from_the_run() -> None:
    node = Node(references=("a.png",), model="flow", size=100)
    steps = read_steps("streamcolor,hue=h=9,null,streamcolor=ref=b.png:ref=c.png:size=64", node)
    assert steps[0] == node
    assert [call.name for call in steps[1]] == ["hue", "null"]  # type: ignore[union-attr]
    assert steps[2] == Node(references=("b.png", "c.png"), model="flow", size=64)
