"""What a painter does not let pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from streamcolor.colorizers.registry import find, shipped_weights
from streamcolor.errors import StreamcolorError
from streamcolor.pipeline.run import RunOptions, run

from films import write_film


def test_colors_that_are_not_numbers_end_a_run(tmp_path: Path) -> None:
    weights = load_file(shipped_weights(find("propagator")))
    weights["fusion.out.bias"] = torch.full_like(weights["fusion.out.bias"], torch.nan)
    save_file(weights, tmp_path / "damaged.safetensors")
    rng = np.random.default_rng(0)
    film = write_film(tmp_path / "film.mkv", [rng.integers(16, 235, (64, 96)).astype(np.uint8) for _ in range(3)])
    options = RunOptions(film, output=tmp_path / "out.mkv", weights=tmp_path / "damaged.safetensors")
    with pytest.raises(StreamcolorError, match="propagator gave frame 0 colors that are not numbers"):
        run(options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged.safetensors", "film.mkv"]
