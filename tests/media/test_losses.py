from __future__ import annotations

import gc
import re
from pathlib import Path

import av
import pytest
from media.small_films import MakeFilm, ffmpeg

from streamcolor.frame import Frame
from streamcolor.media import open_film
from streamcolor.media.losses import held_sentences

_X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10")


def told(film: Path) -> tuple[int, int, list[str]]:
    """Frames that are delivered, the number of those that are damaged or lost, and what people are told."""
    with open_film(film, threads=1) as reader:
        frames = sum(isinstance(item, Frame) for item in reader)
        return frames, reader.damaged, reader.losses


def cut(film: Path, share: float) -> Path:
    data = film.read_bytes()
    film.write_bytes(data[: round(len(data) * share)])
    return film


def without_duration_tags(film: Path) -> Path:
    """Matroska without statistics: only the file has a duration, that of its longest stream."""
    data = film.read_bytes()
    assert b"DURATION" in data
    film.write_bytes(data.replace(b"DURATION", b"SOMETHIN"))
    return film


@pytest.mark.parametrize("tags", [True, False])
@pytest.mark.parametrize("sound", [True, False])
def test_a_matroska_film_that_is_cut_off_says_where(make_film: MakeFilm, tags: bool, sound: bool) -> None:
    film = make_film("film.mkv", *_X264, seconds=2, sound=sound)
    if not tags:
        without_duration_tags(film)
    frames, _, sentences = told(cut(film, 0.5))
    assert frames < 38
    assert re.fullmatch(rf"the film ends at {frames / 25:.2f} s, its header says 2\.0\d s", sentences[-1])


def test_an_avi_that_is_cut_off_says_where(make_film: MakeFilm) -> None:
    film = cut(make_film("film.avi", "-c:v", "ffv1", seconds=2), 0.5)
    frames, _, sentences = told(film)
    assert 20 <= frames < 38
    assert sentences[-1] == f"the film ends at {frames / 25:.2f} s, its header says 2.00 s"


def test_an_mp4_that_is_cut_off_says_where_and_what_is_held_and_lost(make_film: MakeFilm) -> None:
    film = cut(make_film("film.mp4", *_X264, "-bf", "0", "-movflags", "+faststart", seconds=2), 0.5)
    frames, damaged, sentences = told(film)
    lost = 50 - frames
    assert damaged == lost + 1
    assert sentences[1:] == [
        f"{lost} frames are lost, with nothing in their place",
        f"the film ends at {frames / 25:.2f} s, its header says 2.00 s",
    ]
    assert sentences[0] in (
        "1 damaged frame was held from the one before it",
        "1 frame decoded with errors and is colored as decoded",
    )


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_that_the_demuxer_does_not_find_are_lost(make_film: MakeFilm, codec: str) -> None:
    film = make_film("film.mkv", "-c:v", codec, "-bf", "0", "-g", "50", "-cluster_time_limit", "200", seconds=2)
    data = bytearray(film.read_bytes())
    clusters = [found.start() for found in re.finditer(rb"\x1f\x43\xb6\x75", data)]
    middle = (2 * clusters[3] + clusters[4]) // 3
    data[middle : middle + 400] = bytes(400)
    film.write_bytes(data)
    frames, damaged, sentences = told(film)
    lost = 50 - frames
    assert lost > 1 and damaged == lost + 1
    assert sentences == [
        "1 frame decoded with errors and is colored as decoded",
        f"{lost} frames are lost, with nothing in their place",
    ]


def test_a_whole_film_loses_nothing(make_film: MakeFilm, tmp_path: Path) -> None:
    sound = ("-f", "lavfi", "-i", "sine=d=3", "-shortest")
    slow = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=1/5:d=15")
    whole = make_film("film.mkv", *_X264, seconds=1)
    film = str(whole)
    for name, options in {
        "long sound.mkv": ("-i", film, *sound[:-1], "-c:v", "copy"),
        "long sound.mp4": ("-i", film, *sound[:-1], "-c:v", "copy"),
        "later.mkv": ("-itsoffset", "2", "-i", film, "-c", "copy"),
        "later.mov": ("-itsoffset", "2", "-i", film, "-c", "copy"),
        "edited.mp4": ("-ss", "0.7", "-i", film, "-c", "copy"),
        "film.avi": ("-i", film, "-c:v", "mpeg4"),
        "film.ts": ("-i", film, "-c", "copy"),
        "film.nut": ("-i", film, "-c:v", "ffv1"),
        "fragments.mp4": ("-i", film, "-c", "copy", "-movflags", "+frag_keyframe+empty_moov"),
        "slides.mkv": (*slow, "-c:v", "libx264"),
        "slide.mkv": (*slow, "-frames:v", "1", "-c:v", "libx264"),
    }.items():
        ffmpeg(*options, str(tmp_path / name))
        assert told(tmp_path / name)[1:] == (0, []), name
    assert told(whole) == (25, 0, [])
    assert told(without_duration_tags(tmp_path / "long sound.mkv")) == (25, 0, [])
    assert told(without_duration_tags(tmp_path / "slides.mkv"))[1:] == (0, [])


@pytest.mark.parametrize(
    ("name", "options", "alpha"),
    [
        ("film.mkv", ("-c:v", "ffv1", "-pix_fmt", "yuva420p"), True),
        ("film.mov", ("-c:v", "qtrle", "-pix_fmt", "argb"), True),
        ("film.mkv", ("-c:v", "ffv1", "-pix_fmt", "bgr0"), False),
        ("film.gif", (), False),
    ],
)
def test_transparency_is_not_dropped_in_silence(
    make_film: MakeFilm, name: str, options: tuple[str, ...], alpha: bool
) -> None:
    form = options[-1] if options else ""
    expected = [f"the alpha of the film ({form}) is left out: its pictures come out opaque"] if alpha else []
    assert told(make_film(name, *options))[1:] == (0, expected)


def with_captions(film: Path) -> Path:
    """H.264 in Annex B with a caption in front of every picture: SEI of ITU-T T.35, ATSC A/53 part 4, 6.2.3."""
    caption = bytes([0xB5, 0x00, 0x31]) + b"GA94" + bytes([0x03, 0x41, 0xFF, 0xFC, 0x94, 0x20, 0xFF])
    told = b"\0\0\0\1" + bytes([6, 4, len(caption)]) + caption + b"\x80"
    units = re.split(rb"\x00\x00\x00?\x01", film.read_bytes())[1:]
    film.write_bytes(b"".join((told if unit[0] & 31 in (1, 5) else b"") + b"\0\0\0\1" + unit for unit in units))
    return film


def test_captions_and_hdr_data_are_not_dropped_in_silence(make_film: MakeFilm) -> None:
    captioned = with_captions(make_film("film.h264", *_X264, "-bf", "0", seconds=1))
    assert told(captioned) == (25, 0, ["left out of the film: closed captions inside its pictures (ATSC A/53)"])
    display = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    options = ("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", f"log-level=0:{display}")
    _, damaged, sentences = told(make_film("hdr.mp4", *options, seconds=1))
    assert damaged == 0
    assert sentences == [
        "left out of the film: HDR mastering display (SMPTE ST 2086), HDR content light level (CTA-861.3)"
    ]


def pictures_in_memory() -> int:
    # Not isinstance: objects of torch warn when they are asked for their class.
    return sum(type(held) is av.VideoFrame for held in gc.get_objects())


def test_what_was_decoded_is_let_go_at_once(make_film: MakeFilm) -> None:
    """No picture waits for the garbage collector: a film of large ones would fill the memory before it comes."""
    film = make_film("film.mp4", *_X264, seconds=2)
    gc.collect()
    gc.disable()
    try:
        before = pictures_in_memory()
        told(film)
        assert pictures_in_memory() < before + 5
    finally:
        gc.enable()


def test_held_frames_are_told_in_one_and_many() -> None:
    assert list(held_sentences(1)) == ["1 damaged frame was held from the one before it"]
    assert list(held_sentences(2)) == ["2 damaged frames were held from the ones before them"]
    assert list(held_sentences(0)) == []
