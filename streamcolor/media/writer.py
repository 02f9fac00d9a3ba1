"""Encode a colored film: luma as it was decoded, everything else as it came, under its name only when whole."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.filter import Graph

from streamcolor.errors import CallError, OutputError
from streamcolor.frame import Frame
from streamcolor.media.atomic import check_target, publish, temporary_sibling, write_failure
from streamcolor.media.codecs import CONTAINERS, Encoding, choose_encoding
from streamcolor.media.luma import plane_view
from streamcolor.media.matroska import NAME_PADDING, set_sample_aspect
from streamcolor.media.sequence import SequenceReader, SequenceWriter, is_pattern
from streamcolor.media.streams import Packet, copied_streams, copy_metadata, kept_metadata

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
_MILLISECONDS = 1000
_LARGEST_TIMESCALE = 1_000_000
_IDENTITY_MATRIX = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


class Writer:
    """Writes one film; everything that can be refused is refused by the constructor.

    target: path (its suffix chooses the container) or ``-`` for NUT on standard output.
    info, source: the film as ``source`` describes it; its other streams, metadata and chapters are copied.
    codec, depth, options, preset, crf: see ``streamcolor.media.codecs``; a film with fewer bits than ``depth``
        is shifted left, exactly; one with more is rounded, and only because ``depth`` asks for it.
    overwrite: replace an existing target. threads: of the encoder, 0 for as many as it likes.

    depth: bits of the planes that ``write`` takes. chroma_shape: (h, w) of each chroma plane.
    subsampling, pixel_format: of the encoded film. left_out: what the container cannot hold, a sentence each.
    notice: a sentence that the user should see, or None.

    Matroska counts in milliseconds: time stamps are rounded to 1 ms there and kept exactly in MP4, MOV and NUT.
    Raises CallError for a combination that does not work, OutputError for a place that cannot be written.
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
    ) -> None:
        self.path = Path(target)
        self._to_stdout = str(target) == _STDOUT
        suffix = ".nut" if self._to_stdout else self.path.suffix.lower()
        if self._to_stdout and codec is None:
            codec = "rawvideo"
        encoding = choose_encoding(info, suffix, codec=codec, depth=depth, options=options, preset=preset, crf=crf)
        self.info = info
        self.depth = encoding.depth
        self.subsampling = encoding.subsampling
        self.pixel_format = encoding.pixel_format
        self.chroma_shape = _chroma_shape(info, encoding.subsampling)
        self.notice = encoding.notice
        self.left_out: list[str] = []
        self._durations: dict[int, int] = {}
        # Filter graphs that mark pictures, by interlaced and top field first.
        self._graphs: dict[tuple[bool, bool], Graph] = {}
        self._finished = False
        if not self._to_stdout:
            check_target(self.path, source=source.path, overwrite=overwrite)
        self._part = None if self._to_stdout else temporary_sibling(self.path)
        try:
            self._open(encoding, suffix, source, threads)
        except BaseException:
            self.abort()
            raise

    def _open(self, encoding: Encoding, suffix: str, source: Reader | SequenceReader, threads: int) -> None:
        muxer = CONTAINERS[suffix]
        settings = _muxer_settings(muxer, self.info, source)
        place = "pipe:1" if self._part is None else f"file:{self._part}"
        self._container: OutputContainer = av.open(place, "w", format=muxer, container_options=settings)
        self._stream = self._add_video(encoding, threads)
        if source.container is not None and source.stream is not None:
            self._container.container_options.update(copy_metadata(source.container, self._container))
            self._stream.metadata.update(kept_metadata(source.stream.metadata))
            self._stream.disposition = int(source.stream.disposition)  # type: ignore[assignment]
        self._patch_aspect = muxer == "matroska" and _is_anamorphic(self.info)
        if self._patch_aspect:
            self._stream.metadata["title"] = NAME_PADDING + self._stream.metadata.get("title", "")
        self._copies, self.left_out = copied_streams(source.other_streams, self._container, suffix)
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
            raise write_failure(error, self.path) from error

    def _add_video(self, encoding: Encoding, threads: int) -> VideoStream:
        info = self.info
        stream: VideoStream = self._container.add_stream(encoding.encoder.encoder, rate=info.rate)  # type: ignore[assignment]
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, encoding.pixel_format
        context.time_base = stream.time_base = info.time_base
        context.thread_count = threads
        context.thread_type = "AUTO"
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
        picture = av.VideoFrame(self.info.width, self.info.height, self.pixel_format)
        planes = (luma_at(frame.luma, frame.depth, self.depth), cb, cr)
        for index, values in enumerate(planes):
            np.copyto(plane_view(picture, index, self.depth), values, casting="same_kind")
        picture.pts, picture.time_base = frame.pts, frame.time_base
        tags = frame.tags
        picture.colorspace, picture.color_primaries = tags.matrix, tags.primaries
        picture.color_trc, picture.color_range = tags.transfer, tags.range
        if frame.duration:
            self._durations[frame.pts] = frame.duration
        self._mux(self._encode(self._marked(picture, frame)))

    def copy(self, packet: Packet) -> None:
        """Copy a packet of another stream, byte for byte; one of a stream that was left out is dropped."""
        copy = self._copies.get(packet.stream.index)
        if copy is not None:
            packet.packet.stream = copy
            self._mux([packet.packet])

    def finish(self) -> Path:
        """Write what is left and give the film its name. Raises OutputError; nothing is left behind then."""
        try:
            self._mux(self._encode(None))
            self._container.close()
            if self._part is not None:
                if self._patch_aspect:
                    set_sample_aspect(self._part, self.info.sample_aspect or Fraction(1))
                publish(self._part, self.path)
        except (av.error.FFmpegError, OSError) as error:
            self.abort()
            raise error if isinstance(error, OutputError) else write_failure(error, self.path) from error
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
        if self._part is not None:
            self._part.unlink(missing_ok=True)

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
            raise write_failure(error, self.path) from error

    def _marked(self, picture: av.VideoFrame, frame: Frame) -> av.VideoFrame:
        """The picture with field order and sample aspect, which PyAV can set only through filters."""
        if not (self.info.interlaced or _is_anamorphic(self.info)):
            return picture
        fields = (frame.interlaced, frame.top_field_first)
        if fields not in self._graphs:
            self._graphs[fields] = _marking_graph(self.info, self.pixel_format, *fields)
        self._graphs[fields].push(picture)
        marked: av.VideoFrame = self._graphs[fields].pull()  # type: ignore[assignment]
        return marked


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
) -> Writer | SequenceWriter:
    """SequenceWriter for a name with a number pattern, Writer for everything else; raises as they do."""
    kind: type[Writer] | type[SequenceWriter] = SequenceWriter if is_pattern(target) else Writer
    return kind(
        target, info, source=source, codec=codec, depth=depth, options=options, preset=preset, crf=crf,
        overwrite=overwrite, threads=threads,
    )  # fmt: skip


def _muxer_settings(muxer: str, info: FilmInfo, source: Reader | SequenceReader) -> dict[str, str]:
    """Options of the muxer that keep times as they are."""
    if muxer == "matroska":
        # Padding of the sound before 0 must not move the pictures.
        return {"avoid_negative_ts": "disabled"}
    if muxer not in ("mp4", "mov"):
        return {}
    # The start of a track is kept in units of the whole file, milliseconds by default: take units that hold
    # those of the pictures and, while they stay handy, of the sound.
    pictures = info.time_base.denominator
    sounds = [stream.codec_context for stream in source.other_streams if isinstance(stream, AudioStream)]
    common = math.lcm(pictures, *(sound.sample_rate for sound in sounds if sound and sound.sample_rate))
    units = common if common <= _LARGEST_TIMESCALE else pictures
    return {"movie_timescale": str(units)} if _MILLISECONDS < units <= _LARGEST_TIMESCALE else {}


def luma_at(luma: Plane, depth: int, target: int) -> Plane:
    """Luma at another depth: shifted left exactly, or rounded to the nearest when bits are dropped."""
    if depth == target:
        return luma
    if depth < target:
        return np.left_shift(luma, target - depth, dtype=np.uint16)
    shift = depth - target
    wide = luma.astype(np.uint32) + np.uint32(1 << shift - 1)
    rounded = np.minimum(np.right_shift(wide, shift), (1 << target) - 1)
    values: Plane = rounded.astype(np.uint8 if target == 8 else np.uint16)
    return values


def _marking_graph(info: FilmInfo, pixel_format: str, interlaced: bool, top_field_first: bool) -> Graph:
    graph = Graph()
    form = av.VideoFormat(pixel_format, info.width, info.height)
    nodes = [graph.add_buffer(width=info.width, height=info.height, format=form, time_base=info.time_base)]
    aspect = info.sample_aspect or Fraction(1)
    nodes.append(graph.add("setsar", f"sar={aspect.numerator}/{aspect.denominator}:max=65535"))
    if interlaced:
        nodes.append(graph.add("setfield", "mode=tff" if top_field_first else "mode=bff"))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _is_anamorphic(info: FilmInfo) -> bool:
    return info.sample_aspect is not None and info.sample_aspect != 1


def _chroma_shape(info: FilmInfo, subsampling: str) -> tuple[int, int]:
    """(h, w) of a chroma plane; an odd edge has a sample of its own."""
    height = math.ceil(info.height / 2) if subsampling == "420" else info.height
    width = info.width if subsampling == "444" else math.ceil(info.width / 2)
    return height, width
