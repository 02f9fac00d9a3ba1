"""Everything beside the pictures: audio, subtitle and data packets, attachments, metadata and chapters, as they are."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.error
from av.stream import Disposition
from av.video.stream import VideoStream

from streamcolor.media.pyav import OPEN_OPTIONS

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

# Written by the muxer itself, or true of the old file only.
_STALE_METADATA = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "bps", "number_of_frames"}
    | {"number_of_bytes", "_statistics_writing_app", "_statistics_writing_date_utc", "_statistics_tags", "vendor_id"}
)
# What MP4 and MOV keep in the places where players look (libavformat/movenc.c, mov_write_ilst_tag).
_MP4_METADATA = frozenset(
    {
        "title",
        "artist",
        "album_artist",
        "composer",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
        "grouping",
        "lyrics",
    }
    | {"description", "synopsis", "show", "episode_id", "network", "keywords", "episode_sort", "season_number"}
    | {
        "media_type",
        "hd_video",
        "gapless_playback",
        "compilation",
        "track",
        "disc",
        "tmpo",
        "creation_time",
        "timecode",
    }
    | {"sort_name", "sort_artist", "sort_album", "sort_album_artist", "sort_composer", "sort_show", "location"}
)
# Of the two ISO 639-2 codes that a language may have, the one that QuickTime files have a number for, by the other
# (libavformat/isom.c, mov_mdhd_language_map); FFmpeg leaves out what has none. Swedish goes by a code of FFmpeg's own.
_QUICKTIME_LANGUAGES = {
    "bod": "tib",
    "cym": "wel",
    "cze": "ces",
    "deu": "ger",
    "ell": "gre",
    "eus": "baq",
    "fas": "per",
    "fre": "fra",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "rum": "ron",
    "slo": "slk",
    "sqi": "alb",
    "swe": "sve",
    "zho": "chi",
}
# Names and media types of covers that have none, by codec; the names are those of the Matroska guidelines.
_COVERS = {"png": ("cover.png", "image/png"), "mjpeg": ("cover.jpg", "image/jpeg")}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet that is not of the film's pictures; the writer copies it byte for byte."""

    stream: Stream
    packet: av.Packet[Stream]


def is_carried_otherwise(stream: Stream) -> bool:
    """True for the helper tracks of MOV and MP4 that the muxer makes anew: timecode and chapter titles.

    They hold what ``timecode`` in the metadata and the chapters say; copied, they would be there twice.
    """
    if stream.type != "data":
        return False
    if "timecode" in {key.lower() for key in stream.metadata}:
        return True
    return "mov" in stream.container.format.name and bool(stream.container.chapters()) and stream.name == "bin_data"


def describe(stream: Stream) -> str:
    """``audio stream 1 (aac)``: how messages name a stream."""
    name = getattr(stream, "name", None) or "unknown codec"
    return f"{stream.type} stream {stream.index} ({name})"


def copied_streams(
    streams: Iterable[Stream], target: OutputContainer, suffix: str
) -> tuple[dict[int, Stream], list[str]]:
    """Add a copy of each stream to ``target``; those that its format cannot hold are left out and named.

    Each is tried alone in a container in memory, because a header that fails does not say on whose account. A cover
    becomes an attachment of Matroska, which has no packets and is not among the new streams.
    Returns the new streams by the index of the old ones, and one sentence for each that is left out.
    """
    copies: dict[int, Stream] = {}
    left_out: list[str] = []
    for stream in streams:
        if is_carried_otherwise(stream):
            continue
        if target.format.name == "matroska" and _is_cover(stream):
            if not _attached(stream, target):
                left_out.append(f"{describe(stream)} is left out: {suffix} takes a cover from a file only, PNG or JPEG")
        elif target.format.name == "nut" and _has_b_frames(stream):
            left_out.append(f"{describe(stream)} is left out: its B-frames need times before 0, which {suffix} has not")
        elif not _fits(stream, target.format.name):
            left_out.append(f"{describe(stream)} is left out: {suffix} cannot hold it")
        else:
            copies[stream.index] = _add(stream, target)
    return copies, left_out


def _is_cover(stream: Stream) -> bool:
    return stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)


def _has_b_frames(stream: Stream) -> bool:
    return isinstance(stream, VideoStream) and bool(stream.codec_context) and stream.codec_context.has_b_frames


def _attached(cover: Stream, target: OutputContainer) -> bool:
    """Whether a cover could be added as an attachment, which is what Matroska makes of covers.

    An attachment goes into the header, before any packet: the file is opened once more, for the cover alone.
    """
    name, mimetype = _COVERS.get(cover.name or "", (None, None))
    name, mimetype = cover.metadata.get("filename", name), cover.metadata.get("mimetype", mimetype)
    address = cover.container.name
    if name is None or mimetype is None or not Path(address.removeprefix("file:")).is_file():
        return False
    try:
        with av.open(address, "r", **OPEN_OPTIONS) as file:
            picture = bytes(next(file.demux(file.streams[cover.index])))
    except (av.error.FFmpegError, OSError):
        return False
    attachment = target.add_attachment(name, mimetype, picture)
    attachment.metadata.update(kept_metadata(cover.metadata))
    return True


def _fits(stream: Stream, format_name: str) -> bool:
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as trial:
            _add(stream, trial)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _add(stream: Stream, target: OutputContainer) -> Stream:
    copy = target.add_stream_from_template(stream)
    copy.metadata.update(stream_metadata(stream, target.format.name))
    # The setter takes the plain number of FFmpeg's flags.
    copy.disposition = int(stream.disposition)  # type: ignore[assignment]
    return copy


def kept_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what describes the old file, keys in lower case as FFmpeg's muxers know them."""
    return {
        key.lower(): value
        for key, value in metadata.items()
        if key.lower() not in _STALE_METADATA and not key.lower().startswith("duration-")
    }


def stream_metadata(stream: Stream, muxer: str) -> dict[str, str]:
    """``kept_metadata`` of a stream, its language by the code that the muxer (FFmpeg's name) knows."""
    kept = kept_metadata(stream.metadata)
    if muxer == "mov" and "language" in kept:
        kept["language"] = _QUICKTIME_LANGUAGES.get(kept["language"], kept["language"])
    return kept


def copy_metadata(source: InputContainer, target: OutputContainer, shift: Fraction = Fraction(0)) -> dict[str, str]:
    """Copy metadata and chapters of the container. Returns the muxer options that keep all of them.

    shift: seconds by which chapters start later.
    """
    kept = kept_metadata(source.metadata)
    target.metadata.update(kept)
    chapters = source.chapters()
    for chapter in chapters:
        units = round(shift / (chapter["time_base"] or 1))
        chapter["start"] += units
        chapter["end"] += units
    if chapters:
        target.set_chapters(chapters)
    if target.format.name in ("mp4", "mov") and not _MP4_METADATA.issuperset(kept):
        # Keys without a place of their own go into QuickTime's list of free keys, all of them together.
        return {"movflags": "use_metadata_tags"}
    return {}
