"""Bad input: one sentence, the exit code of the command line's contract, nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamcolor.commands import main

from films import read_luma, scene, write_film, write_keyframe

COMMAND = Path(sys.executable).with_name("streamcolor")


def refused(words: list[str | Path], code: int, says: str, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """The command ends with this code and one sentence that holds ``says``; the folder is as before."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    spoken = capsys.readouterr()
    assert stopped.value.code == code, spoken.err
    assert says in spoken.err
    assert spoken.err.startswith("streamcolor: ") and spoken.err.count("\n") == 1, spoken.err
    assert "Traceback" not in spoken.err and spoken.out == ""
    assert sorted(folder.rglob("*")) == before


def test_a_text_file_as_film(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a film " * 100)
    refused(["run", text, "--ref", key], 3, "notes.mp4", capsys, tmp_path)


def test_a_film_that_is_not_there(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["run", tmp_path / "gone.mp4", "--ref", key], 3, "gone.mp4", capsys, tmp_path)


def test_a_picture_as_film(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["run", key, "--ref", key], 3, "picture", capsys, tmp_path)


def test_a_film_as_reference(tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["run", film, "--ref", film], 3, "film", capsys, tmp_path)


def test_a_text_file_as_reference(tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key.png").write_text("not a picture")
    refused(["run", film, "--ref", tmp_path / "key.png"], 3, "key.png", capsys, tmp_path)


def test_a_reference_that_is_not_there(tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["run", film, "--ref", tmp_path / "gone.png"], 3, "gone.png", capsys, tmp_path)


def test_a_reference_of_another_aspect(tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    square = write_keyframe(tmp_path / "square.png", scene(64, 64, 0, 8))
    refused(["run", film, "--ref", square], 3, "--fit", capsys, tmp_path)


def test_another_aspect_is_taken_when_told_how(tmp_path: Path, film: Path) -> None:
    square = write_keyframe(tmp_path / "square.png", scene(64, 64, 0, 8))
    for fit in ("crop", "pad", "stretch"):
        with pytest.raises(SystemExit) as stopped:
            main(["run", str(film), "--ref", f"{square}@0", "--fit", fit, "--model", "welsh", "-y", "-q"])
        assert stopped.value.code == 0
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(film), "--ref", str(square), "--fit", "squeeze", "-y", "-q"])
    assert stopped.value.code == 2


def test_a_picture_that_is_cropped_for_a_line(tmp_path: Path) -> None:
    line = write_film(tmp_path / "line.mkv", [scene(2, 640, n, 8) for n in range(3)])
    square = write_keyframe(tmp_path / "square.png", scene(16, 16, 0, 8))
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(line), "--ref", f"{square}@0", "--fit", "crop", "--model", "welsh", "-q"])
    assert stopped.value.code == 0


@pytest.mark.parametrize(
    ("name", "output"),
    [("100%.mp4", "100%.color.mp4"), ("a%d.mp4", "a%d.color.mp4"), ("%04d.avi", "%04d.color.mkv")],
)
def test_a_film_with_a_percent_sign_in_its_name(
    tmp_path: Path, film: Path, key: Path, name: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", str(tmp_path / name), "--ref", str(key), "--model", "welsh", "-q"]
    shutil.copy(film, tmp_path / name)
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0, capsys.readouterr().err
    assert len(read_luma(tmp_path / output)[0]) == 8
    refused(["run", tmp_path / "gone%d.mp4", "--ref", key], 3, "gone%d.mp4 does not exist", capsys, tmp_path)


def test_pictures_with_a_percent_sign_in_their_names(tmp_path: Path, key: Path) -> None:
    for number in range(3):
        write_keyframe(tmp_path / f"5%_{number:03d}.png", scene(64, 96, number, 8))
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(tmp_path / "5%_%03d.png"), "--ref", str(key), "--model", "welsh", "-q"])
    assert stopped.value.code == 0
    assert [path.name for path in sorted(tmp_path.glob("*color*"))] == [f"5%_color.{n:03d}.png" for n in range(3)]


def test_a_film_of_no_frames(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.mkv"
    write_film(empty, [scene(64, 96, 0, 8)])
    whole = empty.read_bytes()
    empty.write_bytes(whole[: whole.find(b"\x1f\x43\xb6\x75")])  # everything before the first cluster
    refused(["run", empty, "--ref", key], 3, "empty.mkv", capsys, tmp_path)
    (tmp_path / "nothing.mp4").touch()
    refused(["run", tmp_path / "nothing.mp4", "--ref", key], 3, "nothing.mp4", capsys, tmp_path)


def test_an_mp4_cut_off_before_its_index(
    tmp_path: Path, film: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    refused(["run", cut, "--ref", key], 3, "cut.mp4", capsys, tmp_path)


def test_a_film_cut_off_in_the_middle_is_colored_as_far_as_it_decodes(tmp_path: Path, key: Path) -> None:
    whole = write_film(tmp_path / "whole.mkv", [scene(64, 96, n, 8) for n in range(20)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(cut), "--ref", str(key), "--codec", "ffv1", "--model", "welsh", "-q"])
    assert stopped.value.code == 0
    colored, original = read_luma(tmp_path / "cut.color.mkv")[0], read_luma(whole)[0]
    assert 5 <= len(colored) < 20
    for mine, theirs in zip(colored[:-1], original, strict=False):
        np.testing.assert_array_equal(mine, theirs)


def test_an_odd_sized_film_works_and_keeps_its_luma(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = write_film(tmp_path / "odd.mkv", [scene(63, 95, n, 8) for n in range(4)])
    for codec, output in (("libx264", "odd.mp4"), ("ffv1", "odd.color.mkv")):
        with pytest.raises(SystemExit) as stopped:
            words = ["run", odd, "--ref", key, "-o", tmp_path / output, "--codec", codec, "--model", "welsh"]
            main([str(word) for word in words])
        assert stopped.value.code == 0
    assert "4:4:4" in capsys.readouterr().err
    for mine, theirs in zip(read_luma(tmp_path / "odd.color.mkv")[0], read_luma(odd)[0], strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--codec", "divx"], "divx"),
        (["--model", "propagater"], "did you mean 'propagator'"),
        (["--device", "gpu"], "gpu"),
        (["--frobnicate"], "--frobnicate"),
        (["--crf", "90"], "crf"),
        (["--size", "3"], "size"),
        (["--depth", "7"], "7"),
        (["--rate", "fast"], "--rate fast"),
        (["--preset", "warp"], "veryslow"),
        (["--ref", "key.png@1:2"], "neither a frame number"),
        (["--ref", "@5"], "'@5' names no picture"),
        (["--ref", ""], "--ref is empty"),
        (["--weights="], "--weights is empty"),
        (["--model", "autoencoder"], "'autoencoder' colors nothing by itself"),
        (["--model", "flow", "--precision", "bogus"], "no precision 'bogus'"),
    ],
)
def test_wrong_options(
    words: list[str], says: str, film: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["run", film, "--ref", key, *words], 2, says, capsys, tmp_path)


def test_an_unknown_key_in_a_configuration(
    film: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("model: flow\nkodec: ffv1\n")
    refused(["run", film, "--ref", key, "--config", tmp_path / "c.yaml"], 2, "c.yaml:2", capsys, tmp_path)
    (tmp_path / "c.yaml").write_text("model: [flow\n")
    refused(["run", film, "--ref", key, "--config", tmp_path / "c.yaml"], 2, "not YAML", capsys, tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: flow\nref: null\n", "c.yaml:2: ref: a value is missing"),
        ("model: flow\n\nref: [key.png, '']\n", "c.yaml:3: ref: a value is missing"),
        ("sat: [1]\n", "c.yaml:1: sat: [1] is not one value"),
        ("output: {a: b}\n", "c.yaml:1: output: {'a': 'b'} is not one value"),
        ("quiet: true\ncut: [a]\n", "c.yaml:2: cut: "),
        ("sat: 20\n", "c.yaml:1: sat: "),
        ("crf: 18.5\n", "c.yaml:1: crf: "),
        ("sat: yes\n", "c.yaml:1: sat: "),
        ("quiet: maybe\n", "c.yaml:1: quiet: "),
        ("ref: key.png\nref: other.png\n", "c.yaml:2: 'ref' is in line 1 already; keep one of them"),
        ("cache_mb: 99\n\ncache-mb: 99\n", "c.yaml:3: 'cache-mb' is in line 1 already; keep one of them"),
        ("xqzz: 1\n", "enable, film, fit, json, lookahead"),
        ("film_i: film.mp4\n", "unknown key 'film_i'"),
    ],
)
def test_wrong_values_in_a_configuration(
    text: str, says: str, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(text)
    refused(["run", film, "--config", tmp_path / "c.yaml"], 2, says, capsys, tmp_path)


def test_values_in_a_configuration_are_those_of_the_command_line(
    film: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["film: " + str(film), "ref: " + str(key), "model: welsh", "cut: [2, 4]", "sat: 1", "stabilize: no"]
    lines += ["json: true", "quiet: yes", "crf: null", "cache-mb: 64"]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--config", str(tmp_path / "c.yaml")])
    spoken = capsys.readouterr()
    assert stopped.value.code == 0 and spoken.err == ""
    assert [shot["start"] for shot in json.loads(spoken.out)["shots"]] == [0, 2, 4]


def test_a_configuration_is_heard_and_the_command_line_wins(film: Path, key: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"model: nonsense\nref: {key}\nquiet: true\n")
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(film), "--config", str(tmp_path / "c.yaml")])
    assert stopped.value.code == 2
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(film), "--config", str(tmp_path / "c.yaml"), "--model", "welsh"])
    assert stopped.value.code == 0


def test_an_output_that_is_there_is_not_replaced(
    film: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "film.color.mp4").write_text("precious")
    refused(["run", film, "--ref", key], 4, "--overwrite", capsys, tmp_path)
    assert (tmp_path / "film.color.mp4").read_text() == "precious"


def test_the_film_itself_as_output(film: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = film.read_bytes()
    refused(["run", film, "--ref", key, "-o", film, "-y"], 2, "film.mp4", capsys, tmp_path)
    assert film.read_bytes() == before


def test_a_folder_that_is_not_there(film: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["run", film, "--ref", key, "-o", tmp_path / "no" / "out.mp4"], 4, "no", capsys, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 192 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(16, 235, (64, 96), np.uint8) for _ in range(80)]
    film = write_film(tmp_path / "film.mkv", noise)
    words = ["run", film, "--ref", f"{key}@0", "-o", small_disk / "out.mkv", "--codec", "ffv1", "--model", "welsh"]
    refused(words, 4, "space", capsys, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_a_full_disk_behind_standard_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([str(COMMAND), "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (4, "streamcolor: no space is left for standard output: make room\n")


def test_a_read_only_folder(small_disk: Path, film: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(["run", film, "--ref", key, "-o", small_disk / "out.mp4"], 4, "read-only", capsys, small_disk)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is the witness")
def test_a_sound_file_as_film(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = tmp_path / "sound.wav"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=0.2", str(sound)], check=True)
    refused(["run", sound, "--ref", key], 3, "sound.wav", capsys, tmp_path)


def test_a_grey_reference_is_taken(tmp_path: Path, film: Path) -> None:
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), np.repeat(scene(64, 96, 0, 8)[..., None], 3, -1))
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(film), "--ref", str(grey), "--model", "welsh", "-q"])
    assert stopped.value.code == 0


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert capsys.readouterr().out.count("\n") > 8


def test_a_reference_beyond_the_end_is_named(
    tmp_path: Path, film: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(film), "--ref", f"{key}@500", "--model", "welsh"])
    assert stopped.value.code == 0
    assert "key.png is named for frame 500, but the film ends at 7" in capsys.readouterr().err
