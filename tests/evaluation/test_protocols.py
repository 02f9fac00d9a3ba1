"""The protocol inside agrees with the script outside; degenerate outputs score what they must."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamcolor.errors import CallError, InputError, OutputError
from streamcolor.evaluation.comparison import Figures, Pair
from streamcolor.evaluation.protocols import RGB, ColorFilm, decode, evaluate, limited_luma, write_rgb_film
from streamcolor.evaluation.report import mean_of

OUTSIDE = Path(__file__).resolve().parents[3] / "shared" / "tools" / "first_frame_eval.py"

# What the script outside runs: a share of the true chroma of the clip, which it finds by the film's name.
SHARE_OF_CHROMA = """
import sys, av, numpy as np
share, clip, film, out = float(sys.argv[1]), *sys.argv[2:]
with av.open(clip) as source, av.open(out, "w") as box:
    stream = None
    for frame in source.decode(video=0):
        if stream is None:
            stream = box.add_stream("ffv1", rate=source.streams.video[0].average_rate)
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            context = stream.codec_context
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        picture = av.VideoFrame(frame.width, frame.height, "yuv420p")
        picture.color_range, picture.colorspace = 1, 1
        for number, (mine, theirs) in enumerate(zip(picture.planes, frame.planes)):
            a = np.frombuffer(mine, np.uint8).reshape(mine.height, mine.line_size)
            b = np.frombuffer(theirs, np.uint8).reshape(theirs.height, theirs.line_size)
            w = mine.width
            a[:, :w] = b[:, :w] if number == 0 else np.round(128 + share * (b[:, :w].astype(int) - 128))
        box.mux(stream.encode(picture))
    box.mux(stream.encode())
"""


@pytest.fixture
def share_of_chroma(clips: Path, tmp_path: Path) -> Callable[[float], tuple[ColorFilm, str]]:
    """A command that knows the truth and gives a share of it, in-process and as a command line."""
    script = tmp_path / "share.py"
    script.write_text(SHARE_OF_CHROMA)

    def command(share: float) -> tuple[ColorFilm, str]:
        def color(film: Path, references: list[str], output: Path) -> None:
            words = [sys.executable, script, str(share), clips / f"{film.stem}.mp4", film, output]
            subprocess.run(words, check=True)

        shell = f"sh -c '{sys.executable} {script} {share} {clips}/$(basename {{film}} .mkv).mp4 {{film}} {{out}}'"
        return color, shell

    return command


def copy_grey(film: Path, references: list[str], output: Path) -> None:
    output.write_bytes(film.read_bytes())


def test_a_grey_output_scores_as_grey(clips: Path) -> None:
    scores = list(evaluate(clips, copy_grey))
    assert [s.clip for s in scores] == ["one", "two"]
    for score in scores:
        assert score.psnr == pytest.approx(score.grey)
        assert score.luma == 0 and score.colour == pytest.approx(0, abs=0.02)
        assert score.psnr < 30 and score.de00 > 3
        assert len(score.psnr_frames) == 10


def test_the_truth_scores_as_the_truth(clips: Path, share_of_chroma: Callable[[float], tuple[ColorFilm, str]]) -> None:
    score = next(evaluate(clips, share_of_chroma(1)[0]))
    assert score.psnr == score.end == score.psnr_u8 == pytest.approx(78.13, abs=0.01)
    assert score.ssim == pytest.approx(1) and score.colour == pytest.approx(1) and score.his == pytest.approx(1)
    assert score.de00 == score.luma == 0 and score.cdc == score.cdc_gt
    assert score.grey < 30


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the script outside is not here")
@pytest.mark.parametrize(("share", "references"), [(0, "first"), (0.5, "first,last"), (1, "none")])
def test_it_agrees_with_the_script_outside(
    clips: Path,
    tmp_path: Path,
    share_of_chroma: Callable[[float], tuple[ColorFilm, str]],
    share: float,
    references: str,
) -> None:
    color, shell = share_of_chroma(share)
    words = [sys.executable, OUTSIDE, "--data", clips, "--command", shell, "--references", references]
    subprocess.run([*words, "--json", tmp_path / "o.json"], check=True, capture_output=True)
    outside = json.loads((tmp_path / "o.json").read_text())
    scores = list(evaluate(clips, color, references=references))
    rows = [(dataclasses.asdict(score), outside["clips"][score.clip]) for score in scores]
    for inside, row in [*rows, (mean_of(scores), outside["mean"])]:
        for name in ("psnr", "end", "psnr_u8"):
            assert inside[name] == pytest.approx(row[name], abs=0.05), name
        for name in ("ssim", "de00", "cdc", "cdc_gt", "colour"):
            assert inside[name] == pytest.approx(row[name], rel=0.01, abs=1e-6), name
        assert inside["luma"] == row["luma"] == 0


class Seen:
    """A measure that keeps the references of the frames it is shown."""

    columns = ("count",)

    def __init__(self) -> None:
        self.references: list[Sequence[np.ndarray]] = []

    def add(self, pair: Pair) -> None:
        self.references.append(pair.references)

    def end_clip(self) -> Figures:
        return {"count": len(self.references)}

    def pooled(self) -> Figures:
        return {}


@pytest.mark.parametrize(
    ("setting", "places"), [("first", [0]), ("first,last", [0, 5]), ("none", []), ("unrelated", [0])]
)
def test_measures_see_the_references_that_were_given(clips: Path, setting: str, places: list[int]) -> None:
    given: list[np.ndarray] = []

    def color(film: Path, references: list[str], output: Path) -> None:
        given.extend(cv2.imread(r.partition("@")[0])[..., ::-1] for r in references)
        copy_grey(film, references, output)

    seen = Seen()
    score = next(evaluate(clips, color, references=setting, clips=["one"], frames=6, measures=[seen]))
    assert score.measures == {"count": 6} and len(given) == len(places)
    frames = [rgb for rgb, _ in decode(clips / f"{'two' if setting == 'unrelated' else 'one'}.mp4")]
    for references in seen.references:
        for picture, handed, place in zip(references, given, places, strict=True):
            np.testing.assert_array_equal(picture, handed)
            np.testing.assert_array_equal(picture, frames[place])


@pytest.mark.parametrize(("setting", "count"), [("first", 1), ("first,last", 2), ("none", 0), ("unrelated", 1)])
def test_the_settings_hand_over_what_they_say(clips: Path, setting: str, count: int) -> None:
    seen: list[list[str]] = []

    def color(film: Path, references: list[str], output: Path) -> None:
        seen.append(references)
        assert all(cv2.imread(r.partition("@")[0]) is not None for r in references)
        copy_grey(film, references, output)

    score = next(evaluate(clips, color, references=setting, clips=["two"], frames=5))
    assert [len(r) for r in seen] == [count]
    assert len(score.psnr_frames) == 5
    if setting == "first,last":
        assert [r.rpartition("@")[2] for r in seen[0]] == ["0", "4"]


def test_a_film_of_rgb_pictures_comes_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (3, 37, 53, 3), np.uint8))
    write_rgb_film(pictures, tmp_path / "film.mkv")
    read = list(decode(tmp_path / "film.mkv", formats=(RGB,)))
    assert len(read) == 3
    for (rgb, luma), picture in zip(read, pictures, strict=True):
        np.testing.assert_array_equal(rgb, picture)
        np.testing.assert_array_equal(luma, limited_luma(picture))
    # Clips themselves are Y'CbCr.
    with pytest.raises(InputError, match="pixel format bgr0"):
        list(decode(tmp_path / "film.mkv"))


def test_the_luma_of_rgb_pictures_is_that_of_a_film() -> None:
    corners = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    # BT.709-6 item 3.3: 0.2126 R' + 0.7152 G' + 0.0722 B', from 16 to 235.
    assert limited_luma(corners[None]).tolist() == [[16, 235, 63, 173, 32]]


def test_the_truth_in_rgb_scores_as_the_truth(clips: Path) -> None:
    def color(film: Path, references: list[str], output: Path) -> None:
        write_rgb_film((rgb for rgb, _ in decode(clips / f"{film.stem}.mp4")), output)

    score = next(evaluate(clips, color))
    assert score.psnr == pytest.approx(78.13, abs=0.01) and score.ssim == pytest.approx(1) and score.de00 == 0
    # Where R'G'B' cannot show a color of the clip, clipping it moved luma a little.
    assert score.luma <= 4


def test_a_missing_frame_is_an_error(clips: Path) -> None:
    def drop(film: Path, references: list[str], output: Path) -> None:
        with av.open(str(film)) as source, av.open(str(output), "w") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for number, packet in enumerate(source.demux(video=0)):
                if packet.size and number != 9:
                    packet.stream = stream
                    target.mux(packet)

    with pytest.raises(InputError, match="as many frames"):
        list(evaluate(clips, drop, clips=["one"]))


def write_flat(path: Path, width: int, height: int, pix_fmt: str, count: int = 10) -> None:
    """A black film."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for _ in range(count):
            picture = np.zeros((height, width, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("pix_fmt", "width", "sentence"),
    [("yuv420p10le", 128, "pixel format yuv420p10le"), ("yuv420p", 64, "is 64 x 96, the film 128 x 96")],
)
def test_what_is_wrong_with_an_output_is_said(clips: Path, pix_fmt: str, width: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        list(evaluate(clips, lambda film, references, output: write_flat(output, width, 96, pix_fmt)))


def test_an_output_that_is_not_there_is_an_error(clips: Path) -> None:
    with pytest.raises(OutputError, match=r"one\.color\.mkv was not written"):
        list(evaluate(clips, lambda film, references, output: None))


@pytest.mark.parametrize(("references", "frames"), [("first", 1), ("first,last", 2)])
def test_references_alone_cannot_be_scored(clips: Path, references: str, frames: int) -> None:
    with pytest.raises(InputError, match="nothing is left to compare"):
        list(evaluate(clips, copy_grey, references=references, frames=frames))


def test_an_unrelated_reference_is_never_the_clip_itself(clips: Path, tmp_path: Path) -> None:
    given: list[np.ndarray] = []

    def color(film: Path, references: list[str], output: Path) -> None:
        given.append(cv2.imread(references[0])[..., ::-1])
        copy_grey(film, references, output)

    list(evaluate(clips, color, references="unrelated"))
    for picture, other in zip(given, ("two", "one"), strict=True):
        np.testing.assert_array_equal(picture, next(decode(clips / f"{other}.mp4"))[0])
    shutil.copy(clips / "one.mp4", tmp_path)
    with pytest.raises(CallError, match="a second clip"):
        list(evaluate(tmp_path, color, references="unrelated"))


def test_a_clip_without_color_is_refused_before_it_is_colored(tmp_path: Path) -> None:
    write_flat(tmp_path / "grey.mkv", 64, 48, "yuv420p")
    with pytest.raises(InputError, match=r"grey\.mkv has no color"):
        list(evaluate(tmp_path, lambda film, references, output: pytest.fail("was colored")))


def test_clips_that_are_no_films_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a film" * 20)
    with pytest.raises(InputError, match=r"a\.mp4 cannot be decoded"):
        list(evaluate(tmp_path, copy_grey))
    with av.open(str(tmp_path / "b.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux([*stream.encode(sound), *stream.encode(None)])
    with pytest.raises(InputError, match=r"b\.mkv has no pictures"):
        list(evaluate(tmp_path, copy_grey, clips=["b"]))
    write_flat(tmp_path / "c.mkv", 64, 8, "yuv420p")
    with pytest.raises(InputError, match=r"c\.mkv is 64 x 8"):
        list(evaluate(tmp_path, copy_grey, clips=["c"]))


def test_an_error_of_the_colorizer_stays_what_it_is(clips: Path) -> None:
    def fail(film: Path, references: list[str], output: Path) -> None:
        raise ValueError("no such weights")

    with pytest.raises(ValueError, match="no such weights"):
        list(evaluate(clips, fail))


def test_wrong_calls(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(CallError, match="no clip 'three'"):
        list(evaluate(clips, copy_grey, clips=["three"]))
    with pytest.raises(CallError, match="no setting 'last'"):
        list(evaluate(clips, copy_grey, references="last"))
    with pytest.raises(InputError, match="holds no clips"):
        list(evaluate(tmp_path, copy_grey))
    with pytest.raises(InputError, match="no folder"):
        list(evaluate(tmp_path / "gone", copy_grey))


def test_whole_clips_decode(clips: Path) -> None:
    frames = list(decode(clips / "one.mp4"))
    assert len(frames) == 10 and frames[0][0].shape == (96, 128, 3) and frames[0][1].shape == (96, 128)
