"""The protocol inside agrees with the script outside; degenerate outputs score what they must."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamcolor.errors import CallError, InputError
from streamcolor.evaluation.protocols import ColorFilm, decode, evaluate
from streamcolor.evaluation.report import mean_of, table, to_json, write_strip

OUTSIDE = Path(__file__).resolve().parents[3] / "shared" / "tools" / "first_frame_eval.py"

# What the script outside runs: half the true chroma of the clip, which it finds by the film's name.
HALF_CHROMA = """
import sys, av, numpy as np
clip, film, out = sys.argv[1:]
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
            a[:, :w] = b[:, :w] if number == 0 else (b[:, :w].astype(int) + 128) // 2
        box.mux(stream.encode(picture))
    box.mux(stream.encode())
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short color clips, H.264, BT.709 limited."""
    folder = tmp_path_factory.mktemp("clips")
    for name, seed in (("one", 0), ("two", 7)):
        rng = np.random.default_rng(seed)
        scene = cv2.resize(rng.integers(0, 256, (7, 12, 3), np.uint8), (180, 96), interpolation=cv2.INTER_CUBIC)
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=24, options={"crf": "12"})
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            context = stream.codec_context
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
            for shift in range(10):
                part = np.ascontiguousarray(scene[:, 4 * shift : 4 * shift + 128])
                frame = av.VideoFrame.from_ndarray(part, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace="ITU709", threads=1
                )
                frame.color_range, frame.colorspace = 1, 1
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder


@pytest.fixture
def half_chroma(clips: Path, tmp_path: Path) -> tuple[ColorFilm, str]:
    """A command that knows the truth and gives half of it, in-process and as a command line."""
    script = tmp_path / "half.py"
    script.write_text(HALF_CHROMA)

    def color(film: Path, references: list[str], output: Path) -> None:
        clip = clips / f"{film.stem}.mp4"
        subprocess.run([sys.executable, str(script), str(clip), str(film), str(output)], check=True)

    shell = f"sh -c '{sys.executable} {script} {clips}/$(basename {{film}} .mkv).mp4 {{film}} {{out}}'"
    return color, shell


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


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the script outside is not here")
def test_it_agrees_with_the_script_outside(
    clips: Path, tmp_path: Path, half_chroma: tuple[Callable[..., None], str]
) -> None:
    color, shell = half_chroma
    inside = mean_of(list(evaluate(clips, color)))
    words = [sys.executable, str(OUTSIDE), "--data", str(clips), "--command", shell, "--json", str(tmp_path / "o.json")]
    subprocess.run(words, check=True, capture_output=True)
    outside = json.loads((tmp_path / "o.json").read_text())["mean"]
    for name in ("psnr", "end", "psnr_u8"):
        assert inside[name] == pytest.approx(outside[name], abs=0.05), name
    for name in ("ssim", "de00", "cdc", "cdc_gt", "colour"):
        assert inside[name] == pytest.approx(outside[name], rel=0.01), name
    assert inside["luma"] == outside["luma"] == 0


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


def test_wrong_calls(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(CallError, match="no clip 'three'"):
        list(evaluate(clips, copy_grey, clips=["three"]))
    with pytest.raises(CallError, match="no setting 'last'"):
        list(evaluate(clips, copy_grey, references="last"))
    with pytest.raises(InputError, match="holds no clips"):
        list(evaluate(tmp_path, copy_grey))
    with pytest.raises(InputError, match="no folder"):
        list(evaluate(tmp_path / "gone", copy_grey))


def test_reports_hold_what_was_scored(clips: Path, tmp_path: Path) -> None:
    sheets: list[Path] = []
    keep = lambda name, kept: sheets.append(write_strip(tmp_path / "sheets", name, kept))  # noqa: E731
    scores = list(evaluate(clips, copy_grey, keep=keep))
    assert table(scores).row_count == 3
    assert json.loads(to_json(scores, {"model": "grey"}))["clips"]["one"]["luma"] == 0
    sheet = cv2.imread(str(sheets[0]))
    assert sheet is not None and sheet.shape[1] == 1596
    quarter = sheet.shape[0] // 4
    assert np.ptp(sheet[:quarter], axis=-1).max() < np.ptp(sheet[quarter : 2 * quarter], axis=-1).max()


def test_whole_clips_decode(clips: Path) -> None:
    frames = list(decode(clips / "one.mp4"))
    assert len(frames) == 10 and frames[0][0].shape == (96, 128, 3) and frames[0][1].shape == (96, 128)
