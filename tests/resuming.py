"""What every training run promises of a resume."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from streamcolor.train.loop import Loop


def assert_resumes(whole: Path, half: Loop, batches: Iterable[dict[str, Tensor]], resume: Callable[[], Path]) -> None:
    """Stopped after three steps and resumed, a run ends with the weights of one that was left alone."""
    batch = iter(batches)
    for _ in range(3):
        half.step_once(next(batch))
    half.save()
    expected, resumed = load_file(whole), load_file(resume())
    assert expected.keys() == resumed.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, resumed[name]), name
