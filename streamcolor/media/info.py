"""What a film or a picture sequence is, as the writer, the planner and people need to know it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from streamcolor.frame import ColorTags


@dataclass(frozen=True, slots=True)
class FilmInfo:
    """Description of a film; nothing in it is used to compute a time stamp.

    name: file name for messages, ``standard input`` for a pipe.
    width, height: in samples, before sample aspect and rotation.
    depth: significant bits of a luma sample, 8 to 16.
    subsampling: ``400`` (gray), ``420``, ``422`` or ``444``; rarer ones read as the next finer of these.
    rgb: True when the pictures are stored as R'G'B'; their luma is that of ``streamcolor.media.rgb``.
    rate: average frames per second.
    time_base: seconds per unit of ``Frame.pts``.
    frames: number of frames, an estimate; None when the container does not say (a pipe).
    duration: seconds, or None.
    sample_aspect: width of a sample divided by its height; None when the film does not say.
    tags: color tags of the first frame; a gray film without a range is full range unless H.264 or H.265.
    chroma_location: FFmpeg's AVChromaLocation, 0 unspecified.
    rotation: degrees counterclockwise by which a player turns the pictures.
    interlaced, top_field_first: as the first frame and the stream say.
    pixel_format, codec: FFmpeg's names.
    display_matrix: the nine numbers of AV_PKT_DATA_DISPLAYMATRIX (rotation and flips), or None.
    """

    name: str
    width: int
    height: int
    depth: int
    subsampling: str
    rgb: bool
    rate: Fraction
    time_base: Fraction
    frames: int | None
    duration: float | None
    sample_aspect: Fraction | None
    tags: ColorTags
    chroma_location: int
    rotation: int
    interlaced: bool
    top_field_first: bool
    pixel_format: str
    codec: str
    display_matrix: tuple[int, ...] | None = None
