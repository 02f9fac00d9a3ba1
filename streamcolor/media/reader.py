"""Decode a film once, from start to end: luma as it is stored, time stamps as they are written.

``streamcolor.media.decoding`` has the rules for missing time stamps and damaged packets. A file that breaks off
ends the iteration; what decodes is delivered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

import av
import av.error

from streamcolor.errors import InputError
from streamcolor.frame import Frame
from streamcolor.media.decoding import Picture, PictureDecoder
from streamcolor.media.described import Described
from streamcolor.media.info import FilmInfo
from streamcolor.media.losses import Tally, beyond_end
from streamcolor.media.luma import frame_luma
from streamcolor.media.marking import FieldReader
from streamcolor.media.pictures import pictured
from streamcolor.media.pipes import widen
from streamcolor.media.probe import average_rate, chroma_location, film_info, frame_tags
from streamcolor.media.pyav import OPEN_OPTIONS
from streamcolor.media.sequence import SequenceReader, is_pattern
from streamcolor.media.streams import Packet

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

__all__ = ["FilmInfo", "Reader", "open_film"]

_STDIN = "-"
# Demuxers of single pictures end in "_pipe"; those of text art turn any text into a film.
_PICTURE_FORMATS = ("image2", "image2pipe")
_PICTURE_BRANDS = ("heic", "heix", "avif", "mif1")
_TEXT_FORMATS = ("tty", "bin", "xbin", "idf", "adf")


class Reader:
    """Frames of a film and the packets of its other streams, in the order of the file, in one pass.

    source: a path, ``-`` for standard input, an address such as ``udp://...``, or an open binary file.
    threads: of the decoder, 0 for as many as FFmpeg likes.
    described: what the user says of the film, in the place of what its container says.
    live: every picture is delivered as soon as its packet is here, and one that breaks off at the end is left out.
    pictured: frames are ``PicturedFrame``s, with their chroma.
    info: what the film is. damaged: pictures so far that did not decode as they should. losses: the same in sentences.
    container, stream: PyAV's objects, from which the writer takes metadata, chapters and streams.

    Raises InputError when the source is missing, is no film, or holds nothing that decodes; while iterating
    only when the pictures change size or pixel format.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        threads: int = 0,
        described: Described | None = None,
        live: bool = False,
        pictured: bool = False,
    ) -> None:
        self._described = described or Described()
        self._pictured = pictured
        self.name, self.path = _name_and_path(source)
        self.container: InputContainer = _open(source, self.name, self.path)
        self._items: Iterator[Frame | Packet] = iter(())
        try:
            self.stream: VideoStream = _film_stream(self.container, self.name)
            # Each thread that decodes a frame of its own delays by one frame.
            self.stream.thread_type = "SLICE" if live else "AUTO"
            self.stream.codec_context.thread_count = threads
            self._chroma_location = chroma_location(self.container, self.stream)
            self._decoder = PictureDecoder(self.stream, average_rate(self.stream), hold_at_end=not live)
            self._info: FilmInfo | None = None
            self._before: Frame | None = None
            self._fields = FieldReader(self.stream)
            self._tally = Tally(self.container, self.stream)
            self._items = self._read()
            # Packets before the first picture wait here, because ``info`` speaks of the picture.
            self._ahead: list[Frame | Packet] = []
            self.info = self._until_first_frame()
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> int:
        """Damaged or held frames delivered so far, and those lost without a place."""
        return self._tally.damaged(self._decoder.lost)

    @property
    def losses(self) -> list[str]:
        """What of the film did not come through so far, a sentence each."""
        return list(self._tally.sentences(self._decoder.lost))

    @property
    def other_streams(self) -> list[Stream]:
        """All streams but the film's own."""
        return [stream for stream in self.container.streams if stream.index != self.stream.index]

    def __iter__(self) -> Iterator[Frame | Packet]:
        while self._ahead:
            yield self._ahead.pop(0)
        yield from self._items

    def close(self) -> None:
        """Close the file; frames that were delivered stay valid."""
        self._items = iter(())
        self.container.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _until_first_frame(self) -> FilmInfo:
        for item in self._items:
            self._ahead.append(item)
            if self._info is not None:
                return self._info
        raise InputError(_no_pictures(self.name))

    def _read(self) -> Iterator[Frame | Packet]:
        for packet in self._packets():
            self._tally.packet(packet)
            if packet.stream_index != self.stream.index:
                yield Packet(packet.stream, packet)
                continue
            for picture in self._decoder.decode(cast("av.Packet[VideoStream]", packet)):
                yield self._frame(picture)
        for picture in self._decoder.decode(None):
            yield self._frame(picture)
        self._tally.end()

    def _packets(self) -> Iterator[av.Packet[Stream]]:
        """Packets with content; a read error is the end of the film, and counts as a damage."""
        demuxed = self.container.demux()
        while True:
            try:
                packet = next(demuxed, None)
            except av.error.FFmpegError:
                self._decoder.lost += 1
                return
            if packet is None:
                self._decoder.lost += beyond_end(self.container, self.stream)
                return
            # PyAV ends with one empty packet per stream.
            if packet.size:
                yield packet

    def _frame(self, picture: Picture) -> Frame:
        before = self._before
        index = 0 if before is None else before.index + 1
        time_base = self.stream.time_base or Fraction(1)
        if picture.frame is None:
            assert before is not None, "the decoder places a loss only after a picture"
            frame = replace(
                before, index=index, pts=picture.pts, time_base=time_base, duration=picture.duration, damaged=True
            )
        else:
            frame = self._decoded_frame(picture, picture.frame, index, time_base)
        self._tally.frame(frame, picture.frame)
        self._before = frame
        return frame

    def _decoded_frame(self, picture: Picture, decoded: av.VideoFrame, index: int, time_base: Fraction) -> Frame:
        fields = self._fields.read(decoded)
        if self._info is None:
            info = film_info(self.name, self.container, self.stream, decoded, fields, self._chroma_location)
            self._info = self._described.film(info)
        info = self._info
        shape = (decoded.width, decoded.height, decoded.format.name)
        if shape != (info.width, info.height, info.pixel_format):
            raise InputError(
                f"{self.name} changes from {info.width}x{info.height} {info.pixel_format} to "
                f"{shape[0]}x{shape[1]} {shape[2]} at frame {index}; cut it there and color the parts"
            )
        interlaced, top_field_first = self._described.fields(*fields)
        frame = Frame(
            frame_luma(decoded),
            info.depth,
            index,
            picture.pts,
            time_base,
            picture.duration,
            self._described.tags(frame_tags(decoded, self.stream)),
            interlaced,
            top_field_first,
            damaged=decoded.is_corrupt,
        )
        return pictured(frame, decoded) if self._pictured else frame


def open_film(
    source: str | Path | BinaryIO,
    *,
    rate: Fraction | None = None,
    threads: int = 0,
    described: Described | None = None,
    live: bool = False,
    pictured: bool = False,
) -> Reader | SequenceReader:
    """Reader for a film or, for a path with a number pattern such as ``shot.%06d.png``, for pictures.

    rate: frames per second of a picture sequence (default 24); a film has its own time stamps.
    threads, described, live, pictured: of ``Reader``.
    Raises InputError as the readers do.
    """
    if isinstance(source, (str, Path)) and is_pattern(source):
        return SequenceReader(source) if rate is None else SequenceReader(source, rate)
    return Reader(source, threads=threads, described=described, live=live, pictured=pictured)


def _name_and_path(source: str | Path | BinaryIO) -> tuple[str, Path | None]:
    """Name for messages, and the path when the source is a file of this machine."""
    if not isinstance(source, (str, Path)):
        return str(getattr(source, "name", "the open file")), None
    if str(source) == _STDIN:
        return "standard input", None
    if isinstance(source, str) and "://" in source:
        return source, None
    return Path(source).name or str(source), Path(source)


def _open(source: str | Path | BinaryIO, name: str, path: Path | None) -> InputContainer:
    if path is not None:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a film; name pictures by a pattern such as {path}/%06d.png")
        # The prefix keeps names with a colon, or with a dash in front, from being read as an address.
        target: str | BinaryIO = f"file:{path}"
    elif isinstance(source, (str, Path)) and str(source) == _STDIN:
        widen(0)
        target = "pipe:0"
    elif isinstance(source, (str, Path)):
        target = str(source)
    else:
        target = source
    try:
        container: InputContainer = av.open(target, "r", **OPEN_OPTIONS)
        return container
    except av.error.InvalidDataError as error:
        raise InputError(_no_film(name, path)) from error
    except av.error.EOFError as error:
        raise InputError(_no_pictures(name)) from error
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error


def _no_pictures(name: str) -> str:
    return f"{name} holds no picture that can be decoded: is it a whole film?"


def _no_film(name: str, path: Path | None) -> str:
    if path is not None:
        with path.open("rb") as file:
            if file.read(8)[4:] == b"ftyp":
                return f"{name} is cut off: the index at its end is missing; get the whole file or repair it first"
    return f"{name} is not a film that FFmpeg can read"


def _film_stream(container: InputContainer, name: str) -> VideoStream:
    """The first stream of moving pictures. Raises InputError for pictures, texts and sound."""
    kind = container.format.name
    if kind in _TEXT_FORMATS:
        raise InputError(f"{name} is a text file, not a film")
    brand = container.metadata.get("major_brand", "")
    if kind in _PICTURE_FORMATS or kind.endswith("_pipe") or brand in _PICTURE_BRANDS:
        raise InputError(f"{name} is a picture, not a film; give it as a reference with --ref")
    covers = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        raise InputError(f"{name} has no moving pictures")
    if streams[0].codec_context is None:
        raise InputError(f"{name} is coded in a way that this FFmpeg cannot decode")
    return streams[0]
