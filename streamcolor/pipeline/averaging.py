"""Colors averaged along the motion with those of the frames before and after.

A colorizer goes through a film in one direction, so that a thing is colored as soon as its edge comes into sight. Where
it says how frames lie to each other (``Chroma.link``), a frame waits for the next ones, and every place takes the mean
of what was said of it around that time: colors flicker less, and what came into sight has been seen better.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcolor.colorizers.tracks import at
from streamcolor.frame import Chroma

Float32 = NDArray[np.float32]
Item = TypeVar("Item")

REACH = 4
"""How many frames on either side a mean takes in, and so for how many a frame waits."""

# Weight of a frame for each frame of distance; what odds are softened by, so that none is infinite and none nothing.
# By odds, colors that are sure stay what they are, above all those of a frame that is a reference itself.
FADING = 0.9
SOFT = 0.05


class Told:
    """What one frame says in the means of those around it; made ready once, when somebody asks."""

    def __init__(self, chroma: Chroma) -> None:
        self.chroma = chroma

    @cached_property
    def colors(self) -> Float32:
        """(h, w, 3): a* and b* times the odds that they were found in this frame and are right, and these odds."""
        sure = self.chroma.confidence.numpy()
        if self.chroma.own is not None:
            sure = sure * self.chroma.own.numpy()
        odds = (sure + SOFT) / (1 - sure + SOFT)
        return np.dstack([*(self.chroma.ab.numpy() * odds), *odds])

    @cached_property
    def back(self) -> Float32:
        """(h, w, 3): by how much places lay elsewhere in the frame before, and how far that is believed."""
        assert self.chroma.link is not None
        return np.dstack([self.chroma.link.back, self.chroma.link.back_believed])

    @cached_property
    def forth(self) -> Float32:
        """(h, w, 3): by how much places of the frame before have moved to here, and how far that is believed."""
        assert self.chroma.link is not None
        return np.dstack([self.chroma.link.forth, self.chroma.link.forth_believed])


@dataclass(frozen=True, slots=True)
class Around:
    """A frame, and those before and after it to which links lead, the nearest first."""

    here: Told
    before: tuple[Told, ...] = ()
    after: tuple[Told, ...] = ()

    def averaged(self) -> Float32:
        """ab (2, h, w): the mean along the motion, by confidence, by belief in the motion and by distance."""
        if not self.before and not self.after:
            return self.here.chroma.ab.numpy()
        total = self.here.colors
        leading = (self.here, *self.before)
        back = ((later.back, other.colors) for later, other in zip(leading, self.before, strict=False))
        forth = ((other.forth, other.colors) for other in self.after)
        for way in (back, forth):
            for there, belief in _along(way):
                total = total + cv2.multiply(there, cv2.merge([belief] * 3))
        a, b, odds = cv2.split(total)
        return np.stack([a / odds, b / odds])


class Waiting(Generic[Item]):
    """A line in which items wait until the chroma of the frames behind them is known, at most ``reach`` of them."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        # Frames of one shot, each linked to the one before it; so many of them have left already.
        self._linked: deque[tuple[Item, Told]] = deque()
        self._left = 0
        self._shot = -1

    def push(self, item: Item, chroma: Chroma, shot: int) -> Iterator[tuple[Item, Around]]:
        """Take the next item, its frame's chroma and the number of its shot; those that need not wait any longer."""
        if chroma.link is None or shot != self._shot:
            yield from self.flush()
        self._shot = shot
        self._linked.append((item, Told(chroma)))
        if len(self._linked) - self._left > self.reach:
            yield self._next()

    def flush(self) -> Iterator[tuple[Item, Around]]:
        """All that are waiting; what comes next has nothing to do with them."""
        while self._left < len(self._linked):
            yield self._next()
        self._linked.clear()
        self._left = 0

    def _next(self) -> tuple[Item, Around]:
        item, here = self._linked[self._left]
        told = [one for _, one in self._linked]
        before = tuple(told[: self._left][::-1])
        after = tuple(told[self._left + 1 : self._left + 1 + self.reach])
        if self._left == self.reach:
            self._linked.popleft()
        else:
            self._left += 1
        return item, Around(here, before, after)


def _along(way: Iterable[tuple[Float32, Float32]]) -> Iterator[tuple[Float32, Float32]]:
    """Colors (h, w, 3) of each frame on a way, moved to where the way began, and belief (h, w) in having got there.

    way: for each frame the motion that leads to it, (h, w, 3), and its colors.
    """
    x: Float32 | None = None
    for motion, colors in way:
        if x is None:
            x, y = _grid(*motion.shape[:2])
            belief = np.ones_like(x)
        else:
            motion = at(motion, x, y)
        right, down, believed = cv2.split(motion)
        x, y, belief = x + right, y + down, np.float32(FADING) * belief * believed
        yield at(colors, x, y), belief


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> tuple[Float32, Float32]:
    """x and y (h, w) of every sample."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y
