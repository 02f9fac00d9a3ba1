"""``streamcolor train``: wrong words are refused in one sentence before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamcolor.commands import main


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["propagater"], "no model 'propagater' to train: did you mean 'propagator'?", 2),
        (["propagator", "--batsh", "3"], "no hyper-parameter 'batsh': did you mean --batch?", 2),
        (["propagator", "--batch", "three"], "--batch three does not fit propagator", 2),
        (["propagator", "stray"], "'stray' is not an option", 2),
        (["propagator", "--precision", "fp8"], "no precision 'fp8'", 2),
        (["propagator", "--precision", "fp16", "--device", "cpu"], "fp16 is not trained on a processor", 5),
        (["propagator", "--width", "100"], "must be multiples of 16", 2),
        (["propagator", "--data", "nowhere"], "there is no folder nowhere", 3),
        (["propagator", "--resume"], "holds no checkpoint to resume from", 3),
        (["propagator"], "holds no color pictures of 128 lines", 3),
    ],
)
def test_wrong_calls(
    words: list[str], sentence: str, code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    given = ["--data", str(tmp_path / "data")] if "--data" not in words else []
    with pytest.raises(SystemExit) as end:
        main(["train", *words, *given, "--output", str(tmp_path / "run")])
    said = capfd.readouterr().err
    assert end.value.code == code
    assert sentence in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()
