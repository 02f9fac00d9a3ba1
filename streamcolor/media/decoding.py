"""Pictures of one stream in the order in which they are shown, with the places of those that were lost.

Rules for what a container or a damaged film leaves open:

* A picture without pts takes its dts, if that lies after the picture before; else it follows that one by its
  duration, or by one frame at the average rate. A first picture with neither starts at 0.
* A pts that does not lie after the one before (a damaged index) becomes the one before plus one unit.
* A packet that does not decode is lost. When its pts is known and a picture came before, that pts is delivered
  in its place without a picture; otherwise it is only counted. In a pipe, what breaks off at the end is only counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.error

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame, or None for one that was lost; pts and duration in units of the stream."""

    frame: VideoFrame | None
    pts: int
    duration: int


class PictureDecoder:
    """Decodes the packets of one stream, and never stops because of a bad one.

    hold_at_end: give a place to pictures that are lost at the very end.
    lost: packets that failed and have not been given a place (yet).
    """

    def __init__(self, stream: VideoStream, rate: Fraction, *, hold_at_end: bool = True) -> None:
        self.lost = 0
        self._hold_at_end = hold_at_end
        self._stream = stream
        self._frame_step = max(round(1 / (rate * (stream.time_base or Fraction(1)))), 1)
        # (pts, duration) of packets that have not come out as pictures yet.
        self._expected: list[tuple[int, int]] = []
        # A packet that the demuxer calls corrupt waits for the next one; see ``decode``.
        self._suspect: av.Packet[VideoStream] | None = None
        self._last: int | None = None
        self._step = self._frame_step

    def decode(self, packet: av.Packet[VideoStream] | None) -> Iterator[Picture]:
        """Pictures that are complete with this packet; with None, those that are left at the end."""
        if packet is not None and packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._expected, (packet.pts, packet.duration or 0))
        suspect, self._suspect = self._suspect, None
        if packet is None:
            # An error while the decoder empties itself would take the good pictures behind it along.
            self.lost += suspect is not None
        elif suspect is not None:
            yield from self._send(suspect)
        if packet is not None and packet.is_corrupt:
            self._suspect = packet
            return
        yield from self._send(packet)
        if packet is None:
            yield from self._missing_at_end()

    def _send(self, packet: av.Packet[VideoStream] | None) -> Iterator[Picture]:
        try:
            frames = self._stream.decode(packet)
        except av.error.FFmpegError:
            # With frame threads the error may belong to an earlier packet: the gap in pts tells which.
            self.lost += 1
            frames = []
        for frame in frames:
            if frame.pts is not None:
                yield from self._missing_before(frame.pts)
            duration = frame.duration or 0
            yield Picture(frame, self._place(frame.pts, frame.dts, duration), duration)

    def _missing_at_end(self) -> Iterator[Picture]:
        """All that is still expected; PyAV does not report every error of the end, so the gaps are counted."""
        last = self._last
        if last is not None:
            self.lost = max(self.lost, sum(pts > last for pts, _ in self._expected))
            if self._hold_at_end:
                yield from self._missing_before(max((pts for pts, _ in self._expected), default=last) + 1)

    def _missing_before(self, pts: int) -> Iterator[Picture]:
        """Lost pictures that belong before ``pts``; forgets what is expected up to there."""
        while self._expected and self._expected[0][0] <= pts:
            expected, duration = heapq.heappop(self._expected)
            place_known = self._last is not None and expected > self._last and expected != pts
            if self.lost and place_known:
                self.lost -= 1
                yield Picture(None, self._place(expected, None, duration), duration)

    def _place(self, pts: int | None, dts: int | None, duration: int) -> int:
        last = self._last
        if pts is None and dts is not None and (last is None or dts > last):
            pts = dts
        if pts is None:
            pts = 0 if last is None else last + self._step
        elif last is not None and pts <= last:
            pts = last + 1
        self._last = pts
        self._step = duration or self._frame_step
        return pts
