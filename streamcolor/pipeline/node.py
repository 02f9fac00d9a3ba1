"""One place where color is made, as the user asked for it: the options of ``run``, also in FFmpeg's notation."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamcolor.errors import CallError
from streamcolor.media.expressions import Expression

NO_MODEL = "none"
"""Instead of a model's id: pictures pass with the chroma that they came with, to measure everything but the model."""

_BYTES_OF_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Node:
    """What ``streamcolor=...`` in a chain of filters, or a whole run, shall do.

    references ... cap: as in ``RunOptions``.
    sat: factor on the colors' a* and b*. mix: share of the new color; the rest is the chroma that pictures came with.
    enable: expression of FFmpeg's time line; where it does not hold, pictures pass as they came.
    """

    references: tuple[str, ...] = ()
    model: str = "propagator"
    weights: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    stabilize: bool = True
    size: int | None = None
    fit: str = "refuse"
    sat: float = 1.0
    mix: float = 1.0
    enable: str | None = None
    lookahead: int = 24
    cuts: tuple[int, ...] | None = None
    cap: int | None = None

    def __post_init__(self) -> None:
        for name, value, most in (("sat", self.sat, 10.0), ("mix", self.mix, 1.0)):
            if not 0 <= value <= most:
                raise CallError(f"{name} {value:g} is out of range; it lies between 0 and {most:g}")
        if self.enable is not None:
            Expression.parse(self.enable)

    @property
    def blends(self) -> bool:
        """True when the chroma that pictures came with is needed."""
        return self.model == NO_MODEL or self.mix != 1 or self.enable is not None


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is read: the field that it fills, how its value is made of text, and what that shall be.

    read: raises ValueError, ArithmeticError or KeyError for a text that does not fit.
    """

    field: str
    read: Callable[[str], Any]
    value: str
    repeated: bool = False


def whole(least: int, most: int | None = None, *, unit: int = 1) -> tuple[Callable[[str], int], str]:
    """Reader of whole numbers, and the words for them."""

    def read(text: str) -> int:
        number = int(text)
        if number < least or (most is not None and number > most):
            raise ValueError
        return number * unit

    return read, f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


NODE_OPTIONS: Mapping[str, Option] = {
    "ref": Option("references", str, "a picture or a folder", repeated=True),
    "model": Option("model", str, "the id of a model"),
    "weights": Option("weights", Path, "a file"),
    "device": Option("device", str, "auto, cpu, cuda or mps"),
    "precision": Option("precision", str, "auto, fp32, bf16 or fp16"),
    "stabilize": Option("stabilize", {"1": True, "0": False}.__getitem__, "1 or 0"),
    "size": Option("size", *whole(32)),
    "fit": Option("fit", str, "refuse, crop, pad or stretch"),
    "sat": Option("sat", _real, "a number from 0 to 10"),
    "mix": Option("mix", _real, "a number from 0 to 1"),
    "enable": Option("enable", str, "an expression"),
    "lookahead": Option("lookahead", *whole(0, 250)),
    "latency": Option("lookahead", *whole(0, 250)),
    "cut": Option("cuts", *whole(0), repeated=True),
    "cache_mb": Option("cap", *whole(16, unit=_BYTES_OF_MEBIBYTE)),
}


def read_options(pairs: Iterable[tuple[str, str]], known: Mapping[str, Option], where: str) -> dict[str, Any]:
    """Values by field. A repeated option gathers a tuple, of any other the last one counts.

    where: name of the place for messages. Raises CallError for a key that is not known or a value that does not fit.
    """
    values: dict[str, Any] = {}
    for key, text in pairs:
        option = known.get(key)
        if option is None:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise CallError(f"{where} has no option {key!r}: {hint}")
        try:
            if not text:
                raise ValueError
            value = option.read(text)
        except (ValueError, ArithmeticError, KeyError) as error:
            raise CallError(f"{key}={text} in {where} is not {option.value}") from error
        values[option.field] = (*values.get(option.field, ()), value) if option.repeated else value
    return values
