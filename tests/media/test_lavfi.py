from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcolor.errors import CallError
from streamcolor.media.lavfi import FilterCall, parse_chain, parse_options


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("  ", []),
        ("ref=a.png", [("ref", "a.png")]),
        ("ref=a.png:ref=b.png:size=240", [("ref", "a.png"), ("ref", "b.png"), ("size", "240")]),
        (r"ref=C\:/a.png", [("ref", "C:/a.png")]),
        (r"ref='C:/a\b.png'", [("ref", r"C:/a\b.png")]),
        (r"ref=it\'s.png", [("ref", "it's.png")]),
        (r"ref='it'\''s.png':sat=1.1", [("ref", "it's.png"), ("sat", "1.1")]),
        (" ref =  a b.png  : sat= 1 ", [("ref", "a b.png"), ("sat", "1")]),
        (r"ref=' a '", [("ref", " a ")]),
        (r"ref=a\ ", [("ref", "a ")]),
        (r"ref=a\\", [("ref", "a\\")]),
        ("ref=", [("ref", "")]),
        ("a=1:", [("a", "1")]),
    ],
)
def test_options(text: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_options(text) == pairs


@given(st.lists(st.tuples(st.sampled_from(["ref", "sat", "cut"]), st.text(min_size=1, max_size=12)), max_size=4))
def test_what_is_escaped_comes_back(pairs: list[tuple[str, str]]) -> None:
    escaped = ":".join(key + "=" + "".join("\\" + character for character in value) for key, value in pairs)
    assert parse_options(escaped) == pairs


@pytest.mark.parametrize("text", ["a.png", "ref=a:b.png", "=1", "ref a=1", "ref='a.png"])
def test_wrong_options(text: str) -> None:
    with pytest.raises(CallError):
        parse_options(text)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("yadif", [FilterCall("yadif")]),
        ("yadif=1 , scale=-2:720", [FilterCall("yadif", "1"), FilterCall("scale", "-2:720")]),
        ("hue@two=h=90", [FilterCall("hue", "h=90")]),
        ("select='eq(n,1)',streamcolor", [FilterCall("select", "eq(n,1)"), FilterCall("streamcolor")]),
        (r"select=eq(n\,1)", [FilterCall("select", "eq(n,1)")]),
        # Two levels: the first leaves a backslash for the second.
        (r"streamcolor=ref=a\\:b.png", [FilterCall("streamcolor", r"ref=a\:b.png")]),
        (r"streamcolor=ref='a\:b.png'", [FilterCall("streamcolor", r"ref=a\:b.png")]),
        ("streamcolor=", [FilterCall("streamcolor", "")]),
    ],
)
def test_chains(text: str, calls: list[FilterCall]) -> None:
    assert parse_chain(text) == calls


@pytest.mark.parametrize("text", ["", "yadif,", ",yadif", "[in]yadif", "split;null", "yadif[out]", "a b=1", "x='1"])
def test_wrong_chains(text: str) -> None:
    with pytest.raises(CallError):
        parse_chain(text)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
@pytest.mark.parametrize(
    "value", [r"a\\:b", r"'a\:b'", r"a\\\'b", r"'it'\\\''s'", r"x\,y", r"' a '", "a b ", r"\\\\", r"'[a]'\;"]
)
def test_two_levels_are_those_of_ffmpeg(value: str) -> None:
    """The text of ffmpeg's metadata filter is what we read."""
    graph = f"color=s=16x16:d=0.04,metadata=mode=add:key=k:value={value},metadata=mode=print:file=-"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", graph, "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    theirs = said.split("\nk=", 1)[1].removesuffix("\n")
    call = parse_chain(f"metadata=value={value}")[0]
    assert parse_options(call.arguments or "") == [("value", theirs)]
