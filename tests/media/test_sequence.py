from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media.small_films import MakeFilm, contents, neutral, recode

from streamcolor.errors import CallError, InputError, OutputError
from streamcolor.frame import Frame
from streamcolor.media import SequenceReader, SequenceWriter, open_film, open_writer

Save = Callable[..., list[Any]]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Pictures of noise, written by OpenCV: ``save("shot.%04d.png", first=7, channels=3, kind=np.uint16)``."""

    def write(pattern: str, *, first: int = 7, count: int = 3, channels: int = 1, kind: Any = np.uint8) -> list[Any]:
        rng = np.random.default_rng(first)
        shape = (49, 67, 3) if channels == 3 else (49, 67)
        pictures = [rng.integers(0, np.iinfo(kind).max + 1, shape, kind) for _ in range(count)]
        for number, picture in enumerate(pictures):
            assert cv2.imwrite(str(tmp_path / (pattern % (first + number))), picture)
        return pictures

    return write


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("kind", "depth"), [(np.uint8, 8), (np.uint16, 16)])
def test_gray_pictures_are_read_exactly(tmp_path: Path, save: Save, suffix: str, kind: Any, depth: int) -> None:
    pictures = save(f"shot.%04d.{suffix}", kind=kind)
    with open_film(tmp_path / f"shot.%04d.{suffix}", rate=Fraction(24000, 1001)) as reader:
        assert isinstance(reader, SequenceReader)
        frames = [item for item in reader if isinstance(item, Frame)]
        info = reader.info
    assert (info.depth, info.subsampling, info.rgb, info.frames, info.tags.range) == (depth, "400", False, 3, 2)
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(1001 * n, 24000) for n in range(3)]
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.array_equal(frame.luma, picture)
        assert not frame.luma.flags.writeable


@pytest.mark.parametrize(("kind", "depth"), [(np.uint8, 8), (np.uint16, 16)])
def test_rgb_pictures_keep_their_luma_through_color_and_back(tmp_path: Path, save: Save, kind: Any, depth: int) -> None:
    pictures = save("shot.%d.png", channels=3, kind=kind)
    before = [frame.luma for frame in contents(tmp_path / "shot.%d.png").frames]
    for luma, picture in zip(before, pictures, strict=True):
        exact = picture.astype(float) @ np.array([0.0722, 0.7152, 0.2126])  # OpenCV: B, G, R
        assert np.abs(luma - exact).max() <= 0.52
    rng = np.random.default_rng(0)
    with open_film(tmp_path / "shot.%d.png") as reader:
        writer = open_writer(tmp_path / "color.%d.png", reader.info, source=reader)
        assert (writer.depth, writer.chroma_shape, writer.subsampling) == (depth, (49, 67), "444")
        for item in reader:
            assert isinstance(item, Frame)
            chroma = rng.integers(0, 1 << depth, (2, 49, 67), kind)
            writer.write(item, chroma[0], chroma[1])
        writer.finish()
    assert [(tmp_path / f"color.{n}.png").exists() for n in (6, 7, 8, 9, 10)] == [False, True, True, True, False]
    after = contents(tmp_path / "color.%d.png").frames
    for old, new in zip(before, after, strict=True):
        assert np.abs(old.astype(int) - new.luma.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("suffix", "bits"), [("png", 8), ("png", 16), ("tif", 8), ("tiff", 16), ("dpx", 8), ("dpx", 10), ("dpx", 16)]
)
def test_written_pictures_have_the_depth_that_was_asked_for(make_film: MakeFilm, suffix: str, bits: int) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", size="66x48")
    pattern = film.with_name(f"out.%03d.{suffix}")
    writer = recode(film, pattern, depth=bits)
    assert isinstance(writer, SequenceWriter)
    with open_film(pattern) as reader:
        assert (reader.info.depth, reader.info.rgb, reader.info.frames) == (bits, True, 10)
    for old, new in zip(contents(film).frames, contents(pattern).frames, strict=True):
        exact = old.luma.astype(float) * ((1 << bits) - 1) / 255
        assert np.abs(new.luma - exact).max() <= 1


def test_limited_range_film_becomes_full_range_pictures(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", "-color_range", "tv", "-colorspace", "bt709")
    recode(film, film.with_name("out.%03d.png"))
    for old, new in zip(contents(film).frames, contents(film.with_name("out.%03d.png")).frames, strict=True):
        exact = np.clip((old.luma.astype(float) - 16) * 255 / 219, 0, 255)
        assert np.abs(new.luma - exact).max() <= 1


def test_sound_that_pictures_cannot_hold_is_named(make_film: MakeFilm) -> None:
    film = make_film("film.mkv", "-c:v", "ffv1", "-pix_fmt", "gray", "-c:a", "flac", sound=True)
    writer = recode(film, film.with_name("out.%03d.png"))
    assert writer.left_out == ["audio stream 1 (flac) is left out: pictures hold none"]


def test_sequences_that_cannot_be_read_are_named(tmp_path: Path, save: Save) -> None:
    save("gap.%04d.png", first=1, count=3)
    (tmp_path / "gap.0002.png").unlink()
    save("bad.%d.png", first=1, count=2)
    (tmp_path / "bad.1.png").write_text("no picture")
    for pattern, sentence in [
        ("gap.%04d.png", "gap.0002.png is missing"),
        ("none.%04d.png", "no picture fits"),
        ("bad.%d.png", "bad.1.png is not a picture"),
        ("shot.%04d.webp", "pictures of the kind .webp are not read"),
        ("nowhere/%04d.png", "nowhere does not exist"),
    ]:
        with pytest.raises(InputError, match=sentence):
            open_film(tmp_path / pattern)


def test_a_damaged_picture_is_held_and_one_of_another_size_refused(tmp_path: Path, save: Save) -> None:
    pictures = save("shot.%d.png", first=1)
    (tmp_path / "shot.2.png").write_bytes(b"\x89PNG\r\n")
    with open_film(tmp_path / "shot.%d.png") as reader:
        frames = [item for item in reader if isinstance(item, Frame)]
        assert reader.damaged == 1
    assert [frame.damaged for frame in frames] == [False, True, False]
    assert np.array_equal(frames[1].luma, pictures[0])
    cv2.imwrite(str(tmp_path / "shot.3.png"), np.zeros((8, 8), np.uint8))
    with open_film(tmp_path / "shot.%d.png") as reader, pytest.raises(InputError, match=r"shot\.3\.png is 8x8"):
        list(reader)


def test_pictures_appear_whole_and_abort_removes_only_its_own(tmp_path: Path, save: Save) -> None:
    save("shot.%d.png", first=1)
    (tmp_path / "out").mkdir()
    stranger = tmp_path / "out" / "shot.9.png"
    stranger.write_bytes(b"mine")
    with open_film(tmp_path / "shot.%d.png") as reader:
        with pytest.raises(OutputError, match=r"shot\.9\.png exists"):
            open_writer(tmp_path / "out" / "shot.%d.png", reader.info, source=reader)
        writer = open_writer(tmp_path / "out" / "shot.%d.png", reader.info, source=reader, overwrite=True)
        frame = next(item for item in reader if isinstance(item, Frame))
        chroma = neutral(writer.chroma_shape, writer.depth)
        writer.write(frame, chroma, chroma)
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["shot.1.png", "shot.9.png"]
        writer.abort()
    assert list((tmp_path / "out").iterdir()) == [stranger]
    assert stranger.read_bytes() == b"mine"


def test_calls_that_pictures_cannot_follow_are_refused(tmp_path: Path, save: Save) -> None:
    save("shot.%d.png", first=1)
    cases: list[tuple[type[Exception], str, str, dict[str, Any]]] = [
        (CallError, "pictures of the kind .gif", "out.%d.gif", {}),
        (CallError, "have no codec", "out.%d.png", {"codec": "ffv1"}),
        (CallError, ".png has no 10 bits; choose 8 or 16", "out.%d.png", {"depth": 10}),
        (CallError, "are the pictures of the film itself", "shot.%d.png", {"overwrite": True}),
        (CallError, "png encoder has no option colour", "out.%d.png", {"options": {"colour": "1"}}),
        (OutputError, "nowhere does not exist", "nowhere/out.%d.png", {}),
    ]
    with open_film(tmp_path / "shot.%d.png") as reader:
        for kind, sentence, target, options in cases:
            with pytest.raises(kind, match=sentence):
                open_writer(tmp_path / target, reader.info, source=reader, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shot.1.png", "shot.2.png", "shot.3.png"]
