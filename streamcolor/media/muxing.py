"""Options by which FFmpeg's muxers keep what they would otherwise round, shift, refuse or hold back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from av.audio.stream import AudioStream

if TYPE_CHECKING:
    from streamcolor.media.info import FilmInfo
    from streamcolor.media.reader import Reader
    from streamcolor.media.sequence import SequenceReader

_MILLISECONDS = 1000
_LARGEST_TIMESCALE = 1_000_000
# Raw pictures do not wait longer than this (microseconds) for the packet of a stream that has few, such as subtitles.
_MOST_WAIT = 200_000


def muxer_settings(muxer: str, info: FilmInfo, source: Reader | SequenceReader, *, piped: bool) -> dict[str, str]:
    """Options of a muxer (FFmpeg's name) for a film and its source. piped: every packet goes out at once."""
    settings = {"flush_packets": "1", "max_interleave_delta": str(_MOST_WAIT)} if piped else {}
    if muxer == "matroska":
        # Padding of the sound before 0 must not move the pictures; FFmpeg's own FourCCs of raw pictures are unofficial.
        return settings | {"avoid_negative_ts": "disabled", "strict": "-1"}
    if muxer == "yuv4mpegpipe":
        return settings | {"strict": "-1"}  # more than 8 bits
    return settings | (_timescale(info, source) if muxer in ("mp4", "mov") else {})


def _timescale(info: FilmInfo, source: Reader | SequenceReader) -> dict[str, str]:
    # The start of a track is kept in units of the whole file, milliseconds by default: take units that hold
    # those of the pictures and, while they stay handy, of the sound.
    pictures = info.time_base.denominator
    sounds = [stream.codec_context for stream in source.other_streams if isinstance(stream, AudioStream)]
    common = math.lcm(pictures, *(sound.sample_rate for sound in sounds if sound and sound.sample_rate))
    units = common if common <= _LARGEST_TIMESCALE else pictures
    return {"movie_timescale": str(units)} if _MILLISECONDS < units <= _LARGEST_TIMESCALE else {}
