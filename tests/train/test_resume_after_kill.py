"""A training run that is killed by SIGKILL and resumed sees the losses, and ends with the weights, of one that is not.

Every kind of loop, by command, killed in every stage that it has.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

# A checkpoint every so many steps; the run is killed when it has told the losses of this step.
SAVED, KILLED, STEPS = 6, 9, 24

SIZE = ["--size", "32", "--batch", "2", "--width", "4"]
CRITIC = ["--discriminator-width", "4"]
# Id, reduced size, folder of the stage in which the run is killed.
RUNS = {
    "regression": ("unet-basic", ["--size", "32", "--batch", "2", "--stills"], "."),
    "stable: autoencoder": ("stable-colorizer", ["--size", "32", "--batch", "2", "--stills"], "autoencoder"),
    "stable: colorizer": ("stable-colorizer", ["--size", "32", "--batch", "2", "--stills"], "."),
    "propagator": (
        "propagator",
        ["--height", "64", "--width", "64", "--batch", "1", "--frames", "2", "--stills", "1", "--clips", "0"],
        ".",
    ),
    "prior": ("chroma-prior", ["--height", "64", "--width", "64", "--batch", "2", "--narrow", "2"], "."),
    "cnn": ("resnet-cnn", SIZE, "."),
    "classifier": ("cnn-classifier", ["--size", "64", "--batch", "2", "--width", "4"], "."),
    "conditional GAN": ("unet-gan", [*SIZE, *CRITIC, "--depth", "5"], "."),
    "attention GAN": ("attention-unet-gan", [*SIZE, *CRITIC], "."),
    "cycle GAN": ("agin", [*SIZE, "--critic-width", "4", "--no-global-scale"], "."),
    "exemplar: first stage": ("attention-exemplar", [*SIZE, *CRITIC, "--short-side", "40"], "first-stage"),
    "exemplar: second stage": ("attention-exemplar", [*SIZE, *CRITIC, "--short-side", "40"], "."),
    "stylization: transfer": ("stylization", [*SIZE, "--crop", "24", "--transfer-batch", "2"], "transfer"),
    "stylization: colorization": ("stylization", [*SIZE, "--crop", "24", "--transfer-batch", "2"], "."),
}
# Scored on clips alone.
WITHOUT_CLIPS = ("propagator", "prior")
# Dropout, two optimizers and buffers of normalization: what there is to restore. The others take minutes.
QUICK = ("conditional GAN",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(6):
        coarse = (rng.random((5, 6, 3)) * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(coarse, (192, 160), interpolation=cv2.INTER_CUBIC))
    return folder


def started(model: str, data: Path, output: Path, words: list[str]) -> subprocess.Popen[bytes]:
    every = ["--save-every", str(SAVED), "--validate-every", "4", "--report-every", "1", "--workers", "0"]
    call = [sys.executable, "-c", "from streamcolor.commands import main; main()", "train", model, "-q"]
    call += ["--data", str(data), "--output", str(output), "--max-steps", str(STEPS), "--device", "cpu"]
    # Away from the sources: a folder called streamcolor would hide the installed package.
    return subprocess.Popen([*call, *words, *every], cwd=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def losses(folder: Path) -> list[dict[str, float]]:
    """Without the time they took; the last line may be half written."""
    path = folder / "losses.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [{name: value for name, value in record.items() if name != "minutes"} for record in records]


def killed(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Kill a run as soon as it has told the losses of step ``KILLED``; the last step that it told."""
    while len(losses(folder)) < KILLED and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said.decode()
    return int(losses(folder)[-1]["step"])


def ended(process: subprocess.Popen[bytes]) -> None:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", [r if r in QUICK else pytest.param(r, marks=pytest.mark.slow) for r in RUNS])
def test_it_goes_on_as_if_nothing_had_happened(run: str, data: Path, tmp_path: Path) -> None:
    model, words, stage = RUNS[run]
    whole, half = tmp_path / "whole", tmp_path / "half"
    undisturbed = started(model, data, whole, words)
    last = killed(started(model, data, half, words), half / stage)
    assert KILLED <= last < STEPS and (half / stage / "last.pt").exists()
    ended(undisturbed)
    ended(started(model, data, half, [*words, "--resume"]))
    folders = [path.parent.relative_to(whole) for path in whole.rglob("losses.jsonl")]
    assert Path(stage) in folders
    for folder in folders:
        told = losses(half / folder)
        assert [record["step"] for record in told] == list(range(1, STEPS + 1))
        assert told == losses(whole / folder)
        written = {path.name for path in (whole / folder).glob("*.safetensors")}
        # Without clips that are set apart, nothing is the best.
        assert written == {"average.safetensors"} | (set() if run in WITHOUT_CLIPS else {"best.safetensors"})
        for name in written:
            assert (half / folder / name).read_bytes() == (whole / folder / name).read_bytes(), f"{folder}/{name}"
