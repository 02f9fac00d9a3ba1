"""Short sequences to train a propagator on: cut from clips, or made from stills by synthetic motion.

A sequence is one or two references and a run of frames that follow each other, with what optical flow makes of them.
Every batch is a pure function of (seed, index): a run that is resumed sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.propagator import motion
from streamcolor.colorizers.propagator.motion import Followed, Way
from streamcolor.colorizers.propagator.movers import Movers
from streamcolor.colorizers.tracks import Between
from streamcolor.train.batches import NumberedBatches
from streamcolor.train.footage import Bytes, Clip, Footage
from streamcolor.train.old_film import Picture, age, grey_weights, lightness_of_grey, to_luma


@dataclass(frozen=True)
class SequenceRecipe:
    """How sequences are drawn. height, width: of a frame, multiples of 16; frames: in a run, after the references.

    warm: frames before these in ``ahead`` of the batches, which are colored but not learned from: the run then starts
    as the middle of a film does. clips: share of sequences from clips. farthest: frames between reference and run.
    unrelated: share of sequences whose first reference is another picture. two: share of batches with a reference on
    either side. lead: most frames between reference and run that flow is followed through; none for half of the
    sequences. stills: pictures in a batch for the guess alone. pan: share of sequences seen by a camera that turns to
    what their reference does not show.
    """

    height: int = 192
    width: int = 192
    frames: int = 4
    warm: int = 8
    ahead: float = 0.7
    clips: float = 0.6
    farthest: int = 60
    unrelated: float = 0.08
    two: float = 0.25
    lead: int = 4
    stills: int = 6
    pan: float = 0.5


@dataclass(frozen=True)
class Scene:
    """Pictures (N, h, w, 3) R'G'B' in [0, 1] in the order references, lead, run; ``numbers``: of each in its film.

    joined: flow has been followed without a gap since the first reference.
    """

    pictures: Picture
    numbers: list[int]
    lead: int
    joined: bool


class Sequences(NumberedBatches):
    """Endless batches of B sequences with K references and T frames (with or without ``warm``), and of N stills.

    lightness (B, K + T, 1, h, w): L* / 100 - 0.5. ab (B, K + T, 2, h, w): / 110.
    tracked, flow (B, T, 4, h/4, w/4): ``Followed.candidate`` and ``Way.reduced`` (zeros for the first).
    moving (B, T, 1, h/8, w/8), moved (B, T, K, 2, h/8, w/8): ``Movers.query``, ``Movers.memories`` (zeros where
    no frame lies before).
    still_lightness (N, 2, 1, h, w) and still_ab (N, 2, 2, h, w): two parts of each still; absent when N is 0.
    """

    def __init__(
        self,
        footage: Footage,
        recipe: SequenceRecipe,
        *,
        batch: int = 4,
        **numbering: int,
    ) -> None:
        """batch: sequences in one. numbering: see ``NumberedBatches``."""
        super().__init__(**numbering)
        self.footage = footage
        self.recipe = recipe
        self.batch = batch
        moving = np.array([_moving(clip) for clip in footage.clips])
        self._shares = moving / moving.sum() if len(moving) else moving

    def sample(self, index: int) -> dict[str, torch.Tensor]:
        """The batch of this number."""
        rng = np.random.default_rng((self.seed, index))
        guides = 2 if rng.random() < self.recipe.two else 1
        count = self.recipe.frames + (self.recipe.warm if rng.random() < self.recipe.ahead else 0)
        rows = [self._sequence(rng, guides, count) for _ in range(self.batch)]
        rows += [self._still(rng) for _ in range(self.recipe.stills)]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: torch.from_numpy(np.stack([row[name] for row in rows if name in row])) for name in names}

    def _sequence(self, rng: np.random.Generator, guides: int, count: int) -> dict[str, Picture]:
        footage, recipe = self.footage, self.recipe
        from_clip = bool(footage.clips) and (not footage.stills or rng.random() < recipe.clips)
        draw = self._from_clip if from_clip else self._from_still
        # Only a run that is warmed up is long enough to begin at its reference.
        near = count > recipe.frames and rng.random() < 0.6
        scene = draw(rng, guides, count, near)
        rgb = scene.pictures
        if rng.random() < recipe.unrelated:
            rgb[0] = self._crop([self._any_picture(rng)], rng)[0]
        if rng.random() < 0.5:
            rgb = rgb[:, :, ::-1]
        lightness, ab = as_film_and_truth(np.ascontiguousarray(rgb), rng)
        followed = follow(lightness, ab, scene, guides)
        seen = [n for n in range(len(rgb)) if not guides <= n < guides + scene.lead]
        return {
            "lightness": lightness[seen, None] / 100 - 0.5,
            "ab": np.ascontiguousarray(ab[seen].transpose(0, 3, 1, 2)) / 110,
            **followed,
        }

    def _still(self, rng: np.random.Generator) -> dict[str, Picture]:
        picture = self._any_picture(rng)
        parts = [self._crop([picture], rng)[0][:, :: rng.choice([-1, 1])] for _ in range(2)]
        lightness, ab = as_film_and_truth(np.stack(parts), rng)
        return {
            "still_lightness": lightness[:, None] / 100 - 0.5,
            "still_ab": np.ascontiguousarray(ab.transpose(0, 3, 1, 2)) / 110,
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

    def _pan(self, frames: list[Bytes], rng: np.random.Generator, guides: int, lead: int, near: bool) -> Picture:
        """Frames seen by a camera that turns away from what the first of them shows, and zooms.

        A run that is ``near`` its reference starts there; another one has got some of the way already, its lead lying
        in between. A second reference is farther on.
        """
        recipe = self.recipe
        height, width = frames[0].shape[:2]
        count = len(frames) - guides - lead
        reach = float(rng.uniform(0.3, 1.0))
        if near:
            first, last = reach / count, reach
        else:
            first = float(rng.uniform(0.25, 0.9))
            last = float(np.clip(first + rng.uniform(-0.04, 0.06) * count, 0, 1))
        after = min(last + float(rng.uniform(0.05, 0.5)), 1.0)
        leading = np.linspace(0, first, lead + 2)[1:-1]
        way = np.concatenate([[0.0, after][:guides], leading, np.linspace(first, last, count)])
        ends = max((rng.random((2, 2)) for _ in range(4)), key=lambda pair: float(np.linalg.norm(pair[0] - pair[1])))
        shake = np.cumsum(rng.normal(0, 0.008, (len(frames), 2)), 0)
        zoom = float(np.exp(rng.normal(0, 0.12)))
        fit = float(rng.uniform(0.5, 0.8)) * min(height / recipe.height, width / recipe.width)
        pictures = []
        for frame, at, shift in zip(frames, way, shake, strict=True):
            scale = min(fit * zoom**at, height / recipe.height, width / recipe.width)
            room = np.array([width - recipe.width * scale, height - recipe.height * scale])
            corner = np.clip(ends[0] + (ends[1] - ends[0]) * at + shift, 0, 1) * room
            move = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]], np.float32)
            size, how = (recipe.width, recipe.height), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            pictures.append(cv2.warpAffine(frame, move, size, flags=how, borderMode=cv2.BORDER_REFLECT_101))
        return np.stack(pictures).astype(np.float32) / 255

    def _from_clip(self, rng: np.random.Generator, guides: int, count: int, near: bool) -> Scene:
        """A run at one to six times the speed; a reference right before it or at any distance, or one on either side.

        Clips with more motion are drawn more often: what does not move teaches nothing.
        """
        clip = self.footage.clips[rng.choice(len(self.footage.clips), p=self._shares)]
        recipe, farthest = self.recipe, self.recipe.farthest
        stride = int(rng.choice([1, 2, 2, 3, 4, 6]))
        end = len(clip) - 1
        first = int(rng.integers(0, max(1, end - (count - 1) * stride)))
        # Where a clip ends before the run does it goes back the way it came.
        run = [end - abs(end - at % (2 * end)) for at in range(first, first + count * stride, stride)]
        last = run[-1]
        before, after = (
            int(rng.integers(max(0, first - farthest), first + 1)),
            int(rng.integers(last, min(len(clip), last + farthest))),
        )
        if near:
            before, after = max(0, first - stride), min(end, last + stride)
        if rng.random() < 0.2:
            run.reverse()
        references = [before, after] if run[0] == first else [after, before]
        if guides == 1 and not near and rng.random() < 0.25:
            references.reverse()
        references = references[:guides]
        lead = [] if near else self._lead(rng, references[0], run)
        chosen = [*references, *lead, *run]
        way = 1 if run[0] == first else -1
        frames = [clip[i] for i in chosen]
        if rng.random() < recipe.pan:
            pictures = self._pan(frames, rng, guides, len(lead), near)
        else:
            pictures = self._crop(frames, rng)
        if rng.random() < 0.35:
            pictures = np.stack(self._occlude(list(pictures), rng))
        return Scene(pictures, [i * way for i in chosen], len(lead), bool(lead) or near)

    def _lead(self, rng: np.random.Generator, reference: int, run: list[int]) -> list[int]:
        """Frames between the reference and a run that goes away from it, evenly spread."""
        distance = run[0] - reference
        if rng.random() < 0.5 or abs(distance) < 2 or (distance > 0) != (run[-1] > run[0]):
            return []
        count = min(int(rng.integers(1, self.recipe.lead + 1)), abs(distance) - 1)
        return [reference + round(distance * (i + 1) / (count + 1)) for i in range(count)]

    def _from_still(self, rng: np.random.Generator, guides: int, count: int, near: bool) -> Scene:
        """A camera move over a still, non-rigid motion, and often something else that passes in front."""
        recipe = self.recipe
        still = self._any_picture(rng)
        lead = int(rng.integers(1, recipe.lead + 1)) if not near and rng.random() < 0.5 else 0
        if rng.random() < recipe.pan:
            frames = list(self._pan([still] * (guides + lead + count), rng, guides, lead, near))
        else:
            scene = self._crop([still], rng)[0]
            grids = self._motion(rng, guides, lead, count, near)
            frames = [cv2.remap(scene, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) for grid in grids]
        if rng.random() < 0.6:
            for _ in range(int(rng.integers(1, 3))):
                frames = self._occlude(frames, rng)
        gap = 1 if lead or near else int(rng.integers(1, recipe.farthest))
        start = gap + lead
        numbers = [0, *([start + count + 10] if guides == 2 else []), *range(gap, start + count)]
        return Scene(np.stack(frames), numbers, lead, bool(lead) or near)

    def _motion(
        self, rng: np.random.Generator, guides: int, lead: int, count: int, near: bool
    ) -> list[tuple[Picture, Picture]]:
        """Sampling grids of the references, the lead and the run: one large move, then small ones adding up."""
        recipe = self.recipe
        grid = np.stack(np.meshgrid(np.arange(recipe.width), np.arange(recipe.height))).astype(np.float32)
        pace = float(np.exp(rng.normal(-1.3, 0.8))) * min(1.0, 5 / count)
        velocity = self._displacement(rng, pace)
        large = velocity if near else self._displacement(rng, 1.5)
        moves = [large * (i + 1) / (lead + 1) for i in range(lead)]
        total = large
        for _ in range(count):
            moves.append(total)
            total = total + velocity + self._displacement(rng, 0.3 * pace)
        references = [np.zeros_like(grid), *([total + self._displacement(rng, 1.0)] if guides == 2 else [])]
        return [(moved[0], moved[1]) for moved in (grid + move for move in (*references, *moves))]

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
        """Paste a blob cut from another picture that swings and turns; often it is not there in the reference."""
        height, width = self.recipe.height, self.recipe.width
        source = self._crop([self._any_picture(rng)], rng)[0]
        noise = rng.standard_normal((6, 6)).astype(np.float32)
        y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
        blob = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 0.25
        radius = rng.uniform(0.15, 0.5)
        mask = np.clip((radius - np.hypot(x, y * rng.uniform(0.5, 2.0)) + blob * radius) * 30, 0, 1).astype(np.float32)
        around = rng.uniform(-0.35, 0.35, 2) * (width, height)
        reach = rng.normal(0, 0.25, 2) * (width, height)
        # Radians in a frame, of the swing and of the turn: up to fast figures, which flow loses.
        phase, pace, turn = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.6), rng.normal(0, 0.12)
        hidden_at_first = rng.random() < 0.4
        result = []
        for number, frame in enumerate(frames):
            if number == 0 and hidden_at_first:
                result.append(frame)
                continue
            move = cv2.getRotationMatrix2D((width / 2, height / 2), float(np.degrees(turn * number)), 1.0)
            move[:, 2] += around + reach * np.sin(phase + pace * number)
            alpha = cv2.warpAffine(mask, move, (width, height))[..., None]
            thing = cv2.warpAffine(source, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            result.append(frame * (1 - alpha) + thing * alpha)
        return result


def _moving(clip: Clip) -> float:
    """How much changes from the first frame of a clip to its middle one: mean difference of R'G'B', in [0.02, 0.2]."""
    first, middle = (clip[n][::8, ::8].astype(np.float32) / 255 for n in (0, len(clip) // 2))
    return float(np.clip(np.abs(first - middle).mean(), 0.02, 0.2))


def as_film_and_truth(rgb: Picture, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """(N, h, w, 3) R'G'B' in [0, 1] -> L* (N, h, w) as an old film shows it, true ab (N, h, w, 2)."""
    lab = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2Lab) for frame in rgb])
    return lightness_of_grey(age(to_luma(rgb, grey_weights(rng)), rng)), np.ascontiguousarray(lab[..., 1:])


def follow(lightness: Picture, ab: Picture, scene: Scene, guides: int) -> dict[str, Picture]:
    """What flow says of the run, as when the film is colored: what ``Sequences`` names, (T, ...) each."""
    opaque = torch.ones(lightness.shape[1:])
    references = [
        Entry(
            {
                "lightness": torch.from_numpy(lightness[n]),
                "ab": torch.from_numpy(ab[n]),
                "opaque": opaque,
                "identity": torch.tensor(n),
            },
            scene.numbers[n],
        )
        for n in range(guides)
    ]
    held: dict[str, torch.Tensor] | None = None
    height, width = lightness.shape[1:]
    still = Movers(
        np.zeros((height // 4, width // 4), np.float32), np.zeros((guides, 2, height // 8, width // 8), np.float32)
    )
    run: list[dict[str, Picture]] = []
    # A film that is colored from its first frame on has followed flow from that frame.
    path = [*([0] if scene.joined else []), *range(guides, len(lightness))]
    for n in path:
        here, number = lightness[n], scene.numbers[n]
        movers, way, between = still, None, None
        if held is not None:
            between = Between.of(here, held["lightness"].numpy(), fine=True)
            movers, way = Movers.of(between, held, range(guides)), Way.back(between, held)
        tracks = motion.follow(here, held, references, number, between)
        if n >= guides + scene.lead:
            tracked = Followed.of(tracks, here, references, number).candidate()
            # Nothing is carried into the first frame of a run: the frame before it was not colored.
            flow = way.reduced(here) if way is not None and run else np.zeros_like(tracked)
            run.append({"tracked": tracked, "flow": flow, "moving": movers.query(), "moved": movers.memories()})
        held = tracks.tensors(here) | ({} if movers is still else movers.tensors(tracks))
    return {name: np.stack([frame[name] for frame in run]) for name in run[0]}
