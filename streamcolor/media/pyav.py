"""What differs between the releases of PyAV that are supported: 17 (Python 3.10), 18 (3.11) and 19 (3.12 and later)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import av

if TYPE_CHECKING:
    from av.video.stream import VideoStream

MAJOR: Final = int(av.__version__.partition(".")[0])

# Metadata that is not UTF-8 must not stop a run; PyAV 19 replaces what it cannot read and has no option for it.
OPEN_OPTIONS: Final[dict[str, Any]] = {"metadata_errors": "replace"} if MAJOR < 19 else {}


def field_order(stream: VideoStream) -> int:
    """FFmpeg's AVFieldOrder of a stream, 0 when unknown; PyAV 17 does not tell, its pictures only say interlaced."""
    return int(getattr(stream.codec_context, "field_order", 0))
