from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from media.small_films import MakeFilm, recode

from streamcolor.frame import Frame
from streamcolor.media import open_film

_BOTTOM_FIRST = ("-vf", "setfield=bff", "-flags", "+ildct+ilme", "-pix_fmt", "yuv420p")


def fields(film: Path) -> list[tuple[bool, bool]]:
    """(interlaced, top field first) of every frame as the ffprobe program has it."""
    words = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "frame=interlaced_frame,top_field_first",
    ]
    lines = subprocess.run([*words, "-of", "csv=p=0", str(film)], check=True, capture_output=True, text=True).stdout
    return [(line[0] == "1", line[2] == "1") for line in lines.split()]


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("dv.mov", ("-c:v", "dvvideo", "-pix_fmt", "yuv411p", "-r", "30000/1001"), "720x480"),
        ("dv.avi", ("-c:v", "dvvideo", "-pix_fmt", "yuv420p", "-r", "25"), "720x576"),
        ("film.mpg", (*_BOTTOM_FIRST, "-c:v", "mpeg2video"), "64x48"),
        ("film.h264", (*_BOTTOM_FIRST, "-c:v", "libx264"), "64x48"),
    ],
)
def test_bottom_fields_that_come_first_stay_first(
    make_film: MakeFilm, tmp_path: Path, name: str, options: tuple[str, ...], size: str
) -> None:
    film = make_film(name, *options, size=size, seconds=0.2)
    expected = fields(film)
    assert set(expected) == {(True, False)}
    with open_film(film) as reader:
        assert (reader.info.interlaced, reader.info.top_field_first) == (True, False)
        assert [(item.interlaced, item.top_field_first) for item in reader if isinstance(item, Frame)] == expected
    for colored in ("colored.mov", "colored.mkv"):
        recode(film, tmp_path / colored)
        assert fields(tmp_path / colored) == expected


def test_fields_may_change_places_from_frame_to_frame(make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film("film.mpg", "-vf", "telecine", "-flags", "+ildct+ilme", "-c:v", "mpeg2video", seconds=1)
    expected = fields(film)
    assert {(True, False), (True, True)} <= set(expected)
    with open_film(film) as reader:
        assert [(item.interlaced, item.top_field_first) for item in reader if isinstance(item, Frame)] == expected
    recode(film, tmp_path / "colored.mkv", codec="ffv1")
    assert fields(tmp_path / "colored.mkv") == expected
