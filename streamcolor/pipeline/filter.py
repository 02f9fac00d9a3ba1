"""The options of ``streamcolor filter``: a run from standard input to standard output, told in FFmpeg's notation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import IntEnum
from fractions import Fraction

from streamcolor.color.standards import Matrix, Primaries, Range, Transfer
from streamcolor.media.described import Described
from streamcolor.media.lavfi import parse_options
from streamcolor.media.pipes import PIPE_FORMATS, PipeFormat, PipeTarget
from streamcolor.pipeline.node import NODE_OPTIONS, Option, read_options, whole
from streamcolor.pipeline.run import RunOptions

# The least look-ahead with which dissolves are found (see ``film.shots.ShotFinder``).
DEFAULT_LATENCY = 6

_MATRICES = (Matrix.BT709, Matrix.FCC, Matrix.BT470BG, Matrix.SMPTE170M, Matrix.SMPTE240M, Matrix.BT2020_NCL)
# FFmpeg's names where they are not those of H.273.
_SYNONYMS = {
    "bt2020nc": "bt2020-ncl",
    "log100": "log",
    "log316": "log-sqrt",
    "bt1361e": "bt1361",
    "jedec-p22": "ebu3213",
}
_RANGES = {
    **dict.fromkeys(("tv", "limited", "mpeg"), int(Range.LIMITED)),
    **dict.fromkeys(("pc", "full", "jpeg"), int(Range.FULL)),
}
_FIELDS = ("progressive", "tff", "bff")


def filter_options(text: str, descriptor: int = 1) -> RunOptions:
    """The run that ``streamcolor filter TEXT`` asks for. descriptor: where the media go. Raises CallError."""
    values: dict[str, object] = {"lookahead": DEFAULT_LATENCY, "format": PIPE_FORMATS["nut"]}
    values |= read_options(parse_options(text), _OPTIONS, "the filter")
    form = values.pop("format")
    assert isinstance(form, PipeFormat)
    told = {field.name: values.pop(field.name, None) for field in fields(Described)}
    return RunOptions(
        film="-",
        output="-",
        described=Described(**told),  # type: ignore[arg-type]
        pipe=PipeTarget(form, descriptor),
        live=True,
        **values,  # type: ignore[arg-type]
    )


def _code_points(codes: type[IntEnum] | tuple[IntEnum, ...]) -> tuple[Callable[[str], int], str]:
    """Reader of the names of code points, and the words for them."""
    names = {
        code.name.lower().replace("_", "-"): int(code) for code in codes if code.name not in ("UNSPECIFIED", "RGB")
    }

    def read(text: str) -> int:
        name = text.lower().replace("_", "-")
        return names[_SYNONYMS.get(name, name)]

    return read, f"one of {', '.join(names)}"


def _choice(values: Mapping[str, object]) -> tuple[Callable[[str], object], str]:
    return values.__getitem__, f"one of {', '.join(values)}"


def _aspect(text: str) -> Fraction:
    aspect = Fraction(text.replace(":", "/"))
    if aspect <= 0 or max(aspect.as_integer_ratio()) > 2**16:
        raise ValueError
    return aspect


_OPTIONS: Mapping[str, Option] = {
    **NODE_OPTIONS,
    "format": Option("format", *_choice(PIPE_FORMATS)),
    "matrix": Option("matrix", *_code_points(_MATRICES)),
    "primaries": Option("primaries", *_code_points(Primaries)),
    "transfer": Option("transfer", *_code_points(Transfer)),
    "range": Option("range", *_choice(_RANGES)),
    "field": Option("field", *_choice({name: name for name in _FIELDS})),
    "sar": Option("sar", _aspect, "a ratio such as 16/15"),
    "depth": Option("depth", *whole(8, 16)),
    "threads": Option("threads", *whole(0)),
}
