from __future__ import annotations

import json
import sys
from fractions import Fraction

import pytest

from streamcolor.commands import main
from streamcolor.errors import DeviceError
from streamcolor.pipeline.speed import Feed, measure

FEED = Feed(64, 48, Fraction(100), 40, 5)


def test_a_program_that_copies_is_measured() -> None:
    speed = measure("copy", ["cat"], FEED)
    assert speed.frames_per_second > speed.pace > 0
    assert 0 < speed.delay_median <= speed.delay_p95 < 1000


def test_a_program_that_waits_is_slower() -> None:
    wait = "import sys, time\nwhile data := sys.stdin.buffer.read1(): time.sleep(0.02); sys.stdout.buffer.write(data)"
    speed = measure("wait", [sys.executable, "-uc", wait], FEED)
    assert speed.delay_median > 18


def test_a_program_that_passes_nothing_is_named() -> None:
    with pytest.raises(DeviceError, match="it broke"):
        measure("nothing", ["sh", "-c", "cat >/dev/null; echo it broke >&2"], FEED)


@pytest.mark.slow
def test_the_table_has_the_pipe_with_and_without_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "filter", "model=welsh:latency=0", "--size", "320x240", "--frames", "40", "--json"]
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"].partition(" filter ")[2] for row in rows][-2:] == ["model=none", "model=welsh:latency=0"]
    assert all(row["frames_per_second"] > 0 and row["delay_median"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "big"], "WIDTHxHEIGHT"),
        (["--size", "160x120"], "too small to measure"),
        (["--rate", "0"], "out of range"),
        (["modle=x"], "did you mean 'model'"),
    ],
)
def test_wrong_measurements_are_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "filter", *words])
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
