"""Put the sample aspect ratio of the film into a Matroska file that is already written.

libavformat writes DisplayWidth and DisplayHeight from a field that PyAV cannot set. The video track is therefore
given a title with ``NAME_PADDING`` in front, and the room it takes is used afterwards: same length, nothing else moves.
Elements and sizes: RFC 8794 (EBML), sections 4 to 6; RFC 9559 (Matroska), sections 5.1.4.1 and 5.1.4.1.28.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from streamcolor.errors import OutputError

NAME_PADDING = "." * 32

_SEGMENT, _TRACKS, _ENTRY = 0x18538067, 0x1654AE6B, 0xAE
_VIDEO, _NAME, _WIDTH, _HEIGHT, _DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0xE0, 0x536E, 0xB0, 0xBA, 0x54B0, 0x54BA
# libavformat writes "unknown" here when it knows no aspect; without it the unit is pixels.
_DISPLAY_UNIT = 0x54B2
_VOID, _CRC32 = 0xEC, 0xBF
_HEADER_BYTES = 1 << 20


def set_sample_aspect(path: Path, aspect: Fraction) -> None:
    """Write DisplayWidth and DisplayHeight of the padded video track, and take the padding out of its title.

    Raises OutputError when the file is not laid out as libavformat's muxer does it, OSError from the disk.
    """
    with path.open("r+b") as file:
        head = with_sample_aspect(file.read(_HEADER_BYTES), aspect, path)
        file.seek(0)
        file.write(head)


def with_sample_aspect(head: bytes, aspect: Fraction, path: Path) -> bytes:
    """The beginning of a file, Tracks and all, with the display size as above; the same length.

    path: for the message. Raises OutputError when it is not laid out as libavformat's muxer does it.
    """
    start, end = _tracks(head, path)
    return head[:start] + _patched_tracks(head[start:end], aspect, path) + head[end:]


def _tracks(head: bytes, path: Path) -> tuple[int, int]:
    """Where the payload of Tracks lies."""
    for segment, _, start, end in _elements(head, 0, len(head)):
        if segment != _SEGMENT:
            continue
        for element, _, inner_start, inner_end in _elements(head, start, min(end, len(head))):
            if element == _TRACKS and inner_end <= len(head):
                return inner_start, inner_end
    raise _unexpected(path)


def _patched_tracks(payload: bytes, aspect: Fraction, path: Path) -> bytes:
    """Payload of Tracks with the padded entry patched and the checksum made anew; the same length."""
    parts: list[bytes] = []
    patched = has_crc = False
    for element, header, start, end in _elements(payload, 0, len(payload)):
        body = payload[start:end]
        if element == _CRC32:
            has_crc = True
            continue
        if element == _ENTRY and NAME_PADDING.encode() in body:
            body = _patched_entry(body, aspect)
            patched = True
        parts.append(payload[header:start] + body)
    content = b"".join(parts)
    # RFC 8794, section 11.3.1: the CRC-32 covers everything after itself in its parent.
    crc = _element(_CRC32, zlib.crc32(content).to_bytes(4, "little")) if has_crc else b""
    if not patched or len(crc) + len(content) != len(payload):
        raise _unexpected(path)
    return crc + content


def _patched_entry(entry: bytes, aspect: Fraction) -> bytes:
    """A TrackEntry of the same length, with the display size in place of the padding."""
    parts: list[bytes] = []
    for element, _, start, end in _elements(entry, 0, len(entry)):
        body = entry[start:end]
        if element == _NAME:
            body = body.replace(NAME_PADDING.encode(), b"")
            if not body:
                continue
        elif element == _VIDEO:
            body = _patched_video(body, aspect)
        parts.append(_element(element, body))
    content = b"".join(parts)
    room = len(entry) - len(content) - 2
    return content + _element_id(_VOID) + _size(room, 1) + bytes(room)


def _patched_video(video: bytes, aspect: Fraction) -> bytes:
    children = {element: video[start:end] for element, _, start, end in _elements(video, 0, len(video))}
    width, height = (int.from_bytes(children[element], "big") for element in (_WIDTH, _HEIGHT))
    # Whole numbers whose ratio is exact: display width : display height = width x aspect : height.
    display = Fraction(width, height) * aspect
    # Scaled near the stored size, because players take the display size for the size of the window.
    factor = max(round(height / display.denominator), 1)
    children.pop(_DISPLAY_UNIT, None)
    children[_DISPLAY_WIDTH] = (display.numerator * factor).to_bytes(4, "big")
    children[_DISPLAY_HEIGHT] = (display.denominator * factor).to_bytes(4, "big")
    return b"".join(_element(element, body) for element, body in children.items())


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(id, header, start, end) of the elements between two offsets; one of unknown size reaches to the end."""
    while start < end:
        header = start
        id_bytes = _vint_length(data[start])
        element = int.from_bytes(data[start : start + id_bytes], "big")
        start += id_bytes
        size_bytes = _vint_length(data[start])
        size = int.from_bytes(data[start : start + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
        start += size_bytes
        stop = end if size == (1 << 7 * size_bytes) - 1 else start + size
        yield element, header, start, stop
        start = stop


def _vint_length(first: int) -> int:
    return 9 - first.bit_length()


def _element_id(element: int) -> bytes:
    return element.to_bytes((element.bit_length() + 7) // 8, "big")


def _size(size: int, size_bytes: int) -> bytes:
    return (size | 1 << 7 * size_bytes).to_bytes(size_bytes, "big")


def _element(element: int, body: bytes) -> bytes:
    size_bytes = next(n for n in range(1, 9) if len(body) < (1 << 7 * n) - 1)
    return _element_id(element) + _size(len(body), size_bytes) + body


def _unexpected(path: Path) -> OutputError:
    return OutputError(f"the sample aspect could not be written into {path}; choose --codec libx264, or .mov")
