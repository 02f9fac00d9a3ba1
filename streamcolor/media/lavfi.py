"""FFmpeg's notation for filters: ``key=value:key=value``, quotes and backslashes, filters joined by commas.

As in FFmpeg (ffmpeg-utils, "Quoting and escaping"; ffmpeg-filters, "Notes on filtergraph escaping"): a backslash takes
the next character as it is, single quotes take everything up to the next one, blanks around a value do not count.
The value of an option is read once; in a chain of filters the whole argument has been read once before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamcolor.errors import CallError

_BLANKS = " \n\t\r"
_KEY = re.compile(r"\s*([A-Za-z0-9_]+)\s*=")
_NAME = re.compile(r"\s*([A-Za-z0-9_]+)(?:@\w+)?\s*(=|$)")


@dataclass(frozen=True, slots=True)
class FilterCall:
    """One filter of a chain; ``arguments`` are as its options are written, None when there are none."""

    name: str
    arguments: str | None = None


def parse_options(text: str) -> list[tuple[str, str]]:
    """Keys and values of ``key=value:key=value``, in order; a key may come again. Raises CallError."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip(_BLANKS):
        key = _KEY.match(text, at)
        if key is None:
            raise CallError(
                f"{text[at:].strip()!r} is not KEY=VALUE; options are separated by ':', and a ':' in a value is "
                "written '\\:' or put in quotes"
            )
        value, at = read_token(text, key.end(), ":")
        pairs.append((key[1], value))
        at += 1
    return pairs


def parse_chain(text: str) -> list[FilterCall]:
    """The filters of ``name=arguments,name=arguments``, in order. Raises CallError for more than a simple chain."""
    calls: list[FilterCall] = []
    at = 0
    while True:
        token, at = read_token(text, at, "[],;")
        if at < len(text) and text[at] != ",":
            raise CallError(
                f"{text!r} holds {text[at]!r}: filters follow each other, separated by commas, without branches and "
                "labels; a bracket or ';' in a value is put in quotes"
            )
        name = _NAME.match(token)
        if name is None:
            raise CallError(f"{token!r} in {text!r} is not a filter; write NAME or NAME=OPTIONS, separated by commas")
        calls.append(FilterCall(name[1], token[name.end() :] if name[2] else None))
        if at >= len(text):
            return calls
        at += 1


def read_token(text: str, at: int, ends: str) -> tuple[str, int]:
    """What stands from ``at`` up to one of the characters ``ends``, and where that is (av_get_token).

    Raises CallError for a quote that is not closed.
    """
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    taken: list[str] = []
    solid = 0  # blanks after it do not count
    while at < len(text) and text[at] not in ends:
        character = text[at]
        if character == "\\" and at + 1 < len(text):
            taken.append(text[at + 1])
            at += 2
            solid = len(taken)
        elif character == "'":
            close = text.find("'", at + 1)
            if close < 0:
                raise CallError(
                    f"the quote at {text[at:]!r} is not closed; write \\' for a quote that is part of a value"
                )
            taken += text[at + 1 : close]
            at = close + 1
            solid = len(taken)
        else:
            taken.append(character)
            at += 1
            solid = len(taken) if character not in _BLANKS else solid
    return "".join(taken[:solid]), at
