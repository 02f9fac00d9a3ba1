"""Stopped by a signal a command clears away what is half-written, and says with its code by which."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcolor.commands import main

from films import scene, write_film, write_keyframe

COMMAND = Path(sys.executable).with_name("streamcolor")


def wait_for_frames(progress: Path) -> None:
    for _ in range(1200):
        time.sleep(0.05)
        if "frame=" in (progress.read_text() if progress.exists() else ""):
            return
    raise TimeoutError("no frame in a minute")


@contextlib.contextmanager
def started(words: list[str], number: signal.Signals, handler: signal.Handlers) -> Iterator[subprocess.Popen[str]]:
    """A program that hears a signal in this way, or does not."""
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, handler)
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def long_run(folder: Path) -> list[str]:
    """A run of some seconds, which writes ``folder/progress``."""
    film = write_film(folder / "film.mkv", [scene(120, 160, n, 8) for n in range(400)])
    key = write_keyframe(folder / "key.png", scene(120, 160, 0, 8))
    words = [str(COMMAND), "run", str(film), "--ref", str(key), "--progress", str(folder / "progress")]
    return [*words, "--model", "flow", "--threads", "1"]


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        # timeout(1) sends its signal to the process and to its group.
        ([signal.SIGTERM] * 3, 143),
    ],
)
def test_a_stopped_run_leaves_nothing_and_says_how_to_go_on(
    tmp_path: Path, numbers: list[signal.Signals], code: int
) -> None:
    words = long_run(tmp_path)
    before = sorted(tmp_path.iterdir())
    # Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that.
    with started(words, signal.SIGINT, signal.SIG_DFL) as process:
        wait_for_frames(tmp_path / "progress")
        for number in numbers:
            process.send_signal(number)
        _, spoken = process.communicate(timeout=60)
    (tmp_path / "progress").unlink()
    assert process.returncode == code
    assert spoken.count("\n") == 1 and "same command" in spoken and "Traceback" not in spoken, spoken
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_that_waits_for_its_film_can_be_ended(tmp_path: Path) -> None:
    """Nobody writes into the pipe, and the libraries that read it hear no signal."""
    film = tmp_path / "film.nut"
    os.mkfifo(film)
    with started([str(COMMAND), "run", str(film)], signal.SIGTERM, signal.SIG_DFL) as process, film.open("wb"):
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert list(tmp_path.iterdir()) == [film]


def test_nohup_is_heard(tmp_path: Path) -> None:
    with started(long_run(tmp_path), signal.SIGHUP, signal.SIG_IGN) as process:
        wait_for_frames(tmp_path / "progress")
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_closed_terminal_ends_a_run(tmp_path: Path) -> None:
    """Neither the bar nor the sentence can be written any more."""
    words = long_run(tmp_path)
    before = sorted(tmp_path.iterdir())
    outer, inner = pty.openpty()
    with subprocess.Popen(
        words, stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:  # fmt: skip
        try:
            os.close(inner)
            wait_for_frames(tmp_path / "progress")
            os.close(outer)
            assert process.wait(60) == 129
        finally:
            process.kill()
    (tmp_path / "progress").unlink()
    assert sorted(tmp_path.iterdir()) == before


def test_signals_of_whoever_calls_the_command_from_python_stay(film: Path, key: Path) -> None:
    def mine(*_: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGTERM, mine)
    hung_up = signal.getsignal(signal.SIGHUP)
    try:
        with pytest.raises(SystemExit):
            main(["run", str(film), "--ref", str(key), "--model", "welsh", "-q"])
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == (mine, hung_up)
    finally:
        signal.signal(signal.SIGTERM, before)
