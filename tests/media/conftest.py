"""Tiny films made by the ffmpeg program."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from media.small_films import MakeFilm, ffmpeg


@pytest.fixture
def make_film(tmp_path: Path) -> MakeFilm:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg program")

    def make(name: str, *options: str, size: str = "64x48", seconds: float = 0.4, sound: bool = False) -> Path:
        path = tmp_path / name
        inputs = ["-f", "lavfi", "-i", f"testsrc2=s=128x96:r=25:d={seconds},scale={size.replace('x', ':')}"]
        if sound:
            inputs += ["-f", "lavfi", "-i", f"sine=d={seconds}"]
        ffmpeg(*inputs, *options, str(path))
        return path

    return make
