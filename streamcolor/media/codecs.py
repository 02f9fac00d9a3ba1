"""The encoders that are offered, what each can hold, and the one that fits a film and a container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from streamcolor.color.standards import Matrix, Range
from streamcolor.errors import CallError
from streamcolor.media.info import FilmInfo

# Constant quality that leaves grain standing; x264's fastest preset that still uses all of its block decisions
# well: coloring is the job, and on two cores encoding must not take the time that the model needs.
DEFAULT_CRF = 16
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
DEFAULT_PRESET = "veryfast"

_DNX_MATRICES = (Matrix.BT709, Matrix.BT2020_NCL, Matrix.BT2020_CL)

ALIASES = {"h264": "libx264", "avc": "libx264", "h265": "libx265", "hevc": "libx265", "prores_ks": "prores"}
# Suffix -> name of libavformat's muxer, in the order in which messages name them.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".nut": "nut", ".y4m": "yuv4mpegpipe"}
_OF_ANY_CODEC = tuple(suffix for suffix in CONTAINERS if suffix != ".y4m")


@dataclass(frozen=True, slots=True)
class Encoder:
    """One offered codec.

    encoder: FFmpeg's name. depths: bits per sample. subsamplings: first is the default.
    containers: suffixes that hold it. smallest: least width and height.
    crf: quality is set by ``crf`` and ``preset``. any_size: odd sizes fit with any subsampling.
    interlaced: fields are coded as such.
    """

    name: str
    encoder: str
    depths: tuple[int, ...]
    subsamplings: tuple[str, ...]
    containers: tuple[str, ...]
    smallest: tuple[int, int] = (1, 1)
    crf: bool = False
    any_size: bool = False
    interlaced: bool = True


ENCODERS = {
    encoder.name: encoder
    for encoder in (
        Encoder("libx264", "libx264", (8, 10), ("420", "422", "444"), _OF_ANY_CODEC, (2, 2), crf=True),
        # x265 codes interlaced film as separate fields only, which no container of these can flag per frame.
        Encoder(
            "libx265",
            "libx265",
            (8, 10, 12),
            ("420", "422", "444"),
            _OF_ANY_CODEC,
            (16, 16),
            crf=True,
            interlaced=False,
        ),
        Encoder("ffv1", "ffv1", (8, 9, 10, 12, 14, 16), ("420", "422", "444"), (".mkv", ".nut"), any_size=True),
        Encoder("prores", "prores_ks", (10,), ("422", "444"), (".mov", ".mkv"), (2, 2)),
        Encoder("dnxhd", "dnxhd", (8, 10), ("422",), (".mov",), (256, 120), interlaced=False),
        Encoder("dnxhr", "dnxhd", (8, 10), ("422",), (".mov",), (256, 120), interlaced=False),
        Encoder(
            "rawvideo",
            "rawvideo",
            (8, 9, 10, 12, 14, 16),
            ("420", "422", "444"),
            (".nut", ".mkv", ".y4m"),
            any_size=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """The choice for one film: encoder, depth, subsampling, pixel format, options, and a notice for people."""

    encoder: Encoder
    depth: int
    subsampling: str
    pixel_format: str
    options: Mapping[str, str]
    notice: str | None = None


def choose_encoding(
    info: FilmInfo,
    suffix: str,
    *,
    codec: str | None = None,
    depth: int | None = None,
    options: Mapping[str, str] | None = None,
    preset: str | None = None,
    crf: int | None = None,
) -> Encoding:
    """Encoding for a film in a container. Raises CallError that says what to choose instead."""
    if suffix not in CONTAINERS:
        raise CallError(
            f"{suffix or 'a name without a suffix'} is not a container that is offered: {', '.join(CONTAINERS)}"
        )
    encoder = _encoder(codec) if codec else _default_encoder(info, suffix, depth)
    if suffix not in encoder.containers:
        raise CallError(
            f"{suffix} cannot hold {encoder.name}; choose {_one_of(encoder.containers)}, or another --codec"
        )
    bits = _depth(encoder, info, depth)
    subsampling = _subsampling(encoder, info)
    if info.width < encoder.smallest[0] or info.height < encoder.smallest[1]:
        raise CallError(
            f"{encoder.name} cannot hold {info.width}x{info.height}, it starts at {encoder.smallest[0]}x"
            f"{encoder.smallest[1]}; choose --codec libx264 or ffv1"
        )
    settings = _quality(encoder, bits, subsampling, preset, crf)
    if suffix == ".nut" and encoder.crf:
        # NUT has no times before 0, where B-frames would put the first packet: all streams would be shifted.
        settings["bf"] = "0"
    settings.update(options or {})
    if encoder.name == "libx265" and "log-level" not in settings.get("x265-params", ""):
        # x265 writes to the terminal on its own.
        extra = settings.get("x265-params", "")
        settings["x265-params"] = "log-level=error" + (f":{extra}" if extra else "")
    pixel_format = f"yuv{subsampling}p" + ("" if bits == 8 else f"{bits}le")
    notice = "; ".join(_notices(encoder, info, suffix, subsampling)) or None
    return Encoding(encoder, bits, subsampling, pixel_format, settings, notice)


def _notices(encoder: Encoder, info: FilmInfo, suffix: str, subsampling: str) -> Iterator[str]:
    """What the user should know of the choice, one clause each."""
    size = f"{info.width}x{info.height}"
    if encoder.crf and subsampling != info.subsampling and subsampling == "444":
        yield f"the size {size} is odd: 4:4:4 chroma keeps the luma as it is, but some players do not show it"
    if info.interlaced and not encoder.interlaced:
        yield f"{encoder.name} codes the interlaced film as whole frames; --codec libx264 keeps its fields apart"
    if info.tags.range == Range.FULL and encoder.name == "prores":
        yield "ProRes cannot say that the luma is full range; tell the next program, or use --codec libx264 or ffv1"
    if encoder.encoder == "dnxhd" and info.tags.matrix not in _DNX_MATRICES:
        yield f"{encoder.name} names no matrix but BT.709 and BT.2020; tell the next program, or use --codec libx264"
    if suffix == ".nut" and not encoder.crf:
        yield "NUT holds no color tags and field order; tell the next program"
    if suffix == ".y4m":
        yield "Y4M holds no matrix, primaries and transfer, and frames at one rate only; tell the next program"


def _encoder(codec: str) -> Encoder:
    name = ALIASES.get(codec, codec)
    if name not in ENCODERS:
        raise CallError(f"codec {codec} is not offered; choose {_one_of(ENCODERS)}")
    return ENCODERS[name]


def _default_encoder(info: FilmInfo, suffix: str, depth: int | None) -> Encoder:
    bits = depth or info.depth
    if suffix == ".y4m":
        return ENCODERS["rawvideo"]
    if bits <= 10:
        return ENCODERS["libx264"]
    if bits == 12:
        return ENCODERS["libx265"]
    if suffix == ".mkv":
        return ENCODERS["ffv1"]
    raise CallError(f"no codec of {suffix} holds {bits} bits; name an --output ending in .mkv, or give a lower depth")


def _depth(encoder: Encoder, info: FilmInfo, depth: int | None) -> int:
    """The depth asked for, or the least one that holds every bit of the film."""
    offered = " or ".join(str(bits) for bits in encoder.depths)
    if depth is not None:
        if depth not in encoder.depths:
            raise CallError(f"{encoder.name} has no {depth} bits; choose {offered}")
        return depth
    enough = [bits for bits in encoder.depths if bits >= info.depth]
    if not enough:
        raise CallError(
            f"{encoder.name} holds {offered} bits and the film has {info.depth}; choose --codec ffv1 in .mkv, "
            "or ask for the lower depth"
        )
    return enough[0]


def _subsampling(encoder: Encoder, info: FilmInfo) -> str:
    """Chroma layout: the film's own where the encoder has it; gray becomes the encoder's default.

    Odd sizes do not fit the grid of 4:2:0 in H.264 and H.265; 4:4:4 holds them without touching the luma.
    """
    wanted = info.subsampling if info.subsampling in encoder.subsamplings else encoder.subsamplings[0]
    odd_width, odd_height = info.width % 2, info.height % 2
    fits = not (odd_width or odd_height) or wanted == "444" or (wanted == "422" and not odd_width)
    if encoder.any_size or (encoder.crf and fits):
        return wanted
    if encoder.crf:
        return "444"
    if odd_width or odd_height:
        raise CallError(
            f"{encoder.name} cannot hold the odd size {info.width}x{info.height}; choose --codec libx264 or ffv1"
        )
    return wanted


def _quality(encoder: Encoder, depth: int, subsampling: str, preset: str | None, crf: int | None) -> dict[str, str]:
    if encoder.crf:
        if preset is not None and preset not in PRESETS:
            raise CallError(f"{encoder.name} has no preset {preset!r}; there are {', '.join(PRESETS)}")
        quality = {"crf": str(DEFAULT_CRF if crf is None else crf), "preset": preset or DEFAULT_PRESET}
        # With macroblock trees x264 gives other bytes from run to run: equal input must give equal output.
        return quality | ({"mbtree": "0"} if encoder.encoder == "libx264" else {})
    if preset is not None or crf is not None:
        raise CallError(f"{encoder.name} has no crf and no preset; leave them out, or use --codec libx264")
    if encoder.encoder == "ffv1":
        # Every frame stands alone (a lost one takes no other along), in slices with checksums that threads share.
        return {"level": "3", "g": "1", "slicecrc": "1"}
    if encoder.encoder == "dnxhd":
        return {"profile": "dnxhr_hq" if depth == 8 else "dnxhr_hqx"}
    if encoder.encoder == "prores_ks":
        return {"profile": "4444" if subsampling == "444" else "hq", "vendor": "apl0"}
    return {}


def _one_of(names: Iterable[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
