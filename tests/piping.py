"""The pipe filter behind a real ffmpeg, in this process: a film goes to standard input, media come out."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from streamcolor.commands import main


@contextlib.contextmanager
def standing_in(descriptor: int, file: IO[bytes]) -> Iterator[None]:
    """``file`` takes the place of a standard stream."""
    kept = os.dup(descriptor)
    os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def run_filter(options: str, source: IO[bytes], output: Path, *words: str) -> int:
    """``streamcolor filter OPTIONS < source > output``; returns the exit code."""
    sys.stdout.flush()
    with output.open("wb") as file, standing_in(0, source), standing_in(1, file):
        with pytest.raises(SystemExit) as stopped:
            main(["filter", options, *words])
        sys.stdout.flush()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def filtered(film: Path, options: str, output: Path, *words: str, container: str = "nut") -> int:
    """``ffmpeg -i film ... -f container - | streamcolor filter OPTIONS > output``, everything but pictures copied.

    words: further options of ffmpeg, before the container.
    """
    command = ["ffmpeg", "-v", "error", "-i", str(film), "-map", "0", "-c", "copy"]
    command += ["-c:v", "wrapped_avframe" if container == "yuv4mpegpipe" else "rawvideo"]
    if container != "yuv4mpegpipe":  # counts in frames
        command += ["-enc_time_base", "-1"]
    command += ["-fps_mode", "passthrough", *words, "-strict", "-1", "-f", container, "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as ffmpeg:
        assert ffmpeg.stdout is not None
        return run_filter(options, ffmpeg.stdout, output)


def ffmpeg_says(film: Path, *words: str) -> str:
    """What the ffmpeg program prints about a film, such as ``-f md5 -``."""
    command = ["ffmpeg", "-v", "error", "-i", str(film), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def picture_times(film: Path) -> list[str]:
    """Presentation times of the pictures as ffprobe prints them, in seconds."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0"]
    return subprocess.run([*command, str(film)], check=True, capture_output=True, text=True).stdout.split()
