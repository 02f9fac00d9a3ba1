"""Put the sample aspect ratio of the film into the header of a NUT stream while it is written.

libavformat writes it from a field that PyAV cannot set. Layout: NUT Open Container Format (nut.txt, 2013), sections
"packet header", "main header" and "stream header": a packet is a startcode of 8 bytes, the number of bytes behind it,
the fields and a checksum of the fields (polynomial 0x04C11DB7). Headers may be repeated within a stream.
"""

from __future__ import annotations

from fractions import Fraction

_FILE_ID = b"nut/multimedia container\0"
_MAIN = bytes.fromhex("4e4d7a561f5f04ad")
_STREAM = bytes.fromhex("4e5311405bf2f9db")
_CHECKSUM_BYTES = 4
# The head of a packet that is longer has a checksum of its own.
_SHORT = 4096
_POLYNOMIAL = 0x04C11DB7
_VIDEO_CLASS = 0
# Fields of a stream header before the size of the picture, and those that are a length with so many bytes behind it.
_BEFORE_SIZE, _CLASS, _FOURCC, _CODEC_SPECIFIC = 9, 1, 2, 8


def with_sample_aspect(data: bytes, aspect: Fraction) -> bytes:
    """A piece of a stream as it shall be; if the piece starts with a header, its pictures then have ``aspect``.

    A header must be whole, as libavformat hands it over.
    """
    start = len(_FILE_ID) if data.startswith(_FILE_ID) else 0
    if not data.startswith(_MAIN, start):
        return data
    parts = [data[:start]]
    while data.startswith((_MAIN, _STREAM), start):
        length, fields = _value(data, start + 8)
        if length > _SHORT:
            fields += _CHECKSUM_BYTES
        end = fields + length
        stream = data.startswith(_STREAM, start)
        parts.append(
            _packet(_STREAM, _patched(data[fields : end - _CHECKSUM_BYTES], aspect)) if stream else data[start:end]
        )
        start = end
    return b"".join([*parts, data[start:]])


def _patched(fields: bytes, aspect: Fraction) -> bytes:
    """Fields of a stream header; those of sound stay as they are."""
    at, kind = 0, _VIDEO_CLASS
    for position in range(_BEFORE_SIZE):
        value, at = _value(fields, at)
        if position == _CLASS:
            kind = value
        if position in (_FOURCC, _CODEC_SPECIFIC):
            at += value
    if kind != _VIDEO_CLASS:
        return fields
    for _ in range(2):  # width, height
        _, at = _value(fields, at)
    rest = at
    for _ in range(2):  # sample width, sample height
        _, rest = _value(fields, rest)
    return fields[:at] + _coded(aspect.numerator) + _coded(aspect.denominator) + fields[rest:]


def _packet(startcode: bytes, fields: bytes) -> bytes:
    length = len(fields) + _CHECKSUM_BYTES
    head = startcode + _coded(length)
    return head + (_checksum(head) if length > _SHORT else b"") + fields + _checksum(fields)


def _value(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the highest first, and where it ends."""
    value = 0
    while True:
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at


def _coded(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _checksum(data: bytes) -> bytes:
    remainder = 0
    for byte in data:
        remainder ^= byte << 24
        for _ in range(8):
            remainder = (remainder << 1 ^ (_POLYNOMIAL if remainder & 0x80000000 else 0)) & 0xFFFFFFFF
    return remainder.to_bytes(_CHECKSUM_BYTES, "big")
