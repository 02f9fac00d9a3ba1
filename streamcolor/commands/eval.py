"""``streamcolor eval``."""

from __future__ import annotations


def command() -> None:
    """Placeholder."""
