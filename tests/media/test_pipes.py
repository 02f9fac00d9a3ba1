"""Sample aspect through everything that is written, and streams that cannot seek."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media.small_films import MakeFilm, contents, raw_planes, recode

from streamcolor.media import nut
from streamcolor.media.codecs import ENCODERS
from streamcolor.media.nut import with_sample_aspect
from streamcolor.media.pipes import PIPE_FORMATS, PipeTarget

ASPECT = Fraction(16, 15)
COMBINATIONS = [(encoder.name, suffix) for encoder in ENCODERS.values() for suffix in encoder.containers]


def told_aspect(path: Path) -> str:
    """Sample aspect as Debian's ffprobe reads it."""
    entries = ["-show_entries", "stream=sample_aspect_ratio", "-of", "csv=p=0"]
    return subprocess.check_output(["ffprobe", "-v", "error", *entries, str(path)], text=True).strip()


def pipe(film: Path, form: str, piped: Path) -> None:
    descriptor = os.open(piped, os.O_WRONLY | os.O_CREAT)
    recode(film, "-", pipe=PipeTarget(PIPE_FORMATS[form], descriptor))
    os.close(descriptor)


@pytest.mark.parametrize(("codec", "suffix"), COMBINATIONS)
def test_sample_aspect_16_15_is_kept(make_film: MakeFilm, codec: str, suffix: str) -> None:
    film = make_film(
        "film.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-vf", "setsar=16/15", size="256x128", seconds=0.12
    )
    out = film.with_name(f"out{suffix}")
    recode(film, out, codec=codec)
    assert told_aspect(out) == "16:15"
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == ASPECT
        assert len(list(container.decode(stream))) == 3


@pytest.mark.parametrize("form", PIPE_FORMATS)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le", "yuv422p12le", "yuv444p16le"])
def test_what_is_piped_is_read_bit_for_bit(make_film: MakeFilm, form: str, pixel_format: str) -> None:
    film = make_film(
        "film.mkv", "-c:v", "ffv1", "-strict", "-1", "-pix_fmt", pixel_format, "-vf", "setsar=64/45", size="67x49",
        seconds=0.12, sound=True,
    )  # fmt: skip
    piped = film.with_name("piped")
    pipe(film, form, piped)
    with av.open(str(piped)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)
    luma = np.concatenate([frame.luma.ravel() for frame in contents(film).frames])
    planes = np.frombuffer(raw_planes(piped, pixel_format), luma.dtype).reshape(3, -1)
    np.testing.assert_array_equal(planes[:, : 67 * 49].ravel(), luma)


def test_checksums_of_a_patched_nut_are_right(make_film: MakeFilm) -> None:
    """Also when numbers need more bytes, and beside sound."""
    film = make_film("film.nut", "-c:v", "rawvideo", "-vf", "setsar=1000/1001:max=2000", sound=True)
    piped = film.with_name("piped.nut")
    pipe(film, "nut", piped)
    assert told_aspect(piped).split()[0] == "1000:1001"
    command = ["ffmpeg", "-v", "warning", "-err_detect", "crccheck+explode", "-i", str(piped), "-f", "null", "-"]
    checked = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert checked.stderr == ""
    # A header that is repeated in the stream comes without the identity of the file; all else passes.
    data = piped.read_bytes()
    header = data[len(b"nut/multimedia container\0") :]
    assert with_sample_aspect(header, ASPECT) == with_sample_aspect(data, ASPECT)[len(data) - len(header) :] != header
    assert with_sample_aspect(data[100:], ASPECT) == data[100:]


def test_a_long_header_of_nut_keeps_the_checksum_of_its_head(make_film: MakeFilm) -> None:
    film = make_film("film.nut", "-c:v", "rawvideo", "-pix_fmt", "gray")
    data = film.read_bytes()
    start = data.index(nut._STREAM)
    length, at = nut._value(data, start + 8)
    fields = data[at : at + length - 4]
    # Width 64 and height 48 come after the length of the codec's own data.
    before = fields.index(bytes([0, 64, 48]))
    fields = fields[:before] + nut._coded(5000) + bytes(5000) + fields[before + 1 :]
    long = film.with_name("long.nut")
    long.write_bytes(with_sample_aspect(data[:start] + nut._packet(nut._STREAM, fields) + data[at + length :], ASPECT))
    assert told_aspect(long) == "16:15"
    command = ["ffmpeg", "-v", "warning", "-err_detect", "crccheck+explode", "-i", str(long), "-f", "null", "-"]
    assert subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr == ""
