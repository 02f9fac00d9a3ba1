"""A film and its keyframe, where a promise is about what is done with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from films import scene, write_film, write_keyframe


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Eight small frames, H.264."""
    return write_film(tmp_path / "film.mp4", [scene(64, 96, n, 8) for n in range(8)], codec="libx264")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The first of them in color."""
    return write_keyframe(tmp_path / "key.png", scene(64, 96, 0, 8))
