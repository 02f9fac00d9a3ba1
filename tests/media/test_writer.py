from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media.small_films import MakeFilm, contents, neutral, raw_planes, recode, write_timed

from streamcolor.errors import CallError, OutputError
from streamcolor.frame import Frame
from streamcolor.media import Reader, Writer, open_writer

TAGS = ("-colorspace", "smpte170m", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")


def probe(path: Path, entries: str) -> Any:
    command = ["ffprobe", "-v", "error", "-show_entries", entries, "-show_chapters", "-of", "json", str(path)]
    return json.loads(subprocess.check_output(command))


@pytest.mark.parametrize(
    ("pixel_format", "written", "size"),
    [
        ("gray", "yuv420p", "64x48"),
        ("gray10le", "yuv420p10le", "67x49"),
        ("yuv420p", "yuv420p", "67x49"),
        ("yuv422p10le", "yuv422p10le", "66x49"),
        ("yuv444p12le", "yuv444p12le", "64x48"),
        ("gray16le", "yuv420p16le", "67x49"),
    ],
)
def test_luma_is_exact_through_ffv1(make_film: MakeFilm, pixel_format: str, written: str, size: str) -> None:
    film = make_film("film.mkv", "-pix_fmt", pixel_format, "-c:v", "ffv1", size=size)
    out = film.with_name("out.mkv")
    writer = recode(film, out, codec="ffv1")
    assert writer.pixel_format == written
    before, after = contents(film).frames, contents(out).frames
    assert len(after) == 10
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old.luma, new.luma)
    chroma = np.frombuffer(raw_planes(out, written), np.uint8 if written == "yuv420p" else np.uint16).reshape(10, -1)
    luma_samples = before[0].luma.size
    assert set(chroma[:, luma_samples:].ravel()) == {1 << writer.depth - 1}


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_time_stamps_are_exact(tmp_path: Path, suffix: str) -> None:
    times = [7007, 10010, 10011, 14000, 25000, 25001, 90007]
    write_timed(tmp_path / "film.mov", times, Fraction(1, 30000), codec="libx264", pixel_format="yuv420p")
    recode(tmp_path / "film.mov", tmp_path / f"out{suffix}")
    before, after = contents(tmp_path / "film.mov").frames, contents(tmp_path / f"out{suffix}").frames
    assert [frame.time for frame in before] == [Fraction(time, 30000) for time in times]
    assert [frame.time for frame in after] == [frame.time for frame in before]
    with Reader(tmp_path / "film.mov") as old, Reader(tmp_path / f"out{suffix}") as new:
        assert new.info.duration == old.info.duration


@pytest.mark.parametrize("last", [400, 7000])
def test_the_last_frame_of_an_mp4_lasts_as_long_as_it_did(tmp_path: Path, last: int) -> None:
    write_timed(tmp_path / "film.mp4", [0, 1000, 2000], Fraction(1, 25000), codec="libx264", pixel_format="yuv420p")
    with Reader(tmp_path / "film.mp4") as reader:
        writer = Writer(tmp_path / "out.mp4", reader.info, source=reader)
        chroma = neutral(writer.chroma_shape, 8)
        for item in reader:
            assert isinstance(item, Frame)
            writer.write(replace(item, duration=last if item.index == 2 else 1000), chroma, chroma)
        writer.finish()
    assert contents(tmp_path / "out.mp4").frames[-1].duration == Fraction(last, 25000)


def test_matroska_rounds_time_stamps_to_a_millisecond(tmp_path: Path) -> None:
    times = [7007, 10010, 14000, 25000, 90007]
    write_timed(tmp_path / "film.mov", times, Fraction(1, 30000), codec="libx264", pixel_format="yuv420p")
    recode(tmp_path / "film.mov", tmp_path / "out.mkv")
    recode(tmp_path / "out.mkv", tmp_path / "again.mkv")
    after = [frame.time for frame in contents(tmp_path / "out.mkv").frames]
    assert after == [Fraction(round(Fraction(time, 30)), 1000) for time in times]
    assert [frame.time for frame in contents(tmp_path / "again.mkv").frames] == after


@pytest.mark.parametrize(("source", "target"), list(itertools.product([".mp4", ".mkv", ".mov"], repeat=2)))
def test_sound_is_copied_byte_for_byte_and_in_step(make_film: MakeFilm, source: str, target: str) -> None:
    film = make_film(f"film{source}", "-c:v", "libx264", "-bf", "3", "-c:a", "aac", sound=True, seconds=1.0)
    out = film.with_name(f"out{target}")
    writer = recode(film, out)
    before, after = contents(film), contents(out)
    assert [packet.content for packet in after.packets] == [packet.content for packet in before.packets]
    assert len(after.packets) > 40
    # Matroska rounds to milliseconds, and those to the samples of the sound (44.1 kHz) in the other two.
    tolerance = Fraction(1, 2000) if target == ".mkv" else Fraction(0)
    nearest_sample = Fraction(1, 88200) if source == ".mkv" else Fraction(0)
    for old, new in zip(before.packets, after.packets, strict=True):
        assert abs(new.time - old.time) <= max(tolerance, nearest_sample)
    for old_frame, new_frame in zip(before.frames, after.frames, strict=True):
        assert abs(new_frame.time - old_frame.time) <= tolerance
    assert writer.left_out == []


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "libx264"), (".mp4", "libx265"), (".mov", "libx264"), (".mov", "libx265"), (".mov", "prores"),
        (".mov", "dnxhr"), (".mkv", "libx264"), (".mkv", "libx265"), (".mkv", "prores"), (".mkv", "ffv1"),
        (".nut", "libx264"),
    ],
)  # fmt: skip
def test_aspect_tags_and_fields_are_kept(make_film: MakeFilm, suffix: str, codec: str) -> None:
    film = make_film(
        "film.mov", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", "tff=1:chromaloc=2",
        "-vf", "setsar=16/15,setfield=tff", "-flags", "+ildct+ilme", *TAGS, size="256x128", seconds=0.12,
    )  # fmt: skip
    out = film.with_name(f"out{suffix}")
    writer = recode(film, out, codec=codec)
    with Reader(film) as reader:
        old = reader.info
    with Reader(out) as reader:
        new = reader.info
        frame = next(item for item in reader if isinstance(item, Frame))
    assert (old.sample_aspect, new.sample_aspect) == (Fraction(16, 15), Fraction(16, 15))
    assert new.tags == old.tags or codec == "dnxhr"
    if writer.subsampling == "420" and codec in ("libx264", "libx265"):
        assert (old.chroma_location, new.chroma_location) == (3, 3)
    if codec in ("libx264", "prores", "ffv1"):
        assert frame.interlaced
        assert new.top_field_first
        assert writer.notice is None
    else:
        assert "--codec libx264 keeps its fields" in writer.notice
    if codec == "dnxhr":
        assert "names no matrix but BT.709" in writer.notice
    said = probe(out, "stream=sample_aspect_ratio,width")["streams"][0]
    assert said["sample_aspect_ratio"] == "16:15"


def test_matroska_aspect_leaves_title_and_checksums_right(make_film: MakeFilm) -> None:
    film = make_film(
        "film.mkv",
        "-c:v",
        "ffv1",
        "-pix_fmt",
        "gray",
        "-vf",
        "setsar=16/15",
        "-metadata:s:v",
        "title=Reel 1",
        sound=True,
    )
    out = film.with_name("out.mkv")
    recode(film, out, codec="ffv1")
    with av.open(str(out)) as container:
        assert container.streams.video[0].metadata["title"] == "Reel 1"
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)
    checked = subprocess.run(
        ["ffmpeg", "-v", "warning", "-err_detect", "crccheck", "-i", str(out), "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert checked.stderr == ""


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_rotation_is_kept(make_film: MakeFilm, suffix: str) -> None:
    plain = make_film("plain.mov", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    film, out = plain.with_name("film.mov"), plain.with_name(f"out{suffix}")
    command = ["ffmpeg", "-v", "error", "-i", str(plain), "-c", "copy", "-metadata:s:v", "rotate=90", str(film)]
    subprocess.run(command, check=True)
    recode(film, out)
    with Reader(film) as old, Reader(out) as new:
        assert abs(old.info.rotation) == 90
        assert new.info.rotation == old.info.rotation
        assert new.info.display_matrix == old.info.display_matrix


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_metadata_chapters_language_and_timecode_are_kept(make_film: MakeFilm, tmp_path: Path, suffix: str) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text(
        ";FFMETADATA1\ntitle=The Film\nreel=7\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=200\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=200\nEND=400\ntitle=Two\n"
    )
    film = make_film(
        "film.mov", "-i", str(notes), "-map_metadata", "2", "-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-pix_fmt",
        "yuv420p", "-timecode", "01:00:00:00", "-metadata:s:a", "language=fra",
        "-movflags", "use_metadata_tags", sound=True,
    )  # fmt: skip
    out = film.with_name(f"out{suffix}")
    writer = recode(film, out)
    with av.open(str(out)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert (tags["title"], tags["reel"]) == ("The Film", "7")
        assert container.streams.audio[0].language == "fra"
        timecodes = {
            value for stream in container.streams for key, value in stream.metadata.items() if key.lower() == "timecode"
        }
        assert timecodes == {"01:00:00:00"}
    chapters = probe(out, "format=filename")["chapters"]
    assert [(c["tags"]["title"], float(c["start_time"])) for c in chapters] == [("One", 0.0), ("Two", 0.2)]
    assert writer.left_out == []


@pytest.mark.parametrize("case", ["deu .mov ger", "nld .mov dut", "ger .mov ger", "deu .mp4 deu", "deu .mkv deu"])
def test_a_language_goes_by_the_code_that_its_container_knows(make_film: MakeFilm, case: str) -> None:
    language, suffix, written = case.split()
    film = make_film("film.mkv", "-c:a", "aac", "-metadata:s:a", f"language={language}", sound=True)
    out = film.with_name(f"out{suffix}")
    assert recode(film, out).left_out == []
    with av.open(str(out)) as container:
        assert container.streams.audio[0].language == written


def test_a_stream_that_does_not_fit_is_named(make_film: MakeFilm, tmp_path: Path) -> None:
    subtitles = tmp_path / "words.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:00,200\nHello\n")
    film = make_film(
        "film.mkv",
        "-i",
        str(subtitles),
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-c:v",
        "ffv1",
        "-c:s",
        "srt",
        sound=True,
    )
    mp4 = recode(film, film.with_name("out.mp4"))
    assert mp4.left_out == ["subtitle stream 2 (srt) is left out: .mp4 cannot hold it"]
    mkv = recode(film, film.with_name("out.mkv"))
    assert mkv.left_out == []
    with av.open(str(film.with_name("out.mkv"))) as container:
        words = [bytes(packet) for packet in container.demux(subtitles=0) if packet.size]
    assert words == [b"Hello"]


def test_odd_sizes_get_full_chroma_in_h264_and_keep_their_size(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", size="67x49")
    for codec in ("libx264", "libx265"):
        writer = recode(film, film.with_name(f"{codec}.mp4"), codec=codec)
        assert (writer.subsampling, writer.chroma_shape) == ("444", (49, 67))
        assert "67x49 is odd" in writer.notice
        with Reader(film.with_name(f"{codec}.mp4")) as reader:
            assert (reader.info.width, reader.info.height) == (67, 49)


def test_a_higher_depth_shifts_and_a_lower_one_must_be_asked_for(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray")
    recode(film, film.with_name("ten.mkv"), codec="ffv1", depth=10)
    for old, new in zip(contents(film).frames, contents(film.with_name("ten.mkv")).frames, strict=True):
        assert np.array_equal(new.luma, old.luma.astype(np.uint16) << 2)
    deep = make_film("deep.mkv", "-c:v", "ffv1", "-pix_fmt", "gray12le")
    with pytest.raises(CallError, match="libx264 holds 8 or 10 bits and the film has 12"):
        recode(deep, film.with_name("out.mp4"), codec="libx264")
    recode(deep, film.with_name("low.mkv"), codec="ffv1", depth=8)
    for old, new in zip(contents(deep).frames, contents(film.with_name("low.mkv")).frames, strict=True):
        assert np.abs(new.luma.astype(float) - np.minimum(old.luma / 16, 255)).max() <= 0.5


@pytest.mark.parametrize(
    ("pixel_format", "suffix", "codec", "depth"),
    [
        ("gray", ".mp4", "h264", 8), ("gray10le", ".mov", "h264", 10), ("gray12le", ".mkv", "hevc", 12),
        ("gray16le", ".mkv", "ffv1", 16),
    ],
)  # fmt: skip
def test_the_default_codec_holds_every_bit(
    make_film: MakeFilm, pixel_format: str, suffix: str, codec: str, depth: int
) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", pixel_format)
    out = film.with_name(f"out{suffix}")
    assert recode(film, out).depth == depth
    with Reader(out) as reader:
        assert (reader.info.codec, reader.info.depth) == (codec, depth)


def test_calls_that_cannot_work_are_refused_before_any_file_is_made(make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", size="67x49")
    deep = make_film("deep.mkv", "-c:v", "ffv1", "-pix_fmt", "gray16le")
    small = make_film("small.mkv", "-c:v", "ffv1", "-pix_fmt", "gray")
    taken = tmp_path / "taken.mp4"
    taken.write_bytes(b"mine")
    names = sorted(path.name for path in tmp_path.iterdir())
    cases: list[tuple[type[Exception], str, Path, Path, dict[str, Any]]] = [
        (CallError, "codec vp9 is not offered; choose libx264, ", film, tmp_path / "o.mkv", {"codec": "vp9"}),
        (CallError, ".webm is not a container", film, tmp_path / "o.webm", {}),
        (CallError, "without a suffix", film, tmp_path / "o", {}),
        (CallError, ".mp4 cannot hold ffv1; choose .mkv", film, tmp_path / "o.mp4", {"codec": "ffv1"}),
        (CallError, "no codec of .mp4 holds 16 bits", deep, tmp_path / "o.mp4", {}),
        (CallError, "libx264 has no 12 bits", film, tmp_path / "o.mp4", {"codec": "h264", "depth": 12}),
        (CallError, "prores cannot hold the odd size", film, tmp_path / "o.mov", {"codec": "prores"}),
        (CallError, "dnxhr cannot hold 64x48, it starts at 256x120", small, tmp_path / "o.mov", {"codec": "dnxhr"}),
        (CallError, "ffv1 has no crf", film, tmp_path / "o.mkv", {"codec": "ffv1", "crf": 20}),
        (CallError, "libx264 has no preset 'warp'", film, tmp_path / "o.mp4", {"preset": "warp"}),
        (CallError, "libx264 has no option tune2", film, tmp_path / "o.mp4", {"options": {"tune2": "x"}}),
        (CallError, "is the film itself", film, film, {"overwrite": True}),
        (OutputError, "taken.mp4 exists", film, taken, {}),
        (OutputError, "folder .*nowhere does not exist", film, tmp_path / "nowhere" / "o.mp4", {}),
        (OutputError, "folder .*taken.mp4 does not exist", film, taken / "o.mp4", {}),
    ]
    for kind, sentence, source, target, options in cases:
        with Reader(source) as reader, pytest.raises(kind, match=sentence):
            Writer(target, reader.info, source=reader, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert taken.read_bytes() == b"mine"


def test_the_film_appears_only_when_it_is_whole(make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray")
    out = tmp_path / "out.mkv"
    out.write_bytes(b"old")
    with Reader(film) as reader:
        writer = open_writer(out, reader.info, source=reader, overwrite=True)
        frame = next(item for item in reader if isinstance(item, Frame))
        chroma = neutral(writer.chroma_shape, writer.depth)
        writer.write(frame, chroma, chroma)
        assert out.read_bytes() == b"old"
        assert len(list(tmp_path.glob(".out.part-*.mkv"))) == 1
        writer.abort()
        writer.abort()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mkv", "out.mkv"]
    assert out.read_bytes() == b"old"
    recode(film, out, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mkv", "out.mkv"]
    assert len(contents(out).frames) == 10
    umask = os.umask(0)
    os.umask(umask)
    assert out.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_full_disk_and_a_read_only_folder_are_named(make_film: MakeFilm, tmp_path: Path) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", size="320x240", seconds=2.0)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        with pytest.raises(OutputError, match=f"no space left on {disk}"):
            recode(film, disk / "out.mkv", codec="ffv1")
        assert list(disk.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(OutputError, match=f"{disk} is read-only"):
            recode(film, disk / "out.mkv")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_standard_output_gets_nut_with_exact_luma(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray10le")
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from media.small_films import recode; print(recode(sys.argv[1], '-').notice, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(film)], capture_output=True, check=True)
    piped = film.with_name("piped.nut")
    piped.write_bytes(done.stdout)
    before, after = contents(film).frames, contents(piped).frames
    assert [frame.time for frame in after] == [frame.time for frame in before]
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old.luma, new.luma)
    assert b"no color tags" in done.stderr


def test_the_same_film_gives_the_same_bytes(tmp_path: Path) -> None:
    """Promise 5 as far as the encoder goes; x264 with macroblock trees breaks it under another heap."""
    film = tmp_path / "film.mp4"
    make = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "mandelbrot=s=320x180:r=25", "-t", "2", "-pix_fmt", "yuv420p"]
    subprocess.run([*make, str(film)], check=True)
    code = """
import sys
from streamcolor.media import Packet, Reader, Writer
import numpy as np
with Reader(sys.argv[1]) as reader, Writer(sys.argv[2], reader.info, source=reader, threads=1) as writer:
    for frame in reader:
        if not isinstance(frame, Packet):
            plane = np.full(writer.chroma_shape, 100 + frame.index % 50, np.uint8)
            writer.write(frame, plane, plane)
    writer.finish()
"""
    outputs = []
    for perturb in ("0", "85", "170", "255"):
        output = tmp_path / f"{perturb}.mp4"
        environment = {**os.environ, "MALLOC_PERTURB_": perturb}
        subprocess.run([sys.executable, "-c", code, str(film), str(output)], check=True, env=environment)
        outputs.append(output.read_bytes())
    assert len(set(outputs)) == 1
