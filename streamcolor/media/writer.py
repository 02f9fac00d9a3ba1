"""Encode a colored film: luma as it was decoded, everything else as it came, under its name only when whole."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np

from streamcolor.errors import CallError, OutputError
from streamcolor.frame import Frame
from streamcolor.media.atomic import check_target, publish, temporary_sibling, write_failure
from streamcolor.media.codecs import CONTAINERS, Encoding, choose_encoding
from streamcolor.media.marking import Marker, is_anamorphic
from streamcolor.media.matroska import NAME_PADDING, set_sample_aspect
from streamcolor.media.muxing import lost_before_zero, muxer_settings, shift_before_zero, shift_setting
from streamcolor.media.pictures import at_depth, chroma_shape, picture_of
from streamcolor.media.pipes import BUFFER_BYTES, STANDARD_OUTPUT, OutputPipe, PipeTarget, header_patch, raw_video_tag
from streamcolor.media.sequence import SequenceReader, SequenceWriter, is_pattern
from streamcolor.media.streams import Packet, copied_streams, copy_metadata, stream_metadata

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from streamcolor.media.info import FilmInfo
    from streamcolor.media.reader import Reader

    Plane = NDArray[np.uint8] | NDArray[np.uint16]

_STDOUT = "-"
# AV_CODEC_FLAG_INTERLACED_DCT and AV_CODEC_FLAG_INTERLACED_ME of libavcodec/avcodec.h.
_INTERLACED_FLAGS = 1 << 18 | 1 << 29
_CHROMA_LOCATIONS = ("unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom")
_IDENTITY_MATRIX = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


class Writer:
    """Writes one film; everything that can be refused is refused by the constructor.

    target: path (its suffix chooses the container) or ``-`` for ``pipe``, by default NUT on standard output.
    info, source: the film as ``source`` describes it; its other streams, metadata and chapters are copied.
    codec, depth, options, preset, crf: see ``streamcolor.media.codecs``; a film with fewer bits than ``depth``
        is shifted left, exactly; one with more is rounded, and only because ``depth`` asks for it.
    overwrite: replace an existing target. threads: of the encoder, 0 for as many as it likes.

    depth: bits of the planes that ``write`` takes. chroma_shape: (h, w) of each chroma plane.
    subsampling, pixel_format: of the encoded film. left_out: what the container cannot hold, a sentence each.
    notice: a sentence that the user should see, or None.

    Matroska counts in milliseconds: time stamps are rounded to 1 ms there and kept exactly in MP4, MOV and NUT. Where
    the first picture lies before 0, all streams are moved later together, and ``notice`` says so. NUT has no times
    before 0: packets of other streams that start there are dropped, and ``left_out`` names the streams of which that is
    more than the padding of an encoder. Y4M has no time stamps: its frames follow each other at the film's rate, and
    ``respaced`` counts those that stood elsewhere.
    Raises CallError for a combination that does not work, OutputError for a place that cannot be written,
    BrokenPipeError when the reader of standard output has gone away.
    """

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
        pipe: PipeTarget = STANDARD_OUTPUT,
    ) -> None:
        self.path = Path(target)
        self._pipe = pipe if str(target) == _STDOUT else None
        suffix = self.path.suffix.lower() if self._pipe is None else self._pipe.format.suffix
        if self._pipe is not None and codec is None:
            codec = self._pipe.format.codec
        encoding = choose_encoding(info, suffix, codec=codec, depth=depth, options=options, preset=preset, crf=crf)
        self.info = info
        self.depth = encoding.depth
        self.subsampling = encoding.subsampling
        self.pixel_format = encoding.pixel_format
        self.chroma_shape = chroma_shape(info.height, info.width, encoding.subsampling)
        self.notice = encoding.notice
        self.left_out: list[str] = []
        self.respaced = 0
        self._count = 0
        self._start: Fraction | None = None
        self._timeless = suffix == ".y4m"
        self._from_zero = suffix == ".nut"
        self._shift = Fraction(0)
        self._durations: dict[int, int] = {}
        self._marker = Marker(info, encoding.pixel_format)
        self._descriptor: int | None = None
        self._finished = False
        if self._pipe is None:
            check_target(self.path, source=source.path, overwrite=overwrite)
        self._part = temporary_sibling(self.path) if self._pipe is None else None
        try:
            self._open(encoding, suffix, source, threads)
        except BaseException:
            self.abort()
            raise

    def _open(self, encoding: Encoding, suffix: str, source: Reader | SequenceReader, threads: int) -> None:
        muxer = CONTAINERS[suffix]
        settings = muxer_settings(muxer, self.info, source, piped=self._pipe is not None)
        self._container: OutputContainer = self._place(muxer, settings)
        self._stream = self._add_video(encoding, threads)
        self._copies, self.left_out = copied_streams(source.other_streams, self._container, suffix)
        self._move_to_zero(source, suffix)
        if source.container is not None and source.stream is not None:
            settings = copy_metadata(source.container, self._container, self._shift)
            self._container.container_options.update(settings)
            self._stream.metadata.update(stream_metadata(source.stream, muxer))
            self._stream.disposition = int(source.stream.disposition)  # type: ignore[assignment]
        padded = muxer == "matroska" and is_anamorphic(self.info)
        self._patch_aspect = padded and self._part is not None
        if padded:
            self._stream.metadata["title"] = NAME_PADDING + self._stream.metadata.get("title", "")
        try:
            self._stream.codec_context.open()
        except av.error.FFmpegError as error:
            raise CallError(
                f"{encoding.encoder.name} refuses {self.info.width}x{self.info.height} {encoding.pixel_format} with "
                f"{dict(encoding.options)}: {error.strerror}"
            ) from error
        unknown = sorted(self._stream.codec_context.options)
        if unknown:
            raise CallError(f"{encoding.encoder.name} has no option {', '.join(unknown)}")
        try:
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def _move_to_zero(self, source: Reader | SequenceReader, suffix: str) -> None:
        """Have all streams written later if pictures lie before 0: muxers drop those, or their time stamps."""
        if self._timeless:
            return
        self._shift = shift_before_zero(self.info, source, self._copies)
        if self._shift:
            self._container.container_options.update(shift_setting(self._shift))
            later = f"{float(self._shift):.3f} s later"
            told = f"the film starts before 0, where {suffix} has no pictures: all of it is {later}"
            self.notice = told if self.notice is None else f"{self.notice}; {told}"
        if self._from_zero:
            self.left_out += lost_before_zero(source, self._copies, self._shift)

    def _place(self, muxer: str, settings: dict[str, str]) -> OutputContainer:
        """The container, opened where it goes: through a pipe of ours if its header needs a patch on the way."""
        patch = header_patch(muxer, self.info.sample_aspect, self.path)
        if self._pipe is not None:
            target: OutputPipe | str = OutputPipe(self._pipe.descriptor, patch)
        elif patch is not None and muxer != "matroska":
            self._descriptor = os.open(f"{self._part}", os.O_WRONLY)
            target = OutputPipe(self._descriptor, patch)
        else:
            target = f"file:{self._part}"
        return av.open(target, "w", format=muxer, container_options=settings, buffer_size=BUFFER_BYTES)

    def _add_video(self, encoding: Encoding, threads: int) -> VideoStream:
        info = self.info
        stream: VideoStream = self._container.add_stream(encoding.encoder.encoder, rate=info.rate)  # type: ignore[assignment]
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, encoding.pixel_format
        context.time_base = stream.time_base = 1 / info.rate if self._timeless else info.time_base
        context.thread_count = threads
        # Threads that encode a frame each hold as many frames back; raw pictures gain nothing by it.
        context.thread_type = "AUTO" if encoding.encoder.crf or self._pipe is None else "SLICE"
        tags = info.tags
        context.colorspace, context.color_primaries = tags.matrix, tags.primaries
        context.color_trc, context.color_range = tags.transfer, tags.range
        if info.sample_aspect:
            context.sample_aspect_ratio = info.sample_aspect
        options = dict(encoding.options)
        if encoding.subsampling == "420" and info.chroma_location:
            options["chroma_sample_location"] = _CHROMA_LOCATIONS[info.chroma_location]
        if info.interlaced:
            # FFmpeg's names for interleaved fields whose top (bottom) one comes first.
            options["field_order"] = "tb" if info.top_field_first else "bt"
            if encoding.encoder.interlaced:
                context.flags |= _INTERLACED_FLAGS
        if encoding.encoder.name == "libx265" and self._container.format.name in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # the tag that QuickTime plays
        if encoding.encoder.name == "rawvideo" and self._container.format.name == "matroska":
            context.codec_tag = raw_video_tag(encoding.subsampling, encoding.depth)
        context.options = options
        if info.display_matrix is not None and info.display_matrix != _IDENTITY_MATRIX:
            stream.set_display_matrix(info.display_matrix)
        elif info.display_matrix is None and info.rotation:
            stream.set_display_rotation(info.rotation)
        return stream

    def write(self, frame: Frame, cb: Plane, cr: Plane) -> None:
        """Encode one frame.

        frame: its luma goes to the encoder bit for bit (shifted when ``depth`` differs).
        cb, cr: ``chroma_shape``, uint8 at depth 8 else uint16, code values at ``depth``; neutral is 1 << depth - 1.
        Raises OutputError when the disk is full or fails, ValueError for planes of another shape.
        """
        for plane in (cb, cr):
            if plane.shape != self.chroma_shape:
                raise ValueError(f"a chroma plane is {plane.shape}, expected {self.chroma_shape}")
        luma = at_depth(frame.luma, frame.depth, self.depth)
        pts, time_base = self._time(frame)
        timed = replace(frame, luma=luma, depth=self.depth, pts=pts, time_base=time_base)
        picture = picture_of(timed, (cb, cr), self.pixel_format)
        if frame.duration and not self._timeless:
            self._durations[frame.pts] = frame.duration
        self._mux(self._encode(self._marker.mark(picture, frame.interlaced, frame.top_field_first)))

    def _time(self, frame: Frame) -> tuple[int, Fraction]:
        """pts and time base of a frame; a container without time stamps counts."""
        if not self._timeless:
            return frame.pts, frame.time_base
        time = frame.pts * frame.time_base
        self._start = time if self._start is None else self._start
        # Time stamps that were rounded, to a millisecond for example, stand near enough.
        self.respaced += 2 * abs((time - self._start) * self.info.rate - self._count) > 1
        self._count += 1
        return self._count - 1, 1 / self.info.rate

    def copy(self, packet: Packet) -> None:
        """Copy a packet of another stream, byte for byte; one of a stream that was left out is dropped."""
        copy = self._copies.get(packet.stream.index)
        if copy is not None and not (self._from_zero and self._starts_before_zero(packet.packet)):
            packet.packet.stream = copy
            self._mux([packet.packet])

    def _starts_before_zero(self, packet: av.Packet[Any]) -> bool:
        return packet.pts is not None and packet.pts * packet.time_base + self._shift < 0

    def finish(self) -> Path:
        """Write what is left and give the film its name. Raises OutputError; nothing is left behind then."""
        try:
            self._mux(self._encode(None))
            self._container.close()
            self._close_descriptor()
            if self._part is not None:
                if self._patch_aspect:
                    set_sample_aspect(self._part, self.info.sample_aspect or Fraction(1))
                publish(self._part, self.path)
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise self._failure(error) from error
        self._finished = True
        return self.path

    def abort(self) -> None:
        """Give up: the unfinished file is removed. Harmless after ``finish`` and when called twice."""
        if self._finished:
            return
        self._finished = True
        container = getattr(self, "_container", None)
        if container is not None:
            # The trailer of a file that is thrown away may fail, for the reason that ended the film.
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                container.close()
        self._close_descriptor()
        if self._part is not None:
            self._part.unlink(missing_ok=True)

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _failure(self, error: Exception) -> OSError:
        """What to raise for an error while writing: a pipe without a reader is not a failure of the output."""
        number = getattr(error, "errno", None)
        if self._pipe is not None and number == errno.EPIPE:
            return BrokenPipeError(errno.EPIPE, "the program that reads the output went away")
        if self._pipe is not None and number == errno.EBADF:
            return OutputError("standard output is closed; pipe it on, or name a file as --output")
        return error if isinstance(error, OutputError) else write_failure(error, self.path)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _encode(self, picture: av.VideoFrame | None) -> list[av.Packet[VideoStream]]:
        packets = self._stream.encode(picture)
        for packet in packets:
            # Encoders that look ahead drop the duration, which the last frame of an MP4 needs.
            if packet.pts is not None and packet.pts in self._durations:
                packet.duration = self._durations.pop(packet.pts)
        return packets

    def _mux(self, packets: Sequence[av.Packet[Any]]) -> None:
        try:
            self._container.mux(packets)
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise self._failure(error) from error


def open_writer(
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
    pipe: PipeTarget = STANDARD_OUTPUT,
) -> Writer | SequenceWriter:
    """SequenceWriter for a name with a number pattern, Writer for everything else; raises as they do."""
    if is_pattern(target):
        return SequenceWriter(
            target, info, source=source, codec=codec, depth=depth, options=options, preset=preset, crf=crf,
            overwrite=overwrite, threads=threads,
        )  # fmt: skip
    return Writer(
        target, info, source=source, codec=codec, depth=depth, options=options, preset=preset, crf=crf,
        overwrite=overwrite, threads=threads, pipe=pipe,
    )  # fmt: skip
