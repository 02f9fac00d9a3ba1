from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from media.small_films import Contents, MakeFilm, contents, ffmpeg, raw_planes, recode

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2")
# The clock of MPEG-TS has 33 bits at 90 kHz: it starts anew after 95443.7 s, in the middle of this film.
WRAPPED = (*H264, "-c:a", "mp2", "-output_ts_offset", "95442.8", "-muxdelay", "0")


def _starts(film: Contents) -> list[Fraction]:
    return [film.frames[0].time, *(packet.time for packet in film.packets[:1])]


@pytest.mark.parametrize("sound", [True, False])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".nut"])
def test_a_film_that_starts_before_0_is_moved_as_a_whole(make_film: MakeFilm, suffix: str, sound: bool) -> None:
    film = make_film("wrapped.ts", *WRAPPED, sound=sound, seconds=1.0)
    out = film.with_name(f"out{suffix}")
    notice = recode(film, out).notice
    before, after = contents(film), contents(out)
    shift = -min(_starts(before))
    assert shift > Fraction(1, 2)
    assert (
        notice == f"the film starts before 0, where {suffix} has no pictures: all of it is {float(shift):.3f} s later"
    )
    # Half a unit of the container for the shift, and as much for the time stamp: milliseconds, or samples of the sound.
    milliseconds, samples = Fraction(1, 1000), Fraction(1, 44100)
    for old, new in zip(before.frames, after.frames, strict=True):
        assert abs(new.time - old.time - shift) <= (milliseconds if suffix == ".mkv" else 0)
    for sent, came in zip(before.packets, after.packets, strict=True):
        assert came.content == sent.content
        assert abs(came.time - sent.time - shift) <= (milliseconds if suffix == ".mkv" else samples)
    assert min(_starts(after)) == 0
    # An edit list in MP4 hides pictures from players that our reader would deliver.
    assert len(raw_planes(out, "gray")) == 25 * 64 * 48


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".nut"])
def test_padding_of_the_sound_moves_no_picture(make_film: MakeFilm, suffix: str) -> None:
    film = make_film("film.mp4", *H264, "-c:a", "aac", sound=True)
    out = film.with_name(f"out{suffix}")
    writer = recode(film, out)
    before, after = contents(film), contents(out)
    assert before.packets[0].time < 0 == before.frames[0].time
    assert (writer.notice, writer.left_out) == (None, [])
    tolerance = Fraction(1, 2000) if suffix == ".mkv" else 0
    for old, new in zip(before.frames, after.frames, strict=True):
        assert abs(new.time - old.time) <= tolerance
    # NUT has no times before 0.
    kept = [packet for packet in before.packets if packet.time >= 0 or suffix != ".nut"]
    assert len(kept) == len(before.packets) - (suffix == ".nut")
    for sent, came in zip(kept, after.packets, strict=True):
        assert came.content == sent.content
        assert abs(came.time - sent.time) <= tolerance


def test_sound_that_starts_long_before_0_is_named_in_nut(make_film: MakeFilm) -> None:
    film = make_film("film.ts", "-vf", "setpts=PTS+1/TB", *WRAPPED, sound=True, seconds=2.0)
    out = film.with_name("out.nut")
    writer = recode(film, out)
    before, after = contents(film), contents(out)
    assert before.packets[0].time < Fraction(-1, 2) < 0 <= before.frames[0].time
    assert writer.notice is None
    assert writer.left_out == ["audio stream 1 (mp2) is left out before 0: the container has no such times"]
    assert [frame.time for frame in after.frames] == [frame.time for frame in before.frames]
    kept = [packet.content for packet in before.packets if packet.time >= 0]
    assert [packet.content for packet in after.packets] == kept


def test_b_frames_of_a_second_picture_move_nothing_in_nut(make_film: MakeFilm, tmp_path: Path) -> None:
    film, out = tmp_path / "two.mp4", tmp_path / "out.nut"
    one = make_film("one.mp4", *H264)
    ffmpeg("-i", str(one), "-i", str(one), "-map", "0", "-map", "1", "-c", "copy", str(film))
    said = "video stream 1 (h264) is left out: its B-frames need times before 0, which .nut has not"
    assert recode(film, out).left_out == [said]
    assert [frame.time for frame in contents(out).frames] == [frame.time for frame in contents(film).frames]
