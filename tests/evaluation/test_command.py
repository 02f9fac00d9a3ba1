"""``streamcolor eval`` on the command line: what it writes, and one sentence for what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from streamcolor.colorizers.stable.network import UnetBasicNetwork
from streamcolor.commands import main
from streamcolor.evaluation.backbones import FILES, STACKS, Stack
from streamcolor.evaluation.protocols import decode


def run(*words: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main(["eval", *map(str, words)])
    return stopped.value.code


def write_backbone(path: Path) -> None:
    build, taps = STACKS["squeeze"]
    torch.save(Stack(build(), taps).state_dict(), path)


def refused(words: list[str | Path], code: int, says: str, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """This code and one sentence; before any clip is colored, and with the folder as it was."""
    before = sorted(folder.rglob("*"))
    assert run(*words) == code
    spoken = capsys.readouterr()
    assert says in spoken.err and spoken.err.startswith("streamcolor: ") and spoken.err.count("\n") == 1, spoken.err
    assert "psnr" not in spoken.err and "Traceback" not in spoken.err and spoken.out == ""
    assert sorted(folder.rglob("*")) == before


def test_it_writes_all_that_is_asked_for(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMCOLOR_BACKBONES", raising=False)
    words = ["--model", "welsh", "--frames", "6", "--strips", tmp_path / "strips", "--html", tmp_path / "r.html"]
    assert run(clips, *words, "-o", tmp_path / "r.json") == 0
    spoken = capsys.readouterr()
    assert spoken.err.count("without a backbone") == 2
    found = json.loads((tmp_path / "r.json").read_text())
    assert set(found["clips"]) == {"one", "two"} and found["mean"]["fid"] is None and found["mean"]["warp_gt"] > 0
    assert 0 < found["mean"]["his_ref"] < 1 and 0 < found["clips"]["one"]["his_ref_gt"] <= 1
    # Nothing stands still in these clips.
    assert found["mean"]["flicker"] is None and spoken.out.count("n/a") == 3 * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json", "strips"]
    assert sorted(p.name for p in (tmp_path / "strips").iterdir()) == ["one.png", "two.png"]
    sheet = cv2.imread(str(tmp_path / "strips" / "one.png"))
    assert sheet is not None and sheet.shape[1] == 6 * 266
    text = (tmp_path / "r.html").read_text()
    assert text.count("<img") == 2 and f"{found['mean']['psnr']:.2f} dB over 2 clips" in text


def test_measures_can_be_left_out(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ab = {"grey_ab", "psnr_ab", "ssim_ab", "cdc_ab", "cdc_ab_gt"}
    for words, there in (("none", set()), ("flicker", {"flicker", "flicker_gt"}), ("ab", ab)):
        short = ["--clip", "one", "--frames", "3", "--model", "welsh", "--json", "--quiet"]
        assert run(clips, *short, "--measures", words) == 0
        mean = json.loads(capsys.readouterr().out)["mean"]
        assert {"flicker", "flicker_gt", "warp", "his_ref", "lpips_alex", "fid", *ab} & set(mean) == there
        assert all(mean[column] > 0 for column in there & ab)
        assert mean["psnr"] > 0


def test_a_backbone_without_the_learned_layers_gives_no_figure(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", [p for p in sys.path if not Path(p, "lpips").exists()])
    write_backbone(tmp_path / "s.pth")
    words = ["--clip", "one", "--frames", "3", "--model", "welsh", "--measures", "lpips", "--json"]
    assert run(clips, *words, "--lpips-backbone", tmp_path / "s.pth") == 0
    spoken = capsys.readouterr()
    assert json.loads(spoken.out)["mean"]["lpips_squeeze"] is None and "pip install --no-deps lpips" in spoken.err


def test_the_folder_of_backbones_is_used(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = tmp_path / "site" / "lpips" / "weights" / "v0.1"
    heads.mkdir(parents=True)
    (heads.parents[1] / "__init__.py").write_text("raise RuntimeError('imported')")
    channels = (64, 192, 384, 256, 256)
    torch.save({f"lin{n}.model.1.weight": torch.ones(1, c, 1, 1) for n, c in enumerate(channels)}, heads / "alex.pth")
    build, taps = STACKS["alex"]
    torch.save(Stack(build(), taps).state_dict(), tmp_path / FILES["alex"])
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("STREAMCOLOR_BACKBONES", str(tmp_path))
    words = ["--clip", "one", "--frames", "3", "--model", "welsh", "--measures", "lpips,fid", "--json"]
    assert run(clips, *words) == 0
    spoken = capsys.readouterr()
    mean = json.loads(spoken.out)["mean"]
    assert mean["lpips_alex"] > 0 and mean["fid"] is None
    assert "lpips is n/a" not in spoken.err and "fid is n/a" in spoken.err


def test_raw_rgb_scores_what_the_network_emits(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = UnetBasicNetwork().eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    words = ["--model", "unet-basic", "--weights", tmp_path / "w.safetensors", "--clip", "one", "--frames", "3"]
    words += ["--references", "none", "--measures", "none", "--json", "--quiet"]
    scores = []
    for more in ([], ["--raw-rgb"]):
        assert run(clips, *words, *more) == 0
        scores.append(json.loads(capsys.readouterr().out))
    kept, raw = scores
    expected = []
    for truth, luma in decode(clips / "one.mp4", 3):
        # The film is smaller than the working size of the model, so that nothing is resized.
        grey = np.clip((luma.astype(np.float64) - 16) / 219, 0, 1)
        with torch.no_grad():
            seen = torch.from_numpy(grey).float().expand(1, 3, *grey.shape)
            picture = network(seen)[0].permute(1, 2, 0).numpy()
        error = np.mean((np.rint(np.clip(picture, 0, 1) * 255) - truth) ** 2)
        expected.append(10 * np.log10(255**2 / error))
    assert raw["clips"]["one"]["psnr_frames"] == pytest.approx(expected, abs=0.005)
    assert raw["mean"]["psnr"] == pytest.approx(np.mean(expected), abs=0.005)
    assert kept["mean"]["luma"] == 0 and raw["mean"]["luma"] > 50
    assert kept["mean"]["psnr"] > raw["mean"]["psnr"] + 1
    assert kept["mean"]["grey"] == raw["mean"]["grey"]
    assert [score["options"]["raw_rgb"] for score in scores] == [False, True]


def test_raw_rgb_of_a_model_that_emits_none_is_refused(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "lab.safetensors"
    save_file(UnetBasicNetwork("lab").state_dict(), weights)
    outputs = ["-o", tmp_path / "r.json", "--html", tmp_path / "r.html", "--strips", tmp_path / "sheets"]
    for model in (["--model", "welsh"], ["--model", "unet-basic", "--weights", weights]):
        refused([clips, "--raw-rgb", *model, *outputs], 2, f"{model[1]} emits color", capsys, tmp_path)


def test_wrong_words(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.pth").write_text("not weights " * 50)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for words, code, says in (
        (["--measures", "warp,vmaf"], 2, "no measure 'vmaf'"),
        (["--measures", ""], 2, "--measures is empty"),
        (["--lpips-backbone", tmp_path / "gone.pth"], 3, "gone.pth"),
        (["--lpips-backbone", tmp_path / "notes.pth"], 3, "notes.pth"),
        (["--fid-backbone", tmp_path / "notes.pth"], 3, "notes.pth"),
        (["--aesthetics-backbone", tmp_path / "notes.pth"], 3, "notes.pth"),
        (["--html", tmp_path / "no" / "r.html"], 4, "no does not exist"),
        (["--html", tmp_path / "folder"], 4, "is a folder"),
        (["--output", tmp_path / "no" / "r.json"], 4, "no does not exist"),
        (["--strips", tmp_path / "file"], 4, "is not a folder"),
        (["--strips", tmp_path / "file" / "sheets"], 4, "is not a folder"),
        (["--strips", tmp_path / "sheets", "--clip", "three"], 2, "no clip 'three'"),
    ):
        refused([clips, *words], code, says, capsys, tmp_path)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot be written to."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder(clips: Path, tmp_path: Path, read_only: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused([clips, "--html", read_only / "r.html"], 4, "cannot be written to", capsys, tmp_path)
    refused([clips, "--strips", read_only], 4, "cannot be written to", capsys, tmp_path)
    refused([clips, "--strips", read_only / "new"], 4, "cannot be written to", capsys, tmp_path)
