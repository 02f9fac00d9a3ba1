from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from media.small_films import MakeFilm, contents, ffmpeg, recode

from streamcolor.media.streams import copy_metadata


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=32x24", "-frames:v", "1", str(path))
    return path


def _with_attachment(film: Path, picture: Path) -> Path:
    path = film.with_name("covered.mkv")
    told = ("-metadata:s:t", "mimetype=image/png", "-metadata:s:t", "filename=poster.png")
    ffmpeg("-i", str(film), "-attach", str(picture), *told, "-c", "copy", str(path))
    return path


def _cover(film: Path) -> tuple[str, str, bytes]:
    """File name, media type and content of the one cover of a Matroska file."""
    with av.open(str(film)) as container:
        (cover,) = (
            stream for stream in container.streams.video if stream.disposition & av.stream.Disposition.attached_pic
        )
        return cover.metadata["filename"], cover.metadata["mimetype"], bytes(next(container.demux(cover)))


def test_a_cover_of_matroska_stays_one(make_film: MakeFilm, picture: Path) -> None:
    film = _with_attachment(make_film("film.mkv", "-c:v", "ffv1", "-c:a", "aac", sound=True), picture)
    out = film.with_name("out.mkv")
    assert recode(film, out).left_out == []
    assert _cover(out) == ("poster.png", "image/png", picture.read_bytes())
    assert len(contents(out).frames) == 10


@pytest.mark.parametrize(("codec", "name"), [("png", "cover.png"), ("mjpeg", "cover.jpg")])
def test_a_cover_of_mp4_becomes_one_of_matroska(make_film: MakeFilm, picture: Path, codec: str, name: str) -> None:
    plain = make_film("plain.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    film, out = plain.with_name("film.mp4"), plain.with_name("out.mkv")
    covered = ("-map", "0", "-map", "1", "-c:v:0", "copy", "-c:v:1", codec, "-disposition:v:1", "attached_pic")
    ffmpeg("-i", str(plain), "-i", str(picture), *covered, str(film))
    assert recode(film, out).left_out == []
    with av.open(str(film)) as container:
        content = bytes(next(container.demux(container.streams.video[1])))
    assert _cover(out) == (name, "image/png" if codec == "png" else "image/jpeg", content)


def test_a_cover_that_comes_through_a_pipe_is_named(make_film: MakeFilm, picture: Path, tmp_path: Path) -> None:
    film = _with_attachment(make_film("film.mkv", "-c:v", "ffv1"), picture)
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from media.small_films import recode; print(recode('-', sys.argv[1]).left_out)"
    )
    with film.open("rb") as pipe:
        command = [sys.executable, "-c", code, str(tmp_path / "out.mkv")]
        done = subprocess.run(command, stdin=pipe, capture_output=True, text=True, check=True)
    assert "video stream 1 (png) is left out: .mkv takes a cover from a file only, PNG or JPEG" in done.stdout


def test_chapters_move_with_the_film(make_film: MakeFilm, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=100\nEND=400\ntitle=One\n")
    film = make_film("film.mkv", "-i", str(notes), "-map_chapters", "1", "-c:v", "ffv1")
    with av.open(str(film)) as source, av.open(str(tmp_path / "out.mkv"), "w") as target:
        copy_metadata(source, target, Fraction(3, 2))
        (chapter,) = target.chapters()
    seconds = (chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"])
    assert seconds == (Fraction("1.6"), Fraction("1.9"))
