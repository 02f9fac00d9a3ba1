"""The pipe filter between two ffmpegs: nothing but the chroma changes, and every misuse ends in one sentence."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest
from piping import ffmpeg_says, filtered, picture_times, run_filter, standing_in

from streamcolor import RunOptions, run
from streamcolor.commands import main
from streamcolor.frame import Frame
from streamcolor.media import Reader

from films import audio_packets, read_luma, scene, write_film, write_keyframe

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
COMMAND = Path(sys.executable).with_name("streamcolor")
GAPS = (1, 2, 1, 5, 1, 1, 3, 1)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_keyframe(tmp_path / "key.png", scene(64, 96, 0, 8))


def make_film(path: Path, *, depth: int = 8, subsampling: str = "420", count: int = 8, sound: bool = True) -> Path:
    """A film of variable rate that does not start at 0; its sound does."""
    luma = [scene(64, 96, n, depth) for n in range(count)]
    pts = [40 + t for t in accumulate(GAPS[n % len(GAPS)] for n in range(count))]
    silent = path.with_name(f"silent{path.suffix}") if sound else path
    codec = "rawvideo" if path.suffix == ".nut" else "ffv1"
    write_film(silent, luma, depth=depth, subsampling=subsampling, codec=codec, pts=pts, time_base=Fraction(1, 50))
    if sound:
        tone = ["-f", "lavfi", "-i", "sine=d=1.2", "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "pcm_s16le"]
        subprocess.run(["ffmpeg", "-v", "error", "-i", silent, *tone, path], check=True, stdin=subprocess.DEVNULL)
    return path


def check_kept(film: Path, piped: Path) -> None:
    """Luma, presentation times and sound of the two are equal, bit for bit."""
    (luma, times), (piped_luma, piped_times) = read_luma(film), read_luma(piped)
    assert piped_times == times
    assert len(piped_luma) == len(luma)
    for mine, theirs in zip(piped_luma, luma, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [content for content, _ in audio_packets(piped)] == [content for content, _ in audio_packets(film)]


@pytest.mark.parametrize(
    ("depth", "subsampling", "form"),
    [
        (8, "400", "nut"),
        (8, "420", "mkv"),
        (10, "422", "nut"),
        (10, "420", "ffv1"),
        (12, "444", "mkv"),
        (16, "420", "nut"),
    ],
)
def test_luma_time_and_sound_pass(tmp_path: Path, key: Path, depth: int, subsampling: str, form: str) -> None:
    film, piped = make_film(tmp_path / "film.mkv", depth=depth, subsampling=subsampling), tmp_path / "piped"
    assert filtered(film, f"ref={key}:model=welsh:format={form}", piped) == 0
    check_kept(film, piped)
    with Reader(piped) as reader:
        assert reader.info.depth == depth
        assert reader.info.subsampling == ("420" if subsampling == "400" else subsampling)


@pytest.mark.parametrize("container", ["nut", "matroska", "yuv4mpegpipe"])
def test_the_container_of_the_input_is_found(tmp_path: Path, key: Path, container: str) -> None:
    film = write_film(tmp_path / "film.mkv", [scene(64, 96, n, 10) for n in range(5)], depth=10)
    assert filtered(film, f"ref={key}:model=welsh:format=y4m", tmp_path / "piped.y4m", container=container) == 0
    assert read_luma(tmp_path / "piped.y4m")[1] == [Fraction(n, 25) for n in range(5)]
    for mine, theirs in zip(read_luma(tmp_path / "piped.y4m")[0], read_luma(film)[0], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_sample_film_keeps_everything_but_its_colors(tmp_path: Path) -> None:
    film, piped = tmp_path / "film.mp4", tmp_path / "piped.nut"
    cut = ["ffmpeg", "-v", "error", "-i", str(SAMPLES / "film.mp4"), "-t", "1.6", "-c", "copy", str(film)]
    subprocess.run(cut, check=True, stdin=subprocess.DEVNULL)
    options = f"ref={SAMPLES / 'keyframes' / '000066.png'}:model=flow:size=96:latency=2:format=ffv1"
    # Small films are not taken for BT.709, which NUT does not say.
    assert filtered(film, f"{options}:matrix=bt709:range=tv", piped) == 0
    grey = ("-map", "0:v", "-fps_mode", "passthrough", "-vf", "extractplanes=y", "-f", "md5", "-")
    assert ffmpeg_says(piped, *grey) == ffmpeg_says(film, *grey)
    sound = ("-map", "0:a", "-c", "copy", "-f", "md5", "-")
    assert ffmpeg_says(piped, *sound) == ffmpeg_says(film, *sound)
    assert len(picture_times(piped)) == len(picture_times(film)) >= 38
    # ffmpeg itself moves all streams so that the sound, which begins before 0, begins at 0 in NUT.
    times = zip(sorted(map(float, picture_times(film))), map(float, picture_times(piped)), strict=True)
    assert np.ptp([piped_time - time for time, piped_time in times]) < 0.002
    # The chroma is that of run, bit for bit.
    out = tmp_path / "run.mkv"
    run(
        RunOptions(
            film=film, references=[SAMPLES / "keyframes" / "000066.png"], output=out, codec="ffv1", model="flow",
            size=96, lookahead=2,
        )
    )  # fmt: skip
    for plane in "uv":
        chroma = ("-map", "0:v", "-fps_mode", "passthrough", "-vf", f"extractplanes={plane}", "-f", "md5", "-")
        assert ffmpeg_says(piped, *chroma) == ffmpeg_says(out, *chroma) != ffmpeg_says(film, *chroma)


def test_tags_that_nut_lost_are_named_once_and_can_be_told(
    tmp_path: Path, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    film, piped = make_film(tmp_path / "film.mkv", sound=False), tmp_path / "piped.mkv"
    assert filtered(film, f"ref={key}:model=none:format=mkv", piped) == 0
    first, last = capfd.readouterr().err.splitlines()
    assert "matrix=smpte170m, range=limited" in first and "matrix=, primaries=, transfer=, range=, field=" in first
    assert "8 frames" in last
    told = "matrix=bt709:range=full:primaries=bt2020:transfer=smpte170m:field=bff:sar=16\\:15"
    assert filtered(film, f"ref={key}:model=none:format=mkv:{told}", piped) == 0
    assert len(capfd.readouterr().err.splitlines()) == 1
    with Reader(piped) as reader:
        assert (reader.info.tags.matrix, reader.info.tags.range) == (1, 2)
        assert (reader.info.tags.primaries, reader.info.tags.transfer) == (9, 6)
        assert reader.info.sample_aspect == Fraction(16, 15)
        assert reader.info.interlaced and not reader.info.top_field_first


@pytest.mark.parametrize("form", ["nut", "mkv", "ffv1", "y4m"])
def test_sample_aspect_passes_every_format(tmp_path: Path, form: str) -> None:
    film = write_film(tmp_path / "film.mkv", [scene(64, 96, n, 8) for n in range(3)])
    piped = tmp_path / "piped"
    assert filtered(film, f"model=none:format={form}", piped, "-vf", "setsar=64/45") == 0
    with av.open(str(piped)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_subtitles_and_data_pass(tmp_path: Path) -> None:
    film, text = make_film(tmp_path / "film.mkv"), tmp_path / "text.srt"
    text.write_text("1\n00:00:00,900 --> 00:00:01,000\nHello\n\n2\n00:00:01,000 --> 00:00:01,100\nthere\n")
    both, piped = tmp_path / "both.mkv", tmp_path / "piped.mkv"
    join = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(film),
        "-i",
        str(text),
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        str(both),
    ]
    subprocess.run(join, check=True, stdin=subprocess.DEVNULL)
    assert filtered(both, "model=none:format=mkv", piped, container="matroska") == 0
    subtitles = ("-map", "0:s", "-f", "srt", "-")
    assert "there" in ffmpeg_says(piped, *subtitles)
    assert ffmpeg_says(piped, *subtitles) == ffmpeg_says(both, *subtitles)


def test_pictures_without_a_model_keep_their_chroma(tmp_path: Path) -> None:
    film, piped = SAMPLES / "film.original.mp4", tmp_path / "piped.nut"
    assert filtered(film, "model=none", piped, "-frames:v", "5") == 0
    pictures = ("-map", "0:v", "-frames:v", "5", "-f", "md5", "-")
    assert ffmpeg_says(piped, *pictures) == ffmpeg_says(film, *pictures)


def test_references_by_timecode_and_none_at_all(tmp_path: Path, key: Path, capfd: pytest.CaptureFixture[str]) -> None:
    film, piped = make_film(tmp_path / "film.mkv", sound=False), tmp_path / "piped.nut"
    assert filtered(film, f"ref={key}@00\\:00\\:09\\:00:ref='{key}@00:00:00:02':model=welsh", piped) == 0
    spoken = capfd.readouterr().err
    assert "key.png is named for frame" in spoken and "but the film ends at 7" in spoken and "guessed" not in spoken
    assert filtered(film, "model=welsh", piped) == 0
    assert "without ref= the colors are guessed" in capfd.readouterr().err


def test_y4m_says_that_frames_of_variable_rate_were_moved(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    film = make_film(tmp_path / "film.mkv", sound=False)
    assert filtered(film, "model=none:format=y4m", tmp_path / "piped.y4m") == 0
    assert "were not one frame apart" in capfd.readouterr().err
    assert len(read_luma(tmp_path / "piped.y4m")[0]) == 8


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ("rfe=x.png", 2, "did you mean 'ref'?"),
        ("size=big", 2, "size=big in the filter is not a whole number of at least 32"),
        ("size=8", 2, "size=8"),
        ("sat=-1", 2, "sat"),
        ("sat=nan", 2, "sat=nan in the filter is not a number"),
        ("model=", 2, "model= in the filter is not the id of a model"),
        ("model=propagater", 2, "did you mean 'propagator'"),
        ("format=avi", 2, "format=avi in the filter is not one of nut, mkv, ffv1, y4m"),
        ("matrix=bt.709", 2, "matrix=bt.709"),
        ("sar=0/0", 2, "sar=0/0"),
        ("latency=251", 2, "latency=251 in the filter is not a whole number from 0 to 250"),
        ("enable='between(t,1'", 2, "the expression 'between(t,1' cannot be read"),
        ("enable='system(1)'", 2, "no function 'system'"),
        ("ref='key.png", 2, "not closed"),
        ("ref=a:b.png", 2, "'b.png' is not KEY=VALUE"),
        ("ref=gone.png:model=welsh", 3, "gone.png"),
        ("ref=key.png@1-2:model=welsh", 2, "neither a frame number"),
    ],
)
def test_wrong_options_end_in_one_sentence(
    options: str, code: int, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, piped = make_film(tmp_path / "film.nut", count=2, sound=False), tmp_path / "piped.nut"
    with source.open("rb") as file:
        assert run_filter(options, file, piped) == code
    check_sentence(capfd.readouterr().err, says)
    assert piped.read_bytes() == b""


def check_sentence(spoken: str, says: str) -> None:
    mine = [line for line in spoken.splitlines() if line.startswith("streamcolor: ")]
    assert len(mine) == 1 and says in mine[0], spoken
    assert "Traceback" not in spoken


def test_names_with_colons_and_quotes_are_escaped_as_in_ffmpeg(tmp_path: Path) -> None:
    film, piped = make_film(tmp_path / "film.mkv", count=2, sound=False), tmp_path / "piped.nut"
    odd = write_keyframe(tmp_path / "it's a:key,[1].png", scene(64, 96, 0, 8))
    escaped = str(odd).replace("'", "\\'").replace(":", "\\:")
    quoted = "'" + str(odd).replace("'", "'\\''") + "'"
    plain = tmp_path / "plain.nut"
    assert filtered(film, f"ref={odd.rename(tmp_path / 'plain.png')}:model=welsh", plain) == 0
    (tmp_path / "plain.png").rename(odd)
    for name in (escaped, quoted):
        assert filtered(film, f" model=welsh : ref = {name}", piped) == 0
        assert piped.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "standard input"), (b"\x07 no film \xff" * 4000, "standard input"), (None, "standard input")],
)
def test_what_is_no_film_on_standard_input(
    content: bytes | None, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    if content is None:  # cut off within its header
        make_film(tmp_path / "film.nut", sound=False)
        content = (tmp_path / "film.nut").read_bytes()[:120]
    source.write_bytes(content)
    with source.open("rb") as file:
        assert run_filter("model=none", file, tmp_path / "piped.nut") == 3
    check_sentence(capfd.readouterr().err, says)
    assert (tmp_path / "piped.nut").read_bytes() == b""


@pytest.mark.parametrize("container", ["nut", "matroska", "yuv4mpegpipe"])
def test_a_source_that_breaks_off_ends_with_what_was_whole(
    tmp_path: Path, container: str, capfd: pytest.CaptureFixture[str]
) -> None:
    film, source = write_film(tmp_path / "film.mkv", [scene(64, 96, n, 8) for n in range(9)]), tmp_path / "source"
    codec = "wrapped_avframe" if container == "yuv4mpegpipe" else "rawvideo"
    words = ["-c:v", codec, "-f", container, str(source)]
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(film), *words], check=True, stdin=subprocess.DEVNULL)
    frame = 64 * 96 * 3 // 2
    source.write_bytes(source.read_bytes()[: 5 * frame + frame // 2])
    with source.open("rb") as file:
        assert run_filter("model=none", file, tmp_path / "piped.nut") == 0
    assert "5 frames" in capfd.readouterr().err
    check_frames(tmp_path / "piped.nut", read_luma(film)[0][:5])


def check_frames(film: Path, luma: Sequence[np.ndarray]) -> None:
    with Reader(film) as reader:
        frames = [item for item in reader if isinstance(item, Frame)]
    assert len(frames) == len(luma)
    for mine, theirs in zip(frames, luma, strict=True):
        assert not mine.damaged
        np.testing.assert_array_equal(mine.luma, theirs)


@pytest.mark.parametrize(("descriptor", "name"), [(0, "input"), (1, "output")])
def test_a_terminal_is_refused(descriptor: int, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outer, inner = pty.openpty()
    with (
        os.fdopen(inner, "r+b", buffering=0) as terminal,
        (tmp_path / "other").open("w+b") as other,
        standing_in(0, terminal if descriptor == 0 else other),
        standing_in(1, terminal if descriptor == 1 else other),
        pytest.raises(SystemExit) as stopped,
    ):
        main(["filter", "model=none"])
    os.close(outer)
    assert stopped.value.code == 2
    check_sentence(capfd.readouterr().err, f"standard {name} is a terminal")


@pytest.mark.parametrize(
    ("closed", "code", "says"),
    [(1, 4, "standard output is closed"), (0, 3, "standard input is not a film"), (2, 0, "")],
)
def test_what_a_shell_has_closed(closed: int, code: int, says: str, tmp_path: Path) -> None:
    source, piped = make_film(tmp_path / "film.nut", count=2, sound=False), tmp_path / "piped.nut"
    redirect = {0: "<&-", 1: ">&-", 2: "2>&-"}[closed]
    line = f'"$0" filter model=none < {source} > {piped} {redirect}'
    done = subprocess.run(["sh", "-c", line, str(COMMAND)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == code, done.stderr
    if says:
        check_sentence(done.stderr, says)
    else:
        check_frames(piped, read_luma(source)[0])


def test_a_film_for_a_closed_output_is_refused(tmp_path: Path, key: Path) -> None:
    film = make_film(tmp_path / "film.mkv", count=2, sound=False)
    line = f'"$0" run {film} --ref {key} --model welsh -o - >&-'
    done = subprocess.run(["sh", "-c", line, str(COMMAND)], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4
    check_sentence(done.stderr, "standard output is closed")


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", [scene(128, 192, n, 8) for n in range(12)])
    source = ["ffmpeg", "-v", "quiet", "-stream_loop", "-1", "-i", str(film), "-c:v", "rawvideo", "-f", "nut", "-"]
    with (
        subprocess.Popen(source, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as ffmpeg,
        subprocess.Popen(
            [str(COMMAND), "filter", "model=none:matrix=bt709:range=tv:format=ffv1"],
            stdin=ffmpeg.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as colored,
    ):  # fmt: skip
        assert ffmpeg.stdout is not None and colored.stdout is not None and colored.stderr is not None
        ffmpeg.stdout.close()
        with av.open(f"pipe:{colored.stdout.fileno()}") as container:
            for _, _ in zip(range(10), container.decode(video=0), strict=False):
                pass
        colored.stdout.close()
        assert colored.stderr.read() == b""
        assert colored.wait(60) == 128 + 13
        ffmpeg.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_stays_flat_on_an_endless_film(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    key = write_keyframe(tmp_path / "key.png", scene(96, 128, 0, 8))
    film = write_film(tmp_path / "film.mkv", [scene(96, 128, n, 8, seed=n // 25) for n in range(100)], sound=True)
    loop = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(film), "-map", "0", "-c:a", "copy"]
    source = [*loop, "-c:v", "rawvideo", "-frames:v", "10000", "-f", "nut", "-"]
    with (
        subprocess.Popen(source, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as ffmpeg,
        subprocess.Popen(
            [str(COMMAND), "filter", f"ref={key}:model=welsh:threads=1", "-q"],
            stdin=ffmpeg.stdout,
            stdout=subprocess.PIPE,
        ) as colored,
    ):
        assert ffmpeg.stdout is not None and colored.stdout is not None
        ffmpeg.stdout.close()
        process, memory, count = psutil.Process(colored.pid), [], 0
        with av.open(f"pipe:{colored.stdout.fileno()}") as container:
            for _ in container.decode(video=0):
                count += 1
                if count % 500 == 0 and count < 10_000:
                    memory.append(process.memory_info().rss)
        assert count == 10_000
        assert colored.wait(60) == 0
    assert max(memory) <= 1.05 * memory[0], memory


@pytest.mark.slow
def test_the_pipe_alone_is_fast() -> None:
    from streamcolor.pipeline.speed import Feed, measure

    command = (str(COMMAND), "filter", "model=none", "-q")
    best = [measure("pipe", command, Feed(1280, 720, Fraction(25), 150, 20)) for _ in range(3)]
    assert max(speed.frames_per_second for speed in best) >= 150
    assert min(speed.delay_median for speed in best) <= 10
    assert time.monotonic() > 0
