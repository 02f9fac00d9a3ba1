"""Makes film.mp4, film.original.mp4 and keyframes/ beside itself: ``python samples/make_samples.py``.

A camera moves over CC0 and public-domain photographs that lie in scikit-image's wheel. The black-and-white film has
the luma of the color original, with grain, and neutral chroma. A keyframe is a picture of the film as decoded, painted
with the colors of the original. Everything random is seeded; README.md says what is in the film.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

Array = NDArray[Any]

WIDTH, HEIGHT, RATE, FRAMES, SAMPLE_RATE = 576, 324, 24, 528, 48_000
SUPERSAMPLING = 2  # pictures are drawn at twice the size and averaged, so that fine lines do not shimmer
FADE_IN, FADE_OUT = 24, 36
GRAIN, GRAIN_SIZE = 4.5, 1.3  # standard deviations: at middle gray, in 8-bit code values; of its blur, in pixels


@dataclass(frozen=True)
class Shot:
    """Frames ``start`` to ``stop`` - 1 of the film; where two shots overlap, one dissolves into the other.

    begin, end: where the camera looks: center x, y and width as fractions of the photograph's, turn in degrees.
    """

    photograph: str
    start: int
    stop: int
    keyframe: int
    begin: tuple[float, float, float, float]
    end: tuple[float, float, float, float]


SHOTS = (
    Shot("coffee", 0, 114, 66, begin=(0.44, 0.55, 0.58, -2), end=(0.50, 0.49, 0.94, 0.5)),
    Shot("chelsea", 114, 222, 162, begin=(0.50, 0.50, 0.96, 0), end=(0.46, 0.43, 0.62, 0)),
    Shot("rocket", 204, 330, 276, begin=(0.50, 0.56, 0.96, 0), end=(0.50, 0.62, 0.62, 0)),
    Shot("astronaut", 330, 438, 396, begin=(0.46, 0.42, 0.76, -1.5), end=(0.50, 0.30, 0.92, 1.5)),
    Shot("coffee", 438, 528, 474, begin=(0.52, 0.44, 0.48, 8), end=(0.54, 0.48, 0.64, -8)),
)
CUTS = tuple(after.start for before, after in pairwise(SHOTS) if before.stop == after.start)


def drift(random: np.random.Generator, memory: float, channels: int) -> Array:
    """(FRAMES, channels) noise of standard deviation 1 that remembers: a first-order autoregressive process."""
    noise = random.standard_normal((FRAMES, channels))
    for number in range(1, FRAMES):
        noise[number] = memory * noise[number - 1] + np.sqrt(1 - memory**2) * noise[number]
    return noise


def look(photograph: Array, shot: Shot, number: int, weave: Array) -> Array:
    """The photograph as the camera sees it: (HEIGHT, WIDTH, 3) R'G'B' float32 in [0, 1]."""
    t = (number - shot.start) / (shot.stop - shot.start - 1)
    t = t * t * (3 - 2 * t)  # starts and stops gently
    x, y, width, turn = np.array(shot.begin) * (1 - t) + np.array(shot.end) * t
    size, canvas = np.array(photograph.shape[1::-1]), np.array([WIDTH, HEIGHT]) * SUPERSAMPLING
    matrix = cv2.getRotationMatrix2D((0, 0), -turn, size[0] * width / canvas[0])[:, :2]
    offset = size * (x, y) - 0.5 - matrix @ (canvas / 2 - 0.5 + weave * SUPERSAMPLING)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    drawn = cv2.warpAffine(photograph, np.column_stack([matrix, offset]), canvas.tolist(), flags=flags)
    return np.asarray(cv2.resize(drawn, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.float32) / 255


def to_ycbcr(picture: Array) -> tuple[Array, Array]:
    """R'G'B' in [0, 1] to luma (H, W) and CbCr (H, W, 2), 8-bit code values before rounding (ITU-R BT.709-6, 3)."""
    luma = picture @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    chroma = (picture[..., [2, 0]] - luma[..., None]) / np.array([1.8556, 1.5748], np.float32)
    return 16 + 219 * luma, 128 + 224 * chroma


def to_rgb(luma: Array, chroma: Array) -> Array:
    """The way back, to 8 bits. Where a color does not exist at this luma it is weakened, so that luma stays."""
    y = np.clip((luma.astype(np.float32) - 16) / 219, 0, 1)[..., None]
    cb, cr = np.moveaxis((chroma - 128) / 224, -1, 0)
    color = np.stack([1.5748 * cr, -0.187324 * cb - 0.468124 * cr, 1.8556 * cb], axis=-1)
    room = np.where(color > 0, 1 - y, y) / np.maximum(np.abs(color), 1e-6)
    return np.asarray(np.rint(255 * (y + color * room.min(axis=-1, keepdims=True).clip(0, 1))), np.uint8)


def subsample(chroma: Array) -> Array:
    """(H, W, 2) to (2, H/2, W/2) uint8, sited left as in MPEG-2 and H.264: on even columns, between two rows."""
    rows = (chroma[0::2] + chroma[1::2]) / 2
    left = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
    mixed = (left + 2 * rows[:, 0::2] + rows[:, 1::2]) / 4
    return np.moveaxis(np.rint(mixed).clip(16, 240).astype(np.uint8), -1, 0)


def make_sound(random: np.random.Generator) -> Array:
    """A slow broken chord on something like a piano, a faint hiss, a click at each cut: (n,) float32 in [-1, 1]."""
    count = FRAMES * SAMPLE_RATE // RATE
    sound = 0.0008 * random.standard_normal(count)
    chords = ((45, 57, 60, 64, 69), (41, 57, 60, 65, 69), (48, 55, 60, 64, 67), (43, 55, 59, 62, 67))  # Am F C G, MIDI
    for beat in range(FRAMES // 12 - 4):
        pitch = chords[beat // 8 % 4][(0, 2, 3, 4, 3, 2, 1, 2)[beat % 8]]
        begin = beat * SAMPLE_RATE // 2
        seconds = np.arange(min(3 * SAMPLE_RATE, count - begin)) / SAMPLE_RATE
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        attack = 0.11 * np.minimum(seconds / 0.004, 1)
        for k in range(1, 7):  # partials: the higher, the softer and the sooner gone
            partial = np.sin(2 * np.pi * k * frequency * seconds) * np.exp(-(1.2 + 0.9 * k) * seconds) / k**1.6
            sound[begin : begin + len(seconds)] += attack * partial
    seconds = np.arange(SAMPLE_RATE // 40) / SAMPLE_RATE
    click = 0.25 * np.sin(2 * np.pi * 2200 * seconds) * np.exp(-350 * seconds)
    for begin in [cut * SAMPLE_RATE // RATE for cut in CUTS]:
        sound[begin : begin + len(click)] += click
    return np.asarray(sound.clip(-1, 1), np.float32)


class FilmFile:
    """An MP4 of H.264, 8-bit 4:2:0, tagged BT.709 limited, and AAC in mono."""

    def __init__(self, path: Path) -> None:
        self.container = av.open(str(path), "w", options={"movflags": "faststart"})
        # So that every run writes the same bytes: x264's depend on the number of threads, and its macroblock tree
        # (seen in cores 164 and 165) reads memory that it has not set.
        options = {"crf": "32", "preset": "slower", "tune": "grain", "threads": "1", "mbtree": "0"}
        self.video = self.container.add_stream("libx264", rate=RATE, options=options)
        self.video.width, self.video.height, self.video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context = self.video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = context.color_range = 1
        self.audio = self.container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", bit_rate=32_000)

    def write(self, number: int, luma: Array, chroma: Array, sound: Array) -> None:
        picture = av.VideoFrame.from_ndarray(np.concatenate([luma, chroma.reshape(-1, WIDTH)]), format="yuv420p")
        picture.pts = number
        self.container.mux(self.video.encode(picture))
        samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts = SAMPLE_RATE, number * len(sound)
        self.container.mux(self.audio.encode(samples))

    def close(self) -> None:
        self.container.mux([*self.video.encode(None), *self.audio.encode(None)])
        self.container.close()


def expose(number: int, photographs: dict[str, Array], weave: Array) -> Array:
    """What falls on frame ``number``: a shot, or two in a dissolve; fades at the ends of the film, darker corners."""
    seen = [shot for shot in SHOTS if shot.start <= number < shot.stop]
    pictures = [look(photographs[shot.photograph], shot, number, weave) for shot in seen]
    mix = (number - seen[-1].start + 1) / (seen[0].stop - seen[-1].start + 1) if len(seen) == 2 else 1
    fade = min(number / FADE_IN, (FRAMES - 1 - number) / FADE_OUT, 1)
    y, x = np.linspace(-1, 1, HEIGHT)[:, None, None], np.linspace(-1, 1, WIDTH)[:, None]
    light = fade * (1 - 0.16 * (x * x + y * y))
    return np.asarray((pictures[0] * (1 - mix) + pictures[-1] * mix) * light, np.float32)


def add_grain(luma: Array, random: np.random.Generator) -> Array:
    """Grain as in a print: strongest at middle gray, a third of it in black and white. Returns uint8 code values."""
    grain = cv2.GaussianBlur(random.standard_normal((HEIGHT, WIDTH), np.float32), (0, 0), GRAIN_SIZE)
    tone = ((luma - 16) / 219).clip(0, 1)
    grain *= GRAIN * (0.3 + 2.8 * tone * (1 - tone)) / grain.std()
    return np.asarray(np.rint(luma + grain).clip(16, 235), np.uint8)


def make(folder: Path) -> None:
    """Writes both films and the keyframes into ``folder``."""
    random = np.random.default_rng(1895)
    sound = make_sound(random).reshape(FRAMES, -1)
    weave, flicker = 0.35 * drift(random, 0.8, 2), 1 + 0.012 * drift(random, 0.5, 1)
    photographs = {shot.photograph: getattr(skimage.data, shot.photograph)() for shot in SHOTS}
    original, film = FilmFile(folder / "film.original.mp4"), FilmFile(folder / "film.mp4")
    neutral = np.full((2, HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    paints = {}
    for number in range(FRAMES):
        light = expose(number, photographs, weave[number]) * np.float32(flicker[number, 0])
        clean, chroma = to_ycbcr(light.clip(0, 1))
        luma = add_grain(clean, random)
        original.write(number, luma, subsample(chroma), sound[number])
        film.write(number, luma, neutral, sound[number])
        if any(number == shot.keyframe for shot in SHOTS):
            paints[number] = chroma
    original.close()
    film.close()
    paint_keyframes(folder, paints)


def paint_keyframes(folder: Path, paints: dict[int, Array]) -> None:
    """Decodes film.mp4 and writes the pictures that ``paints`` has chroma for, named by frame number."""
    (folder / "keyframes").mkdir(exist_ok=True)
    with av.open(str(folder / "film.mp4")) as container:
        for number, picture in enumerate(container.decode(video=0)):
            if number in paints:
                path = str(folder / "keyframes" / f"{number:06d}.png")
                painted = to_rgb(picture.to_ndarray()[:HEIGHT], paints[number])
                cv2.imwrite(path, painted[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    make(Path(__file__).parent)
