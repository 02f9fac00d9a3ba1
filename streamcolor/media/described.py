"""What the user says of a film because its container cannot: color tags, fields, sample aspect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from streamcolor.color.standards import ColorSpace, Matrix, Range
from streamcolor.frame import ColorTags

if TYPE_CHECKING:
    from av.container import InputContainer

    from streamcolor.media.info import FilmInfo

FieldOrder = Literal["progressive", "tff", "bff"]

# What containers of raw pictures do not carry (libavformat/nutenc.c and yuv4mpegenc.c write none of it).
_NOT_CARRIED = {
    "nut": ("matrix", "primaries", "transfer", "range", "field"),
    "yuv4mpegpipe": ("matrix", "primaries", "transfer"),
}


@dataclass(frozen=True, slots=True)
class Described:
    """Values that take the place of what the container says; None leaves it as it is.

    matrix, primaries, transfer: code points of ITU-T H.273. range: FFmpeg's AVColorRange.
    field: order of the fields. sar: width of a sample divided by its height.
    """

    matrix: int | None = None
    primaries: int | None = None
    transfer: int | None = None
    range: int | None = None
    field: FieldOrder | None = None
    sar: Fraction | None = None

    def tags(self, tags: ColorTags) -> ColorTags:
        """Tags of a picture, with what the user said in their place."""
        told = {
            name: value
            for name in ("matrix", "primaries", "transfer", "range")
            if (value := getattr(self, name)) is not None
        }
        return replace(tags, **told) if told else tags

    def film(self, info: FilmInfo) -> FilmInfo:
        """Description of a film, with what the user said in its place."""
        info = replace(info, tags=self.tags(info.tags))
        if self.sar is not None:
            info = replace(info, sample_aspect=self.sar)
        if self.field is not None:
            info = replace(info, interlaced=self.field != "progressive", top_field_first=self.field == "tff")
        return info

    def fields(self, interlaced: bool, top_field_first: bool) -> tuple[bool, bool]:
        """(interlaced, top field first) of a picture."""
        if self.field is None:
            return interlaced, top_field_first
        return self.field != "progressive", self.field == "tff"


def taken_for(info: FilmInfo, described: Described, container: InputContainer | None) -> str | None:
    """A sentence for people when a container cannot say what the colors depend on and the user does not say it."""
    names = [] if container is None else container.format.name.split(",")
    lost = next((lost for name, lost in _NOT_CARRIED.items() if name in names), ())
    # Gray without a range has been taken for full range (see ``probe.frame_tags``).
    no_range = info.tags.range == Range.UNSPECIFIED or (info.subsampling == "400" and described.range is None)
    open_ = (info.tags.matrix == Matrix.UNSPECIFIED and "matrix" in lost) or (no_range and "range" in lost)
    if not open_:
        return None
    space = ColorSpace.of(info.tags, info.height)
    return (
        f"{info.name} ({info.codec} in {', '.join(names)}) carries no color tags: it is taken for "
        f"matrix={space.matrix.name.lower()}, range={space.range.name.lower()}; say otherwise with the options "
        f"{', '.join(f'{name}=' for name in lost)}"
    )
