"""What a film loses on its way is said, in a sentence each; a whole film is not spoken of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamcolor.commands import main

from films import scene, write_film, write_keyframe


@pytest.fixture
def film(tmp_path: Path) -> Path:
    write_keyframe(tmp_path / "key.png", scene(64, 96, 0, 8))
    return write_film(tmp_path / "film.mkv", [scene(64, 96, n, 8) for n in range(50)])


def said(film: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Sentences of a run after those on frames and shots."""
    with pytest.raises(SystemExit) as stopped:
        main(
            ["run", str(film), "--ref", str(film.with_name("key.png")), "--model", "welsh", "--json", "--threads", "1"]
        )
    spoken = capsys.readouterr()
    assert stopped.value.code == 0, spoken.err
    assert isinstance(json.loads(spoken.out)["damaged"], int)
    return [line for line in spoken.err.splitlines()[1:] if not line.startswith("  shot ")]


def test_a_film_that_is_cut_off_is_colored_and_its_end_named(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not any("film ends" in sentence or "lost" in sentence for sentence in said(film, capsys))
    film.with_name("film.color.mkv").unlink()
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert any(sentence.startswith("the film ends at ") for sentence in said(film, capsys))
