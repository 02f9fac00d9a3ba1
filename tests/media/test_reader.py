from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media.small_films import MakeFilm, raw_planes, write_timed

from streamcolor.errors import InputError
from streamcolor.frame import ColorTags, Frame
from streamcolor.media import FilmInfo, Packet, Reader, open_film


def frames(source: object) -> list[Frame]:
    with Reader(source) as reader:  # type: ignore[arg-type]
        return [item for item in reader if isinstance(item, Frame)]


@pytest.mark.parametrize(
    ("pixel_format", "codec", "depth", "subsampling"),
    [
        ("gray", "ffv1", 8, "400"),
        ("gray10le", "ffv1", 10, "400"),
        ("gray16le", "ffv1", 16, "400"),
        ("yuv420p", "ffv1", 8, "420"),
        ("yuv422p10le", "ffv1", 10, "422"),
        ("yuv444p12le", "ffv1", 12, "444"),
        ("yuv420p16le", "ffv1", 16, "420"),
        ("yuv411p", "ffv1", 8, "422"),
        ("nv12", "rawvideo", 8, "420"),
        ("yuv420p10be", "rawvideo", 10, "420"),
        ("yuva420p", "ffv1", 8, "420"),
    ],
)
def test_luma_is_what_the_ffmpeg_program_decodes(
    make_film: MakeFilm, pixel_format: str, codec: str, depth: int, subsampling: str
) -> None:
    film = make_film("film.nut", "-pix_fmt", pixel_format, "-c:v", codec, size="67x49")
    read = frames(film)
    with Reader(film) as reader:
        info = reader.info
    assert (info.depth, info.subsampling, info.pixel_format) == (depth, subsampling, pixel_format)
    order = ">u2" if pixel_format.endswith("be") else "<u2"
    raw = np.frombuffer(raw_planes(film, pixel_format), np.uint8 if depth == 8 else order)
    per_frame = raw.reshape(10, -1)
    assert len(read) == 10
    for frame, samples in zip(read, per_frame, strict=True):
        assert np.array_equal(frame.luma, samples[: 67 * 49].reshape(49, 67))
        assert frame.luma.dtype == (np.uint8 if depth == 8 else np.uint16)


def test_luma_is_a_view_that_nobody_can_write_and_outlives_the_reader(make_film: MakeFilm) -> None:
    film = make_film("film.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    with Reader(film) as reader:
        first = next(item for item in reader if isinstance(item, Frame))
        before = first.luma.copy()
    assert not first.luma.flags.writeable
    assert first.luma.base is not None
    assert first.luma.strides[1] == 1
    assert np.array_equal(first.luma, before)
    with pytest.raises(ValueError, match="read-only"):
        first.luma[0, 0] = 1


def test_rgb_film_gives_bt709_luma(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-pix_fmt", "bgr0", "-c:v", "ffv1")
    with Reader(film) as reader:
        assert reader.info.rgb
        assert (reader.info.tags.matrix, reader.info.tags.range, reader.info.subsampling) == (1, 2, "444")
    rgb = np.frombuffer(raw_planes(film, "rgb24"), np.uint8).reshape(10, 48, 64, 3).astype(float)
    exact = rgb @ np.array([0.2126, 0.7152, 0.0722])
    for frame, expected in zip(frames(film), exact, strict=True):
        assert np.abs(frame.luma - expected).max() <= 0.51


def test_info_and_tags(make_film: MakeFilm) -> None:
    film = make_film(
        "film.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "setsar=16/15,setfield=tff",
        "-flags", "+ildct+ilme",
        "-x264-params", "chromaloc=2:tff=1", "-colorspace", "smpte170m", "-color_primaries", "bt709",
        "-color_trc", "bt709", "-color_range", "tv", sound=True,
    )  # fmt: skip
    with Reader(film) as reader:
        info = reader.info
        frame = next(item for item in reader if isinstance(item, Frame))
        assert [stream.type for stream in reader.other_streams] == ["audio"]
    assert info == FilmInfo(
        name="film.mp4", width=64, height=48, depth=8, subsampling="420", rgb=False, rate=Fraction(25),
        time_base=Fraction(1, 12800), frames=10, duration=0.4, sample_aspect=Fraction(16, 15),
        tags=ColorTags(6, 1, 1, 1), chroma_location=3, rotation=0, interlaced=True, top_field_first=True,
        pixel_format="yuv420p", codec="h264",
    )  # fmt: skip
    assert (frame.tags, frame.interlaced, frame.top_field_first) == (info.tags, True, True)


def test_gray_without_range_is_full_and_jpeg_formats_are_full(make_film: MakeFilm) -> None:
    gray = make_film("gray.mkv", "-pix_fmt", "gray", "-c:v", "ffv1", "-color_range", "0")
    jpeg = make_film("jpeg.mov", "-pix_fmt", "yuvj420p", "-c:v", "mjpeg")
    for film in (gray, jpeg):
        with Reader(film) as reader:
            assert reader.info.tags.range == 2


def test_time_stamps_of_variable_rate_are_those_of_the_container(tmp_path: Path) -> None:
    times = [7000, 10603, 10604, 14000, 25000, 25001, 90007]
    film = tmp_path / "film.mp4"
    write_timed(film, times, Fraction(1, 90000), codec="libx264", pixel_format="yuv420p")
    read = frames(film)
    assert [frame.pts * frame.time_base for frame in read] == [Fraction(time, 90000) for time in times]
    assert [frame.index for frame in read] == list(range(7))


def test_frames_without_time_stamps_follow_each_other(make_film: MakeFilm) -> None:
    film = make_film("film.h264", "-c:v", "libx264", "-bf", "2")
    read = frames(film)
    assert [frame.seconds for frame in read] == pytest.approx([n / 25 for n in range(10)])


def test_standard_input_and_open_files_give_the_same_frames(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", sound=True)
    code = (
        "import hashlib; from streamcolor.media import open_film, Packet\n"
        "for item in open_film('-'):\n"
        "    print('packet' if isinstance(item, Packet) else hashlib.md5(item.luma.tobytes()).hexdigest())\n"
    )
    with film.open("rb") as file:
        piped = subprocess.run([sys.executable, "-c", code], stdin=file, check=True, capture_output=True, text=True)
    with open_film(io.BytesIO(film.read_bytes())) as reader:
        lines = [
            "packet" if isinstance(item, Packet) else hashlib.md5(item.luma.tobytes()).hexdigest() for item in reader
        ]
    assert piped.stdout.split() == lines
    assert lines.count("packet") > 3
    assert len(set(lines)) == 11


def test_broken_pictures_are_held_in_their_place_and_counted(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1", "-pix_fmt", "gray")
    whole = frames(film)
    data = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    contents = [bytes(packet) for packet in _packets(film)]
    for number in (4, 5):
        start = data.index(contents[number])
        data[start : start + packets[number][1]] = b"\xff" * packets[number][1]
    broken = film.with_name("broken.mkv")
    broken.write_bytes(data)
    with Reader(broken) as reader:
        read = [item for item in reader if isinstance(item, Frame)]
        assert reader.damaged == 2
    assert [frame.pts for frame in read] == [frame.pts for frame in whole]
    assert [frame.damaged for frame in read] == [number in (4, 5) for number in range(10)]
    for number in (0, 1, 2, 3, 6, 7, 8, 9):
        assert np.array_equal(read[number].luma, whole[number].luma)


def _packets(film: Path) -> list[av.Packet]:  # type: ignore[type-arg]
    with av.open(str(film)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def test_a_film_that_breaks_off_gives_what_is_there(make_film: MakeFilm) -> None:
    film = make_film("film.mp4", "-c:v", "libx264", "-movflags", "+faststart", "-g", "5", seconds=2.0)
    data = film.read_bytes()
    film.write_bytes(data[: len(data) * 2 // 3])
    with Reader(film) as reader:
        read = [item for item in reader if isinstance(item, Frame)]
        assert reader.damaged == 50 - len([frame for frame in read if not frame.damaged])
    assert 20 < len(read) < 50
    assert [frame.damaged for frame in read] == [False] * (len(read) - 1) + [True]


def test_a_picture_that_changes_size_is_refused(make_film: MakeFilm) -> None:
    parts = [
        make_film(f"{size}.ts", "-c:v", "mpeg2video", "-pix_fmt", "yuv420p", size=size).read_bytes()
        for size in ("64x48", "96x64")
    ]
    film = make_film("film.ts", "-c:v", "mpeg2video")
    film.write_bytes(b"".join(parts))
    with Reader(film) as reader, pytest.raises(InputError, match="changes from 64x48"):
        list(reader)


def test_sources_that_are_no_film_are_named(make_film: MakeFilm, tmp_path: Path) -> None:
    text = tmp_path / "note.txt"
    text.write_text("this is not a film\n" * 50)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(range(256)) * 40)
    empty = tmp_path / "empty.mkv"
    empty.touch()
    cut = make_film("cut.mp4", "-c:v", "libx264")
    cut.write_bytes(cut.read_bytes()[:1000])
    sound = tmp_path / "sound.wav"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=0.1", str(sound)], check=True)
    no_frames = tmp_path / "none.mkv"
    with av.open(str(no_frames), "w") as container:
        container.add_stream("ffv1", rate=25)
        container.start_encoding()
    for path, sentence in [
        (tmp_path / "missing.mp4", "does not exist"),
        (tmp_path, "is a folder"),
        (text, "note.txt is (not a film|a text)"),
        (noise, "noise.mp4 is not a film"),
        (empty, "empty.mkv is not a film"),
        (cut, "cut.mp4 is cut off"),
        (sound, "sound.wav has no moving pictures"),
        (no_frames, "none.mkv holds no picture"),
        (make_film("still.png", "-frames:v", "1"), "still.png is a picture.*--ref"),
        (make_film("still.jpg", "-frames:v", "1"), "still.jpg is a picture.*--ref"),
    ]:
        with pytest.raises(InputError, match=sentence):
            open_film(path)


def test_names_that_look_like_addresses_are_files(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1")
    odd = film.rename(film.with_name("concat:a|b.mkv"))
    assert len(frames(odd)) == 10
