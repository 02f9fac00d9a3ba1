"""Options by which FFmpeg's muxers keep what they would otherwise round, shift, refuse, lose or hold back."""

from __future__ import annotations

import math
from collections.abc import Container
from fractions import Fraction
from typing import TYPE_CHECKING

from av.audio.stream import AudioStream

from streamcolor.media.streams import describe

if TYPE_CHECKING:
    from av.stream import Stream

    from streamcolor.media.info import FilmInfo
    from streamcolor.media.reader import Reader
    from streamcolor.media.sequence import SequenceReader

_MILLISECONDS = 1000
_MICROSECONDS = 1_000_000
_LARGEST_TIMESCALE = 1_000_000
# Raw pictures do not wait longer than this (microseconds) for the packet of a stream that has few, such as subtitles.
_MOST_WAIT = 200_000
# Seconds; encoders of sound put up to some 2,000 samples before the first that is heard, and Matroska counts those.
_MOST_PADDING = Fraction(1, 10)


def muxer_settings(muxer: str, info: FilmInfo, source: Reader | SequenceReader, *, piped: bool) -> dict[str, str]:
    """Options of a muxer (FFmpeg's name) for a film and its source. piped: every packet goes out at once."""
    settings = {"flush_packets": "1", "max_interleave_delta": str(_MOST_WAIT)} if piped else {}
    if muxer == "matroska":
        # Padding of the sound before 0 must not move the pictures; FFmpeg's own FourCCs of raw pictures are unofficial.
        return settings | {"avoid_negative_ts": "disabled", "strict": "-1"}
    if muxer == "yuv4mpegpipe":
        return settings | {"strict": "-1"}  # more than 8 bits
    return settings | (_timescale(info, source) if muxer in ("mp4", "mov") else {})


def shift_before_zero(info: FilmInfo, source: Reader | SequenceReader, copied: Container[int]) -> Fraction:
    """Seconds by which all streams must be written later so that no picture lies before 0; 0 for nearly all films.

    A multiple of the film's time base. copied: indices of the streams that are written beside the pictures: those that
    start before the first picture are not cut either. Sound that merely starts before 0 moves nothing.
    """
    first = None if source.stream is None else _start(source.stream)
    if first is None or first >= 0:
        return Fraction(0)
    starts = [_start(stream) for stream in source.other_streams if stream.index in copied]
    earliest = min([first, *(start for start in starts if start is not None)])
    return -(earliest // info.time_base) * info.time_base


def shift_setting(shift: Fraction) -> dict[str, str]:
    """The muxer's option for a shift in seconds; each stream takes it in whole units of its own."""
    return {"output_ts_offset": f"{math.ceil(shift * _MICROSECONDS)}us"} if shift else {}


def lost_before_zero(source: Reader | SequenceReader, copied: Container[int], shift: Fraction) -> list[str]:
    """A sentence for each copied stream that has more before 0 than padding where packets before 0 are dropped.

    shift: seconds by which all streams are written later.
    """
    streams = [stream for stream in source.other_streams if stream.index in copied]
    starts = [(stream, _start(stream)) for stream in streams]
    early = [stream for stream, start in starts if start is not None and start + shift < -_MOST_PADDING]
    return [f"{describe(stream)} is left out before 0: the container has no such times" for stream in early]


def _start(stream: Stream) -> Fraction | None:
    """Seconds at which a stream starts; padding is not counted where the container hides it, as MP4 does."""
    return None if stream.start_time is None or stream.time_base is None else stream.start_time * stream.time_base


def _timescale(info: FilmInfo, source: Reader | SequenceReader) -> dict[str, str]:
    # The start of a track is kept in units of the whole file, milliseconds by default: take units that hold
    # those of the pictures and, while they stay handy, of the sound.
    pictures = info.time_base.denominator
    sounds = [stream.codec_context for stream in source.other_streams if isinstance(stream, AudioStream)]
    common = math.lcm(pictures, *(sound.sample_rate for sound in sounds if sound and sound.sample_rate))
    units = common if common <= _LARGEST_TIMESCALE else pictures
    return {"movie_timescale": str(units)} if _MILLISECONDS < units <= _LARGEST_TIMESCALE else {}
