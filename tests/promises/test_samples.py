"""The film that comes along: the README's first line, and the script that shows the Python API."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamcolor.commands import main
from streamcolor.evaluation.metrics import psnr
from streamcolor.evaluation.protocols import decode

from films import audio_packets, read_luma, scene, write_film, write_keyframe

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
# First and last clean frame of every shot of samples/film.mp4 (samples/README.md).
SHOTS = ((30, 113), (114, 203), (222, 329), (330, 437), (438, 490))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sample_film_gets_its_colors(tmp_path: Path) -> None:
    output = tmp_path / "film.color.mp4"
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(SAMPLES / "film.mp4"), "--ref", str(SAMPLES / "keyframes"), "-o", str(output), "-q"])
    assert stopped.value.code == 0
    assert audio_packets(output) == audio_packets(SAMPLES / "film.mp4")
    assert read_luma(output)[1] == read_luma(SAMPLES / "film.mp4")[1]
    films = (decode(output), decode(SAMPLES / "film.original.mp4"), decode(SAMPLES / "film.mp4"))
    gain = [psnr(mine, true) - psnr(grey, true) for (mine, _), (true, _), (grey, _) in zip(*films, strict=True)]
    for first, last in SHOTS:
        assert np.mean(gain[first : last + 1]) > 5, (first, last)


def test_the_python_api_is_as_the_sample_shows(tmp_path: Path) -> None:
    luma = [scene(64, 96, n, 8) for n in range(3)]
    film = write_film(tmp_path / "film.mkv", luma)
    key = write_keyframe(tmp_path / "key.png", luma[0])
    words = [sys.executable, str(SAMPLES / "python_api.py"), str(film), str(key)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 frames" in done.stdout
    assert (tmp_path / "film.color.mp4").exists()
