"""Films in and out: decoding, encoding, and everything beside the picture as it is."""

from __future__ import annotations

from streamcolor.media.info import FilmInfo
from streamcolor.media.reader import Reader, open_film
from streamcolor.media.sequence import SequenceReader, SequenceWriter
from streamcolor.media.streams import Packet
from streamcolor.media.writer import Writer, open_writer

__all__ = ["FilmInfo", "Packet", "Reader", "SequenceReader", "SequenceWriter", "Writer", "open_film", "open_writer"]
