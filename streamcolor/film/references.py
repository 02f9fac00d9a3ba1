"""References: color pictures that guide, where they belong in the film, and which of them a shot gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcolor.color.convert import grey_lightness
from streamcolor.color.standards import Matrix
from streamcolor.errors import CallError, InputError
from streamcolor.film.shots import Shot
from streamcolor.film.similarity import GOOD_MATCH, match_score, small_picture
from streamcolor.frame import Frame
from streamcolor.media.stills import read_still

Float32 = NDArray[np.float32]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jp2", ".tif", ".tiff", ".webp", ".bmp", ".avif"})
FILM_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".mov", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".webm", ".mxf", ".m4v", ".nut"}
)
FITS = ("refuse", "crop", "pad", "stretch")
# Aspect ratios that differ by less are the same: codecs round sizes, scanners crop a line.
ASPECT_TOLERANCE = 0.02

_TIMECODE = re.compile(r"(\d{1,2})[:-](\d{2})[:-](\d{2})(?:([:;-])(\d{2})|\.(\d{1,6}))?")
_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, slots=True)
class ReferencePicture:
    """A reference on disk; its pixels are read when a shot needs them, so that any number of them costs nothing.

    frame: number of the frame it was painted on, or None. aspect: width / height that it is fitted to. small: evened
    small luminance picture that it is matched by.
    """

    path: Path
    name: str
    frame: int | None
    aspect: float
    fit: str
    small: Float32 = field(repr=False, compare=False)

    def pixels(self) -> tuple[Float32, Float32]:
        """R'G'B' (h, w, 3) and alpha (h, w), float32 in [0, 1], of the film's aspect. Raises InputError."""
        return _fitted(*_read(self.path), self.aspect, self.fit)


def load_references(
    specs: Sequence[str],
    *,
    rate: Fraction,
    width: int,
    height: int,
    sample_aspect: Fraction | None = None,
    fit: str = "refuse",
) -> list[ReferencePicture]:
    """The references that ``--ref`` names: FILE, FILE@FRAME, FILE@TIMECODE or FOLDER.

    rate: nominal frames per second that timecodes count in. width, height, sample_aspect: of the film; a picture
    may have the aspect ratio of its samples or of its display.
    Raises CallError for a value after @ that is neither, InputError for what is not a picture or does not fit.
    """
    if fit not in FITS:
        raise CallError(f"no way {fit!r} to fit a reference: choose {', '.join(FITS)}")
    found: list[ReferencePicture] = []
    for spec in specs:
        for path, frame in _named(spec, rate):
            rgb, alpha = _read(path)
            aspect = _aspect(rgb, width, height, sample_aspect, fit, path)
            rgb, alpha = _fitted(rgb, alpha, aspect, fit)
            grey = grey_lightness(rgb, Matrix.BT709)
            found.append(ReferencePicture(path, path.name, frame, aspect, fit, small_picture(grey, 100)))
    return found


def _named(spec: str, rate: Fraction) -> list[tuple[Path, int | None]]:
    """Paths and frame numbers of one ``--ref``."""
    if not spec or spec.startswith("@"):
        raise CallError(f"the reference {spec!r} names no picture")
    path = Path(spec)
    if path.is_dir():
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not pictures:
            raise InputError(f"the folder {path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        return [(p, _frame_in_name(p.stem, rate)) for p in pictures]
    if path.exists() or "@" not in spec:
        return [(path, None)]
    name, _, place = spec.rpartition("@")
    if place.isdecimal():
        return [(Path(name), int(place))]
    frame = _timecode(place, rate)
    if frame is None:
        raise CallError(f"{spec}: {place!r} is neither a frame number (@120) nor a timecode (@00:01:05:12)")
    return [(Path(name), frame)]


def _frame_in_name(stem: str, rate: Fraction) -> int | None:
    timecode = _timecode(stem, rate)
    if timecode is not None:
        return timecode
    number = _NUMBER.search(stem)
    return int(number[1]) if number else None


def _timecode(text: str, rate: Fraction) -> int | None:
    """Frame number of HH:MM:SS:FF, HH:MM:SS;FF (drop frame, SMPTE ST 12-1 5.2.2) or HH:MM:SS.fraction, else None."""
    match = _TIMECODE.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = (int(part) for part in match.group(1, 2, 3))
    if minutes > 59 or seconds > 59:
        return None
    whole = (hours * 60 + minutes) * 60 + seconds
    if match[6] is not None:
        return round((whole + Fraction(int(match[6]), 10 ** len(match[6]))) * rate)
    base = round(rate)
    number = whole * base + int(match[5] or 0)
    if match[4] == ";":
        # Two numbers (four at 60) are skipped each minute but the tenth.
        number -= round(base / 15) * (hours * 60 + minutes - (hours * 60 + minutes) // 10)
    return number


def _read(path: Path) -> tuple[Float32, Float32]:
    """R'G'B' (H, W, 3) and alpha (H, W) of a picture, 8 or 16 bits, upright, float32 in [0, 1]."""
    try:
        still = read_still(path, "reference")
    except InputError:
        if path.is_file() and path.suffix.lower() in FILM_SUFFIXES:
            film = f"the reference {path} is a film; save one of its frames as a picture and name that"
            raise InputError(film) from None
        raise
    return still.rgb, np.ones(still.rgb.shape[:2], np.float32) if still.alpha is None else still.alpha


def _aspect(rgb: Float32, width: int, height: int, sample: Fraction | None, fit: str, path: Path) -> float:
    """The film's aspect ratio, of its samples or of its display, whichever is nearer to the picture's."""
    mine = rgb.shape[1] / rgb.shape[0]
    aspects = (width / height * float(sample or 1), width / height)
    nearest = min(aspects, key=lambda aspect: abs(mine / aspect - 1))
    if fit == "refuse" and abs(mine / nearest - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"the reference {path} is {rgb.shape[1]}x{rgb.shape[0]} (aspect {mine:.3f}) and the film {width}x{height} "
            f"(aspect {nearest:.3f}); choose how it shall fit: --fit crop|pad|stretch"
        )
    return nearest


def _fitted(rgb: Float32, alpha: Float32, aspect: float, fit: str) -> tuple[Float32, Float32]:
    """Crop the middle, or pad with transparency, to the film's aspect ratio; otherwise as it is (it is stretched)."""
    height, width = rgb.shape[:2]
    if fit == "crop":
        # At least a pixel is left of it where the film is far longer than high.
        w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
        x, y = (width - w) // 2, (height - h) // 2
        return rgb[y : y + h, x : x + w], alpha[y : y + h, x : x + w]
    if fit == "pad":
        w, h = max(width, round(height * aspect)), max(height, round(width / aspect))
        x, y = (w - width) // 2, (h - height) // 2
        around = ((y, h - height - y), (x, w - width - x))
        return np.pad(rgb, (*around, (0, 0)), mode="edge"), np.pad(alpha, around)
    return rgb, alpha


@dataclass(frozen=True, slots=True)
class Assigned:
    """A reference that a shot gets; ``score`` is None when its frame number decided."""

    reference: ReferencePicture
    score: float | None


class ReferencePlanner:
    """Which references a shot gets, decided while the film streams by.

    1. A numbered reference belongs to the shot that holds its frame, from where the look-ahead reaches it.
    2. Whatever its number, a reference guides a shot that it resembles (``match_score`` of at least ``GOOD_MATCH``).
       That is tried with the first frame of the shot and, because a shot may pan to what was painted, again every
       ``RETRY`` frames with the next numbered reference and the ``RETRIED`` likeliest of those without a number.
    3. What does neither stays out: a reference never leaks into a shot that it does not resemble.
    """

    RETRY = 8
    RETRIED = 8

    def __init__(self, references: Sequence[ReferencePicture]) -> None:
        self._references = list(references)
        self._taken: set[int] = set()
        self._used: set[int] = set()
        self._scores: dict[int, float] = {}

    def for_shot(self, shot: Shot, frame: Frame, known: int) -> list[Assigned]:
        """References of a shot that starts, the surest first.

        frame: the first one seen of the shot. known: number of the last frame known to be in it.
        """
        self._taken = set()
        every = range(len(self._references))
        result = self._reached(shot, known) + self._resembling(every, frame)
        return sorted(result, key=lambda assigned: -(assigned.score or 2.0))

    def arriving(self, frame: Frame, shot: Shot, known: int) -> list[Assigned]:
        """References that the running shot gets from this frame on."""
        result = self._reached(shot, known)
        if (frame.index - shot.start) % self.RETRY == 0:
            ahead = [r.frame for r in self._references if r.frame is not None and r.frame > known]
            following = min(ahead, default=None)
            free = [n for n, r in enumerate(self._references) if r.frame is None and n not in self._taken]
            likely = sorted(free, key=lambda n: -self._scores.get(n, 0.0))[: self.RETRIED]
            ahead_next = [n for n, r in enumerate(self._references) if r.frame is not None and r.frame == following]
            result += self._resembling([*likely, *ahead_next], frame)
        return result

    def unused(self) -> list[ReferencePicture]:
        """References that no shot got so far."""
        return [r for number, r in enumerate(self._references) if number not in self._used]

    def _reached(self, shot: Shot, known: int) -> list[Assigned]:
        here = [n for n, r in enumerate(self._references) if r.frame is not None and shot.start <= r.frame <= known]
        return [assigned for n in here if (assigned := self._take(n, None)) is not None]

    def _resembling(self, numbers: Iterable[int], frame: Frame) -> list[Assigned]:
        look = small_picture(frame.luma, 2**frame.depth - 1)
        result = []
        for number in numbers:
            if number in self._taken:
                continue
            score = self._scores[number] = match_score(self._references[number].small, look)
            if score >= GOOD_MATCH and (assigned := self._take(number, score)) is not None:
                result.append(assigned)
        return result

    def _take(self, number: int, score: float | None) -> Assigned | None:
        if number in self._taken:
            return None
        self._taken.add(number)
        self._used.add(number)
        return Assigned(self._references[number], score)
