"""Short sequences to train a propagator on: cut from clips, or made from stills by synthetic motion.

A sample is a reference frame and a run of frames that follow each other. Every sample is a pure function of
(seed, index): a run that is resumed sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from streamcolor.errors import InputError
from streamcolor.train.old_film import Picture, age, grey_weights, lightness_of_grey, to_luma

Bytes = NDArray[np.uint8]
STILL_SUFFIXES = (".avif", ".jpg", ".jpeg", ".png", ".webp")
CLIP_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")


@dataclass(frozen=True)
class Footage:
    """Decoded pictures: stills as (H, W, 3) and clips as lists of such, uint8 R'G'B'; ``skipped``: unreadable files."""

    stills: list[Bytes]
    clips: list[list[Bytes]]
    skipped: list[str]


def load_footage(folder: Path, *, longest: int = 90, smallest: int = 128, limit: int | None = None) -> Footage:
    """Everything readable below ``folder``; at most ``longest`` frames of a clip. Raises InputError when empty."""
    from PIL import Image

    stills: list[Bytes] = []
    clips: list[list[Bytes]] = []
    skipped: list[str] = []
    for path in sorted(folder.rglob("*"))[:limit]:
        try:
            if path.suffix.lower() in STILL_SUFFIXES:
                picture = np.asarray(Image.open(path).convert("RGB"))
                if min(picture.shape[:2]) >= smallest and _colorful(picture):
                    stills.append(picture)
            elif path.suffix.lower() in CLIP_SUFFIXES:
                with av.open(str(path)) as container:
                    frames = []
                    for frame in container.decode(video=0):
                        frames.append(frame.to_ndarray(format="rgb24"))
                        if len(frames) == longest:
                            break
                if len(frames) > 8 and min(frames[0].shape[:2]) >= smallest and _colorful(frames[0]):
                    clips.append(frames)
        except (OSError, ValueError, av.FFmpegError) as error:
            skipped.append(f"{path.name}: {error}")
    if not stills and not clips:
        raise InputError(f"{folder} holds no color pictures and no clips to train on")
    return Footage(stills, clips, skipped)


def _colorful(picture: Bytes) -> bool:
    """Grey pictures teach grey: mean distance between the channels below 2 code values is left out."""
    values = picture[::4, ::4].astype(np.int16)
    return bool((values.max(-1) - values.min(-1)).mean() >= 2)


@dataclass(frozen=True)
class SequenceRecipe:
    """How samples are drawn. height, width: of a frame, multiples of 16; frames: in a run, after the reference."""

    height: int = 192
    width: int = 192
    frames: int = 4
    clips: float = 0.6
    farthest: int = 60
    unrelated: float = 0.08


class Sequences(IterableDataset[dict[str, torch.Tensor]]):
    """Endless samples, row 0 guides: lightness (1 + frames, 1, h, w) L* / 100 - 0.5, ab (1 + frames, 2, h, w) / 110."""

    def __init__(self, footage: Footage, recipe: SequenceRecipe, *, seed: int = 0, start: int = 0) -> None:
        self.footage = footage
        self.recipe = recipe
        self.seed = seed
        self.start = start

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        offset, step = (worker.id, worker.num_workers) if worker else (0, 1)
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        index = self.start + offset
        while True:
            yield self.sample(index)
            index += step

    def sample(self, index: int) -> dict[str, torch.Tensor]:
        """The sample of this number."""
        rng = np.random.default_rng((self.seed, index))
        footage, recipe = self.footage, self.recipe
        from_clip = bool(footage.clips) and (not footage.stills or rng.random() < recipe.clips)
        rgb = self._from_clip(rng) if from_clip else self._from_still(rng)
        if rng.random() < recipe.unrelated:
            rgb[0] = self._crop([self._any_picture(rng)], rng)[0]
        if rng.random() < 0.5:
            rgb = rgb[:, :, ::-1]
        rgb = np.ascontiguousarray(rgb)
        lab = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2Lab) for frame in rgb])
        lightness = lightness_of_grey(age(to_luma(rgb, grey_weights(rng)), rng))
        return {
            "lightness": torch.from_numpy(lightness[:, None] / 100 - 0.5),
            "ab": torch.from_numpy(np.ascontiguousarray(lab[..., 1:].transpose(0, 3, 1, 2)) / 110),
        }

    def _any_picture(self, rng: np.random.Generator) -> Bytes:
        if self.footage.stills:
            return self.footage.stills[rng.integers(len(self.footage.stills))]
        clip = self.footage.clips[rng.integers(len(self.footage.clips))]
        return clip[rng.integers(len(clip))]

    def _crop(self, frames: list[Bytes], rng: np.random.Generator) -> Picture:
        """The same random part of every frame, enlarged or reduced to the recipe's size."""
        height, width = frames[0].shape[:2]
        recipe = self.recipe
        fit = min(height / recipe.height, width / recipe.width)
        fit *= float(rng.uniform(0.55, 1.0)) if rng.random() < 0.7 else 1.0
        h, w = int(recipe.height * fit), int(recipe.width * fit)
        y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        how = cv2.INTER_AREA if fit > 1 else cv2.INTER_LINEAR
        size = (recipe.width, recipe.height)
        parts = [cv2.resize(f[y : y + h, x : x + w], size, interpolation=how) for f in frames]
        return np.stack(parts).astype(np.float32) / 255

    def _from_clip(self, rng: np.random.Generator) -> Picture:
        """Reference at any distance, before or behind, and a run at one to three times the speed."""
        clip = self.footage.clips[rng.integers(len(self.footage.clips))]
        count = self.recipe.frames
        stride = int(rng.choice([1, 1, 2, 3]))
        stride = max(1, min(stride, (len(clip) - 2) // count))
        first = int(rng.integers(0, len(clip) - (count - 1) * stride))
        run = [first + i * stride for i in range(count)]
        if rng.random() < 0.2:
            run.reverse()
        low, high = max(0, first - self.recipe.farthest), min(len(clip), first + self.recipe.farthest)
        reference = int(rng.integers(low, high))
        return self._crop([clip[i] for i in (reference, *run)], rng)

    def _from_still(self, rng: np.random.Generator) -> Picture:
        """A camera move over a still, non-rigid motion, and often something else that passes in front."""
        recipe = self.recipe
        still = self._any_picture(rng)
        scene = self._crop([still], rng)[0]
        grids = self._motion(rng, recipe.frames)
        frames = [cv2.remap(scene, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) for grid in grids]
        if rng.random() < 0.6:
            for _ in range(int(rng.integers(1, 3))):
                frames = self._occlude(frames, rng)
        return np.stack(frames)

    def _motion(self, rng: np.random.Generator, count: int) -> list[tuple[Picture, Picture]]:
        """Sampling grids of the reference and ``count`` frames: one large move, then small ones adding up."""
        recipe = self.recipe
        y, x = np.meshgrid(np.arange(recipe.height), np.arange(recipe.width), indexing="ij")
        grid = np.stack([x, y]).astype(np.float32)
        large = self._displacement(rng, 1.5)
        pace = float(np.exp(rng.normal(-1.4, 0.6)))
        velocity = self._displacement(rng, pace)
        result, total = [(grid[0], grid[1])], large
        for _ in range(count):
            moved = grid + total
            result.append((moved[0], moved[1]))
            total = total + velocity + self._displacement(rng, 0.3 * pace)
        return result

    def _displacement(self, rng: np.random.Generator, strength: float) -> Picture:
        """(2, h, w) pixels: rotation, zoom, shift and a smooth random bend."""
        recipe = self.recipe
        height, width = recipe.height, recipe.width
        angle, zoom = rng.normal(0, 0.08 * strength), np.exp(rng.normal(0, 0.08 * strength))
        shift = rng.normal(0, 0.06 * strength, 2) * (width, height)
        y, x = np.meshgrid(np.arange(height) - height / 2, np.arange(width) - width / 2, indexing="ij")
        cos, sin = np.cos(angle) / zoom - 1, np.sin(angle) / zoom
        rigid = np.stack([cos * x - sin * y + shift[0], sin * x + cos * y + shift[1]])
        coarse = rng.normal(0, 0.025 * strength, (2, 5, 5)).astype(np.float32)
        bend = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse])
        return np.asarray(rigid + bend * width, np.float32)

    def _occlude(self, frames: list[Picture], rng: np.random.Generator) -> list[Picture]:
        """Paste a blob cut from another picture and move it; often it is not there in the reference."""
        recipe = self.recipe
        source = self._crop([self._any_picture(rng)], rng)[0]
        noise = rng.standard_normal((6, 6)).astype(np.float32)
        y, x = np.meshgrid(np.linspace(-1, 1, recipe.height), np.linspace(-1, 1, recipe.width), indexing="ij")
        blob = cv2.resize(noise, (recipe.width, recipe.height), interpolation=cv2.INTER_CUBIC) * 0.25
        radius = rng.uniform(0.15, 0.5)
        mask = np.clip((radius - np.hypot(x, y * rng.uniform(0.5, 2.0)) + blob * radius) * 30, 0, 1).astype(np.float32)
        start = rng.uniform(-0.45, 0.45, 2) * (recipe.width, recipe.height)
        velocity = rng.normal(0, 0.05, 2) * (recipe.width, recipe.height)
        hidden_at_first = rng.random() < 0.5
        result = []
        for number, frame in enumerate(frames):
            if number == 0 and hidden_at_first:
                result.append(frame)
                continue
            shift = start + velocity * number
            move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
            size = (recipe.width, recipe.height)
            alpha = cv2.warpAffine(mask, move, size)[..., None]
            thing = cv2.warpAffine(source, move, size, borderMode=cv2.BORDER_REFLECT_101)
            result.append(frame * (1 - alpha) + thing * alpha)
        return result
