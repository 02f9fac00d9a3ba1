"""Promise 3: memory does not grow with the length of the film or the number of references."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache

from films import scene, write_film, write_keyframe

COMMAND = Path(sys.executable).with_name("streamcolor")


def peak_memory(film: Path, key: Path, output: Path, model: str) -> int:
    """Peak resident KiB of one ``streamcolor run``, measured by the kernel."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = [COMMAND, "run", film, "--ref", key, "-o", output, "--model", model, "--threads", "1", "-q", "-y"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\s*$", done.stdout)
    assert found
    return int(found[1])


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("model", "height", "width", "count"),
    [("propagator", 96, 128, 300), ("welsh", 96, 128, 300), ("welsh", 480, 640, 100)],
)
def test_a_film_ten_times_as_long_needs_no_more(
    tmp_path: Path, model: str, height: int, width: int, count: int
) -> None:
    """Small films for what is remembered of a frame, a larger one for frames that are not let go."""
    peaks = []
    for length in (count, 10 * count):
        # Cuts every 250 frames: shots must not pile up either.
        luma = [scene(height, width, n, 8, seed=n // 250) for n in range(length)]
        film = write_film(tmp_path / f"{length}.mkv", luma, codec="libx264")
        key = write_keyframe(tmp_path / "key.png", luma[0])
        peaks.append(peak_memory(film, key, tmp_path / "out.mkv", model))
    assert peaks[1] <= 1.05 * peaks[0], peaks
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


def test_the_cap_holds_whatever_the_model_remembers() -> None:
    import torch

    cache = ReferenceCache(CachePolicy(recent=4, every=2, older=50), cap=10_000)
    for number in range(200):
        cache.remember(Entry({"x": torch.zeros(250)}, number))
        assert cache.nbytes <= 10_000
    assert cache.rolling[-1].frame == 199
