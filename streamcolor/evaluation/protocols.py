"""The first-frame protocol: a color clip is made grey, colored from some of its own frames, and compared.

It is what ``first_frame_eval.py`` does from outside, in-process: the grey film holds the clip's own luma with
neutral chroma (FFV1), the references are PNGs of its frames, and scores leave the reference frames out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.errors import CallError, InputError
from streamcolor.evaluation import metrics
from streamcolor.evaluation.metrics import Picture
from streamcolor.media.luma import plane_view

ColorFilm = Callable[[Path, list[str], Path], None]
Luma = NDArray[np.uint8]
KeepFrames = Callable[[str, list[tuple[Picture, Picture, Luma]]], object]

SETTINGS = ("first", "first,last", "none", "unrelated")
CLIP_SUFFIXES = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip, means over its frames other than the references; dB, nats x 1e3 (cdc), ratios.

    colour: colorfulness of the output over that of the truth. end: psnr of the last eighth. luma: largest absolute
    difference of the Y planes. grey: psnr of the uncolored film. his: histogram intersection with the truth. fps:
    frames over seconds of coloring, start-up included. psnr_frames: psnr by frame number, references too.
    """

    clip: str
    psnr: float
    ssim: float
    de00: float
    cdc: float
    cdc_gt: float
    colour: float
    end: float
    luma: int
    fps: float
    psnr_u8: float
    his: float
    grey: float
    psnr_frames: list[float]


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


def decode(path: Path, limit: int = 0) -> Iterator[tuple[Picture, Luma]]:
    """R'G'B' (H, W, 3) and Y' (H, W) of every frame of an 8-bit BT.709 film. Raises InputError for another format."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if limit and number == limit:
                return
            if frame.format.name not in {"yuv420p", "yuv422p", "yuv444p", "gray"}:
                raise InputError(f"{path.name} has pixel format {frame.format.name}; evaluation takes 8-bit Y'CbCr")
            # One thread: libswscale's slice threads were seen to damage single samples.
            rgb = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709", threads=1)
            yield rgb, np.asarray(plane_view(frame, 0, 8), np.uint8).copy()


def write_grey_film(path: Path, luma: Sequence[Luma], rate: Fraction) -> None:
    """FFV1 4:2:0, BT.709 limited, chroma neutral."""
    height, width = luma[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
        for y in luma:
            frame = av.VideoFrame(width, height, "yuv420p")
            frame.color_range, frame.colorspace = 1, 1
            for number in range(3):
                plane_view(frame, number, 8)[:] = y if number == 0 else 128
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def evaluate(
    data: Path,
    color_film: ColorFilm,
    *,
    references: str = "first",
    clips: Sequence[str] | None = None,
    frames: int = 0,
    keep: KeepFrames | None = None,
) -> Iterator[ClipScore]:
    """Score ``color_film(film, references, output)`` on the clips of a folder, one after the other.

    references: first, ``first,last``, none, or unrelated (the first frame of another clip).
    frames: only the first so many of each clip, 0 for all.
    keep: called with a clip's name and a few of its (truth, output, luma) frames, evenly spaced.
    """
    if references not in SETTINGS:
        raise CallError(f"no setting {references!r}: choose {', '.join(SETTINGS)}")
    chosen = find_clips(data, clips)
    everything = find_clips(data)
    for clip in chosen:
        other = everything[(everything.index(clip) + 1) % len(everything)]
        yield _score(clip, other, color_film, references, frames, keep)


def _score(
    clip: Path,
    other: Path,
    color_film: ColorFilm,
    references: str,
    frames: int,
    keep: KeepFrames | None,
) -> ClipScore:
    with tempfile.TemporaryDirectory() as folder:
        film, output = Path(folder, f"{clip.stem}.mkv"), Path(folder, f"{clip.stem}.color.mkv")
        luma = [y for _, y in decode(clip, frames)]
        if not luma:
            raise InputError(f"{clip.name} has no frames")
        with av.open(str(clip)) as container:
            rate = container.streams.video[0].average_rate or Fraction(25)
        write_grey_film(film, luma, rate)
        places = {"first": [0], "first,last": [0, len(luma) - 1]}.get(references, [])
        pictures = _write_references(clip, places, Path(folder))
        if references == "unrelated":
            pictures = _write_references(other, [0], Path(folder), luma[0].shape)
        started = time.perf_counter()
        color_film(film, [str(p) for p in pictures], output)
        seconds = time.perf_counter() - started
        spaced = set(np.linspace(0, len(luma) - 1, 6).astype(int)) if keep else set()
        return _compare(clip, output, film, set(places), frames, len(luma) / seconds, spaced, keep)


def _write_references(
    clip: Path, places: Sequence[int], folder: Path, shape: tuple[int, ...] | None = None
) -> list[str | Path]:
    """PNGs of these frames. One alone is matched by its looks, several by the number after the ``@``."""
    written: list[str | Path] = []
    for number, (rgb, _) in enumerate(decode(clip, max(places, default=-1) + 1)):
        if number in places:
            if shape is not None:
                rgb = np.asarray(cv2.resize(rgb, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)
            path = folder / f"{number:06d}.png"
            cv2.imwrite(str(path), rgb[..., ::-1])
            written.append(path if len(places) == 1 else f"{path}@{number}")
    return written


def _compare(
    clip: Path,
    output: Path,
    grey: Path,
    skip: set[int],
    frames: int,
    fps: float,
    spaced: set[int],
    keep: KeepFrames | None,
) -> ClipScore:
    """Frame against frame, three films read side by side; whole clips are never held."""
    truth_histograms, histograms, kept = [], [], []
    psnr, grey_psnr, wrapped, ssim, de00, his, color, true_color = ([] for _ in range(8))
    luma = 0
    films = zip(decode(output), decode(clip, frames), decode(grey), strict=True)
    compared = 0
    try:
        for number, ((mine, my_luma), (true, true_luma), (plain, _)) in enumerate(films):
            psnr.append(metrics.psnr(mine, true))
            luma = max(luma, metrics.luma_difference(my_luma, true_luma))
            histograms.append(metrics.rgb_histograms(mine))
            truth_histograms.append(metrics.rgb_histograms(true))
            if number in spaced:
                kept.append((true, mine, true_luma))
            if number in skip:
                continue
            grey_psnr.append(metrics.psnr(plain, true))
            wrapped.append(metrics.psnr_u8(mine, true))
            color.append(metrics.colorfulness(mine))
            true_color.append(metrics.colorfulness(true))
            if compared % 2 == 0:
                ssim.append(metrics.ssim(mine, true))
            if compared % 4 == 0:
                de00.append(metrics.mean_ciede2000(mine, true))
                his.append(metrics.histogram_intersection(mine, true))
            compared += 1
    except ValueError as error:
        raise InputError(f"the colored {clip.name} does not have as many frames as the film") from error
    if keep is not None:
        keep(clip.stem, kept)
    rest = [n for n in range(len(psnr)) if n not in skip] or list(range(len(psnr)))
    tail = [n for n in rest if n >= len(psnr) * 7 // 8] or rest[-1:]
    return ClipScore(
        clip=clip.stem,
        psnr=float(np.mean([psnr[n] for n in rest])),
        ssim=float(np.mean(ssim)),
        de00=float(np.mean(de00)),
        cdc=1e3 * metrics.color_distribution_consistency(histograms),
        cdc_gt=1e3 * metrics.color_distribution_consistency(truth_histograms),
        colour=float(np.mean(color) / max(np.mean(true_color), 1e-6)),
        end=float(np.mean([psnr[n] for n in tail])),
        luma=luma,
        fps=fps,
        psnr_u8=float(np.mean(wrapped)),
        his=float(np.mean(his)),
        grey=float(np.mean(grey_psnr)),
        psnr_frames=psnr,
    )
