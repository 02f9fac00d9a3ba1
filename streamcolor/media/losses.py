"""What of a film does not come through: pictures that are damaged or missing, its end, what rides on its pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.sidedata.sidedata import SideDataContainer

from streamcolor.media.probe import average_rate

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from streamcolor.frame import Frame

# A film that misses less than this (seconds) is whole: headers round, and count streams that end a little later.
_ROUNDING = Fraction(1, 2)
# The duration of a frame differs by no more than this share from that of its film's rate, if the rate is constant.
_ROUNDED_DURATION = Fraction(1, 10)
# Its decoder makes bgra of every palette.
_PALETTE_CODEC = "gif"
# What pictures may carry along and PyAV cannot write, by FFmpeg's names of side data.
_RIDERS = {
    "A53_CC": "closed captions inside its pictures (ATSC A/53)",
    "S12M_TIMECODE": "time code inside its pictures (SMPTE ST 12-1)",
    "AFD": "active format description",
    "MASTERING_DISPLAY_METADATA": "HDR mastering display (SMPTE ST 2086)",
    "CONTENT_LIGHT_LEVEL": "HDR content light level (CTA-861.3)",
    "DYNAMIC_HDR_PLUS": "HDR10+ data (SMPTE ST 2094-40)",
    "DYNAMIC_HDR_VIVID": "HDR Vivid data",
    "DOVI_RPU_BUFFER": "Dolby Vision data",
    "DOVI_METADATA": "Dolby Vision data",
}


def held_sentences(number: int) -> Iterator[str]:
    """What people should know of so many pictures that did not decode and repeat the one before; nothing of 0."""
    if number == 1:
        yield "1 damaged frame was held from the one before it"
    elif number:
        yield f"{number} damaged frames were held from the ones before them"


class Tally:
    """Counts what is lost of a film while its frames and the packets of its other streams go by.

    held: frames that did not decode and repeat the one before. flawed: frames that decoded with errors. skipped: frames
    of a constant rate that are missing beside those, because the demuxer did not find their packets.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.held = self.flawed = self.skipped = 0
        self._container, self._stream = container, stream
        self._rate = average_rate(stream)
        self._before: tuple[Frame, bool] | None = None
        self._start = Fraction(0)
        self._longest_step = Fraction(0)
        self._packets = 0
        self._others_end = Fraction(0)
        self._transparent: str | None = None
        # In the order of their first appearance.
        self._riders: dict[str, None] = {}
        self._early: str | None = None

    def packet(self, packet: av.Packet[Any]) -> None:
        """A packet of any stream of the film."""
        if packet.stream_index == self._stream.index:
            self._packets += 1
        elif packet.pts is not None:
            end = (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base)
            self._others_end = max(self._others_end, end)

    def frame(self, frame: Frame, picture: av.VideoFrame | None) -> None:
        """The next frame of the film. picture: what it was made of, or None if it is held."""
        flawed = picture is not None and frame.damaged
        if picture is not None:
            # Not ``picture.side_data``: that is kept in the picture, knows it, and so keeps it in memory.
            names = [rider.type.name for rider in SideDataContainer(picture)]  # type: ignore[call-arg]
            self._riders |= {_RIDERS[name]: None for name in names if name in _RIDERS}
        self.held += picture is None
        self.flawed += flawed
        if self._before is None:
            self._start = frame.pts * frame.time_base
            if picture is not None and self._stream.codec_context.name != _PALETTE_CODEC and _has_alpha(picture.format):
                self._transparent = picture.format.name
        else:
            before, flawed_before = self._before
            step = (frame.pts - before.pts) * frame.time_base
            if (flawed or flawed_before) and self._constant(before):
                self.skipped += max(round(step * self._rate) - 1, 0)
            else:
                self._longest_step = max(self._longest_step, step)
        self._before = (frame, flawed)

    def end(self) -> None:
        """Nothing more comes: compare with what the header says."""
        if self._before is None or not self._longest_step:
            return
        last, _ = self._before
        end = last.pts * last.time_base + (last.duration * last.time_base or 1 / self._rate)
        length = max(end, end - self._start)
        enough = max(_ROUNDING, 2 * self._longest_step)
        said = self._length_in_header(enough)
        if said is not None and said - length > enough:
            self._early = f"the film ends at {float(length):.2f} s, its header says {float(said):.2f} s"

    def damaged(self, lost: int) -> int:
        """Pictures that are damaged or lost so far. lost: packets that failed and have no frame in their place."""
        return self.held + self.flawed + self.skipped + lost

    def sentences(self, lost: int) -> Iterator[str]:
        """All that people should know, one each; lost: see ``damaged``."""
        lost += self.skipped
        yield from held_sentences(self.held)
        if self.flawed:
            frames, are = ("1 frame", "is") if self.flawed == 1 else (f"{self.flawed} frames", "are")
            yield f"{frames} decoded with errors and {are} colored as decoded"
        if lost:
            frames, place = ("1 frame is", "its") if lost == 1 else (f"{lost} frames are", "their")
            yield f"{frames} lost, with nothing in {place} place"
        if self._early is not None:
            yield self._early
        if self._transparent is not None:
            yield f"the alpha of the film ({self._transparent}) is left out: its pictures come out opaque"
        if self._riders:
            yield f"left out of the film: {', '.join(self._riders)}"

    def _constant(self, frame: Frame) -> bool:
        return abs(frame.duration * frame.time_base * self._rate - 1) <= _ROUNDED_DURATION

    def _length_in_header(self, enough: Fraction) -> Fraction | None:
        """Seconds of the pictures that the header promises; None where it cannot be trusted to speak of them."""
        whole = self._container.duration
        length = None if whole is None else Fraction(whole, av.time_base)
        names = self._container.format.name.split(",")
        if "matroska" in names:
            own = _matroska_duration(self._stream.metadata)
            if own is not None:
                return own if length is None else min(own, length)
            # It counts the longest stream.
            return None if length is None or length - self._others_end <= enough else length
        if "mov" in names and self._stream.duration and self._stream.time_base and self._index_beyond_end():
            own = self._stream.duration * self._stream.time_base
            return own if length is None else min(own, length)
        if "avi" in names and len(self._stream.index_entries) < self._stream.frames:
            return self._stream.frames / self._rate
        return None

    def _index_beyond_end(self) -> bool:
        """True when the index names pictures that were not there."""
        return bool(beyond_end(self._container, self._stream)) or (
            not _size(self._container) and self._packets < len(self._stream.index_entries)
        )


def beyond_end(container: InputContainer, stream: VideoStream) -> int:
    """Pictures that the index of a film names and that a cut-off file no longer has; 0 for a pipe."""
    size = _size(container)
    return sum(entry.pos >= size for entry in stream.index_entries) if size else 0


def _size(container: InputContainer) -> int:
    return max(container.size or 0, 0)


def _has_alpha(form: av.VideoFormat) -> bool:
    return any(component.is_alpha for component in form.components)


def _matroska_duration(metadata: dict[str, str]) -> Fraction | None:
    """Seconds of a track by the statistics tag DURATION that FFmpeg and mkvmerge write."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", metadata.get("DURATION", ""))
    return None if found is None else int(found[1]) * 3600 + int(found[2]) * 60 + Fraction(found[3])
