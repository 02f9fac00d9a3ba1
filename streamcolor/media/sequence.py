"""Numbered pictures as a film, in and out: ``shot.%06d.png``, ``.tif``, ``.dpx``.

Read and written by FFmpeg's picture codecs through PyAV, the library that also reads films.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import av
import av.error
import numpy as np
from av.codec import CodecContext

from streamcolor.errors import CallError, InputError, OutputError
from streamcolor.frame import ColorTags, Frame
from streamcolor.media.atomic import check_target, sync, temporary_sibling, write_failure
from streamcolor.media.codecs import CONTAINERS
from streamcolor.media.info import FilmInfo
from streamcolor.media.losses import held_sentences
from streamcolor.media.luma import frame_luma, pixel_layout, plane_view
from streamcolor.media.rgb import RGB_TAGS, ycbcr_to_rgb
from streamcolor.media.streams import Packet, describe

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from streamcolor.media.reader import Reader

    Plane = NDArray[np.uint8] | NDArray[np.uint16]

NUMBER = re.compile(r"%(?:0(\d+))?d")
_DEFAULT_RATE = Fraction(24)
_DECODERS = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".dpx": "dpx"}
# Suffix -> encoder and its pixel format by bits per channel.
_ENCODERS = {
    ".png": ("png", {8: "rgb24", 16: "rgb48be"}),
    ".tif": ("tiff", {8: "rgb24", 16: "rgb48le"}),
    ".tiff": ("tiff", {8: "rgb24", 16: "rgb48le"}),
    ".dpx": ("dpx", {8: "rgb24", 10: "gbrp10le", 12: "gbrp12le", 16: "rgb48le"}),
}


def is_pattern(path: str | Path) -> bool:
    """True for a name with a place for a number, such as ``shot.%06d.png``; not for a film that is called so."""
    path = Path(path)
    suffix = path.suffix.lower()
    is_film = suffix not in _DECODERS and (suffix in CONTAINERS or path.is_file())
    return NUMBER.search(path.name) is not None and not is_film


class SequenceReader:
    """Frames of numbered pictures: one a second divided by ``rate``, from the first number that exists.

    The same protocol as ``Reader``: ``info``, ``damaged``, ``losses``, iteration over frames, ``close``. R'G'B'
    pictures give the luma of ``streamcolor.media.rgb``. A picture that does not decode holds the luma before it.

    Raises InputError when there are no such pictures, a number is missing, the first does not decode, or
    (while iterating) the size changes.
    """

    # What a Reader has and pictures do not.
    container: InputContainer | None = None
    stream: VideoStream | None = None
    path: Path | None = None

    def __init__(self, pattern: str | Path, rate: Fraction = _DEFAULT_RATE) -> None:
        self.pattern = Path(pattern)
        self.damaged = 0
        self.other_streams: list[Stream] = []
        suffix = self.pattern.suffix.lower()
        if suffix not in _DECODERS:
            raise InputError(f"pictures of the kind {suffix} are not read; convert them to {', '.join(_DECODERS)}")
        self.numbers = _numbers(self.pattern)
        self._decoder = CodecContext.create(_DECODERS[suffix], "r")
        self._rate = Fraction(rate)
        first = self._decode(self.numbers[0])
        if first is None:
            raise InputError(f"{_picture_path(self.pattern, self.numbers[0])} is not a picture that can be decoded")
        self.info = self._describe(first)

    def __iter__(self) -> Iterator[Frame]:
        before: Frame | None = None
        for index, number in enumerate(self.numbers):
            decoded = self._decode(number)
            if decoded is not None:
                self._check_size(decoded, number)
                luma = frame_luma(decoded)
            else:
                assert before is not None, "the constructor has decoded the first picture"
                self.damaged += 1
                luma = before.luma
            before = Frame(
                luma, self.info.depth, index, index, 1 / self._rate, 1, self.info.tags, damaged=decoded is None
            )
            yield before

    @property
    def losses(self) -> list[str]:
        """See ``Reader.losses``."""
        return list(held_sentences(self.damaged))

    def close(self) -> None:
        """Nothing stays open between pictures."""

    def __enter__(self) -> SequenceReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _decode(self, number: int) -> av.VideoFrame | None:
        path = _picture_path(self.pattern, number)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        try:
            packet = av.Packet(data)
            # Without the flag, FFmpeg's PNG decoder adds the picture to the one before.
            packet.is_keyframe = True
            frames = self._decoder.decode(packet) if data else []  # type: ignore[attr-defined]
        except av.error.FFmpegError:
            frames = []
        return frames[0] if frames else None

    def _check_size(self, frame: av.VideoFrame, number: int) -> None:
        shape = (frame.width, frame.height, frame.format.name)
        if shape != (self.info.width, self.info.height, self.info.pixel_format):
            raise InputError(
                f"{_picture_path(self.pattern, number)} is {shape[0]}x{shape[1]} {shape[2]}, the first picture "
                f"{self.info.width}x{self.info.height} {self.info.pixel_format}; make them alike"
            )

    def _describe(self, frame: av.VideoFrame) -> FilmInfo:
        layout = pixel_layout(frame.format.name)
        aspect = self._decoder.sample_aspect_ratio  # type: ignore[attr-defined]
        return FilmInfo(
            name=self.pattern.name,
            width=frame.width,
            height=frame.height,
            depth=layout.depth,
            subsampling=layout.subsampling,
            rgb=layout.rgb,
            rate=self._rate,
            time_base=1 / self._rate,
            frames=len(self.numbers),
            duration=float(len(self.numbers) / self._rate),
            sample_aspect=Fraction(aspect) if aspect else None,
            tags=ColorTags(RGB_TAGS.matrix, frame.color_primaries, frame.color_trc, RGB_TAGS.range),
            chroma_location=0,
            rotation=0,
            interlaced=False,
            top_field_first=False,
            pixel_format=frame.format.name,
            codec=self._decoder.name,
        )


class SequenceWriter:
    """Numbered R'G'B' pictures, each under its name only when it is whole.

    The same protocol as ``Writer``: ``depth`` is that of the film, chroma is 4:4:4, and ``options`` go to FFmpeg's
    picture encoder. ``depth`` given: bits per channel of the files; else the least that hold the film's bits
    (PNG, TIFF: 8 or 16; DPX: 10, or 16). Pictures are numbered as those of a source sequence, else from 0.

    Raises CallError for what pictures cannot do, OutputError when a picture exists or cannot be written.
    """

    notice: str | None = None
    respaced = 0
    subsampling = "444"

    def __init__(
        self,
        target: str | Path,
        info: FilmInfo,
        *,
        source: Reader | SequenceReader,
        codec: str | None = None,
        depth: int | None = None,
        options: Mapping[str, str] | None = None,
        preset: str | None = None,
        crf: int | None = None,
        overwrite: bool = False,
        threads: int = 0,
    ) -> None:
        self.pattern = Path(target)
        suffix = self.pattern.suffix.lower()
        if suffix not in _ENCODERS:
            raise CallError(f"pictures of the kind {suffix} are not written; choose {', '.join(_ENCODERS)}")
        if codec is not None or preset is not None or crf is not None:
            raise CallError(f"pictures ({suffix}) have no codec, preset or crf; leave them out")
        encoder, formats = _ENCODERS[suffix]
        self._bits = _file_bits(suffix, formats, info, depth)
        self.info = info
        self.depth = info.depth
        self.chroma_shape = (info.height, info.width)
        self.pixel_format = formats[self._bits]
        self.left_out = [f"{describe(stream)} is left out: pictures hold none" for stream in source.other_streams]
        self._first = source.numbers[0] if isinstance(source, SequenceReader) else 0
        self._written: list[Path] = []
        self._check(source, overwrite)
        self._encoder = CodecContext.create(encoder, "w")
        self._encoder.width, self._encoder.height = info.width, info.height  # type: ignore[attr-defined]
        self._encoder.pix_fmt, self._encoder.time_base = self.pixel_format, Fraction(1, 25)  # type: ignore[attr-defined]
        self._encoder.thread_count = threads or 1
        self._encoder.thread_type = "SLICE"
        if info.sample_aspect:
            self._encoder.sample_aspect_ratio = info.sample_aspect  # type: ignore[attr-defined]
        self._encoder.options = dict(options or {})
        try:
            self._encoder.open()
        except av.error.FFmpegError as error:
            raise CallError(f"the {encoder} encoder refuses {dict(options or {})}: {error.strerror}") from error
        if self._encoder.options:
            raise CallError(f"the {encoder} encoder has no option {', '.join(sorted(self._encoder.options))}")

    def write(self, frame: Frame, cb: Plane, cr: Plane) -> None:
        """Write one picture through the matrix of ``streamcolor.media.rgb``.

        cb, cr: (H, W) code values at ``depth`` in the film's matrix and range. Raises OutputError.
        """
        for plane in (cb, cr):
            if plane.shape != self.chroma_shape:
                raise ValueError(f"a chroma plane is {plane.shape}, expected {self.chroma_shape}")
        path = _picture_path(self.pattern, self._first + frame.index)
        rgb = ycbcr_to_rgb(frame.luma, cb, cr, self.depth, frame.tags, self._bits)
        part: Path | None = None
        try:
            part = temporary_sibling(path)
            part.write_bytes(self._encode(rgb))
            part.replace(path)
        except OSError as error:
            if part is not None:
                part.unlink(missing_ok=True)
            self.abort()
            raise error if isinstance(error, OutputError) else write_failure(error, path) from error
        self._written.append(path)

    def copy(self, packet: Packet) -> None:
        """Pictures hold no other streams; ``left_out`` names them."""

    def finish(self) -> Path:
        """Sync the folder; the pattern of the pictures. Raises OutputError."""
        try:
            sync(self.pattern.parent)
        except OSError as error:
            raise write_failure(error, self.pattern) from error
        self._written = []
        return self.pattern

    def abort(self) -> None:
        """Remove the pictures that this writer has written, and no others. Harmless after ``finish``."""
        while self._written:
            self._written.pop().unlink(missing_ok=True)

    def __enter__(self) -> SequenceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _check(self, source: Reader | SequenceReader, overwrite: bool) -> None:
        if isinstance(source, SequenceReader) and source.pattern.absolute() == self.pattern.absolute():
            raise CallError(f"{self.pattern} are the pictures of the film itself; name another --output")
        check_target(_picture_path(self.pattern, self._first), source=None, overwrite=overwrite)
        existing = _existing(self.pattern)
        if existing and not overwrite:
            raise OutputError(
                f"{_picture_path(self.pattern, existing[0])} exists; give --overwrite, or name another --output"
            )
        temporary_sibling(_picture_path(self.pattern, self._first)).unlink()

    def _encode(self, rgb: Plane) -> bytes:
        if self.pixel_format.startswith("gbrp"):
            picture = av.VideoFrame(self.info.width, self.info.height, self.pixel_format)
            for index, channel in enumerate((1, 2, 0)):
                np.copyto(plane_view(picture, index, self._bits), rgb[..., channel])
        else:
            picture = av.VideoFrame.from_ndarray(rgb, format=self.pixel_format)
        picture.pts = None
        return b"".join(bytes(packet) for packet in self._encoder.encode(picture))  # type: ignore[attr-defined]


def _file_bits(suffix: str, formats: Mapping[int, str], info: FilmInfo, depth: int | None) -> int:
    if depth is not None:
        if depth not in formats:
            raise CallError(f"{suffix} has no {depth} bits; choose {' or '.join(str(bits) for bits in formats)}")
        return depth
    if suffix == ".dpx" and info.depth <= 10:
        return 10
    return next(bits for bits in formats if bits >= info.depth)


def _picture_path(pattern: Path, number: int) -> Path:
    name = NUMBER.sub(lambda match: f"{number:0{match.group(1) or 1}d}", pattern.name, count=1)
    return pattern.with_name(name)


def _existing(pattern: Path) -> list[int]:
    """Numbers for which a picture exists, in order."""
    match = NUMBER.search(pattern.name)
    assert match is not None, "callers have asked is_pattern"
    head, tail = re.escape(pattern.name[: match.start()]), re.escape(pattern.name[match.end() :])
    name = re.compile(rf"{head}(\d+){tail}")
    found = (name.fullmatch(path.name) for path in pattern.parent.iterdir())
    numbers = (int(hit.group(1)) for hit in found if hit)
    # A name with more or fewer digits than the pattern writes is another picture.
    return sorted(number for number in numbers if _picture_path(pattern, number).exists())


def _numbers(pattern: Path) -> list[int]:
    """Numbers of the pictures without a gap. Raises InputError."""
    if not pattern.parent.is_dir():
        raise InputError(f"the folder {pattern.parent} does not exist")
    numbers = _existing(pattern)
    if not numbers:
        raise InputError(f"no picture fits {pattern}")
    missing = next((before + 1 for before, number in pairwise(numbers) if number != before + 1), None)
    if missing is not None:
        raise InputError(f"{_picture_path(pattern, missing)} is missing; add it, or color the parts one by one")
    return numbers
