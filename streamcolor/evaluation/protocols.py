"""The first-frame protocol: a color clip is made grey, colored from some of its own frames, and compared.

It is what ``first_frame_eval.py`` does from outside, in-process: the grey film holds the clip's own luma with
neutral chroma (FFV1), the references are PNGs of its frames, and scores leave the reference frames out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
import cv2
import numpy as np

from streamcolor.color.standards import Matrix, luma_coefficients
from streamcolor.errors import CallError, InputError, OutputError
from streamcolor.evaluation import metrics
from streamcolor.evaluation.comparison import ClipScore, Luma, Measure, Pair, Tally
from streamcolor.evaluation.metrics import Picture
from streamcolor.evaluation.strips import ContactSheet
from streamcolor.media.luma import plane_view

ColorFilm = Callable[[Path, list[str], Path], None]
KeepSheet = Callable[[str, Picture], object]

SETTINGS = ("first", "first,last", "none", "unrelated")
CLIP_SUFFIXES = (".mp4", ".mkv", ".mov")
# Pixel formats: of films, and of what ``write_rgb_film`` writes.
YCBCR = ("yuv420p", "yuv422p", "yuv444p", "gray")
RGB = "bgr0"
# The window of SSIM.
SMALLEST_SIDE = 11


def find_clips(data: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Color clips of a folder by name. Raises InputError for an empty folder, CallError for an unknown name."""
    if not data.is_dir():
        raise InputError(f"there is no folder {data} with color clips")
    clips = sorted(p for p in data.iterdir() if p.suffix.lower() in CLIP_SUFFIXES)
    if not clips:
        raise InputError(f"{data} holds no clips ({', '.join(CLIP_SUFFIXES)})")
    unknown = set(names or ()) - {p.stem for p in clips}
    if unknown:
        raise CallError(f"no clip {min(unknown)!r} in {data}; there are {', '.join(p.stem for p in clips)}")
    return [p for p in clips if not names or p.stem in names]


def decode(path: Path, limit: int = 0, formats: Sequence[str] = YCBCR) -> Iterator[tuple[Picture, Luma]]:
    """R'G'B' (H, W, 3) and Y' (H, W) of every frame of an 8-bit BT.709 film, or of the first ``limit``.

    Raises InputError for a pixel format that is not among ``formats`` and for what is not a film.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path.name} has no pictures; take it out of the folder")
            for number, frame in enumerate(container.decode(video=0)):
                if limit and number == limit:
                    return
                if frame.format.name not in formats:
                    raise InputError(f"{path.name} has pixel format {frame.format.name}; evaluation takes 8-bit Y'CbCr")
                # One thread: libswscale's slice threads were seen to damage single samples.
                rgb = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709", threads=1)
                luma = limited_luma(rgb) if frame.format.name == RGB else plane_view(frame, 0, 8).copy()
                yield rgb, np.asarray(luma, np.uint8)
    except av.error.FFmpegError as error:
        raise InputError(f"{path.name} cannot be decoded: {error.strerror}; is it a whole film?") from error


def limited_luma(rgb: Picture) -> Luma:
    """Y' (H, W) of a picture in the film's own code values: BT.709, 8 bits, limited range."""
    kr, kb = luma_coefficients(Matrix.BT709)
    unit = rgb @ np.array([kr, 1 - kr - kb, kb]) / 255
    return np.asarray(np.rint(16 + 219 * unit), np.uint8)


def write_rgb_film(pictures: Iterable[Picture], film: Path) -> None:
    """Pictures (H, W, 3) R'G'B' as FFV1, bit for bit: what ``ColorFilm`` may write instead of Y'CbCr."""
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.pix_fmt = RGB
        for number, rgb in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=RGB, threads=1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_grey_film(clip: Path, film: Path, frames: int = 0) -> tuple[int, tuple[int, int]]:
    """The first ``frames`` of a clip (0: all) as FFV1 4:2:0, BT.709 limited, chroma neutral; one frame in memory.

    Returns how many there are, and (H, W). Raises InputError for a clip that cannot be scored: no frames, pictures
    smaller than the window of SSIM, or no color in any of them.
    """
    first = next(decode(clip, 1), None)
    if first is None:
        raise InputError(f"{clip.name} has no frames; take it out of the folder")
    height, width = first[1].shape
    if min(height, width) < SMALLEST_SIDE:
        raise InputError(f"{clip.name} is {width} x {height}; evaluation needs {SMALLEST_SIDE} pixels a side")
    with av.open(str(clip)) as container:
        rate = container.streams.video[0].average_rate or Fraction(25)
    count, colored = 0, False
    with av.open(str(film), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        for rgb, luma in decode(clip, frames):
            colored = colored or metrics.colorfulness(rgb) > 0
            frame = av.VideoFrame(width, height, "yuv420p")
            frame.color_range, frame.colorspace = 1, 1
            for number in range(3):
                plane_view(frame, number, 8)[:] = luma if number == 0 else 128
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode())
    if not colored:
        raise InputError(f"{clip.name} has no color to compare with; take it out of the folder")
    return count, (height, width)


def evaluate(
    data: Path,
    color_film: ColorFilm,
    *,
    references: str = "first",
    clips: Sequence[str] | None = None,
    frames: int = 0,
    keep: KeepSheet | None = None,
    measures: Sequence[Measure] = (),
) -> Iterator[ClipScore]:
    """Score ``color_film(film, references, output)`` on the clips of a folder, one after the other.

    references: first, ``first,last``, none, or unrelated (the first frame of another clip).
    frames: only the first so many of each clip, 0 for all.
    keep: called with a clip's name and its contact sheet, see ``ContactSheet``.
    measures: what else is measured; their ``pooled`` figures are ready when the last clip is scored.

    Raises CallError for a setting or clip that does not exist, InputError for a clip or an output that cannot be
    scored, OutputError when ``color_film`` wrote nothing; its own errors pass through.
    """
    if references not in SETTINGS:
        raise CallError(f"no setting {references!r}: choose {', '.join(SETTINGS)}")
    chosen = find_clips(data, clips)
    everything = find_clips(data)
    if references == "unrelated" and len(everything) < 2:
        raise CallError(f"references 'unrelated' need a second clip in {data} to take them from")
    for clip in chosen:
        other = everything[(everything.index(clip) + 1) % len(everything)]
        yield _score(clip, other, color_film, references, frames, keep, measures)


def _score(
    clip: Path,
    other: Path,
    color_film: ColorFilm,
    references: str,
    frames: int,
    keep: KeepSheet | None,
    measures: Sequence[Measure],
) -> ClipScore:
    with tempfile.TemporaryDirectory() as folder:
        film, output = Path(folder, f"{clip.stem}.mkv"), Path(folder, f"{clip.stem}.color.mkv")
        count, shape = write_grey_film(clip, film, frames)
        places = {"first": [0], "first,last": sorted({0, count - 1})}.get(references, [])
        if count <= len(places):
            raise InputError(f"every frame of {clip.name} is a reference, nothing is left to compare; take more frames")
        given = _pictures(clip, places) if references != "unrelated" else {0: _resized(_pictures(other, [0])[0], shape)}
        paths = _write_references(given, Path(folder))
        started = time.perf_counter()
        color_film(film, paths, output)
        seconds = time.perf_counter() - started
        if not output.exists():
            raise OutputError(f"{output.name} was not written, so there is nothing to compare with {clip.name}")
        tally, sheet = Tally(measures), ContactSheet(count) if keep is not None else None
        _compare(clip, output, film, set(places), list(given.values()), frames, tally, sheet)
        if keep is not None and sheet is not None:
            keep(clip.stem, sheet.picture())
        return tally.score(clip.stem, count / seconds)


def _pictures(clip: Path, places: Sequence[int]) -> dict[int, Picture]:
    """Frames of a clip by number."""
    if not places:
        return {}
    return {number: rgb for number, (rgb, _) in enumerate(decode(clip, max(places) + 1)) if number in places}


def _resized(picture: Picture, shape: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _write_references(pictures: Mapping[int, Picture], folder: Path) -> list[str]:
    """PNGs of these frames. One alone is matched by its looks, several by the number after the ``@``."""
    written = []
    for number, rgb in pictures.items():
        path = folder / f"{number:06d}.png"
        cv2.imwrite(str(path), rgb[..., ::-1])
        written.append(str(path) if len(pictures) == 1 else f"{path}@{number}")
    return written


def _compare(
    clip: Path,
    output: Path,
    grey: Path,
    places: set[int],
    references: Sequence[Picture],
    frames: int,
    tally: Tally,
    sheet: ContactSheet | None,
) -> None:
    """Frame against frame, three films read side by side; whole clips are never held."""
    films = zip_longest(decode(output, formats=(*YCBCR, RGB)), decode(clip, frames), decode(grey))
    for number, (colored, original, uncolored) in enumerate(films):
        if colored is None or original is None:
            raise InputError(f"the colored {clip.name} does not have as many frames as the film")
        (mine, my_luma), (true, true_luma) = colored, original
        if mine.shape != true.shape:
            raise InputError(f"the colored {clip.name} is {_size(mine)}, the film {_size(true)}")
        pair = Pair(number, true, mine, uncolored[0], true_luma, my_luma, number not in places, references)
        tally.add(pair)
        if sheet is not None:
            sheet.add(pair, tally.psnr[-1])


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
