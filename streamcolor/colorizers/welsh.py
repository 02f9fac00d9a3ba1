"""Color transfer by luminance and texture, without any learning.

T. Welsh, M. Ashikhmin, K. Mueller, "Transferring Color to Greyscale Images", SIGGRAPH 2002, in CIELAB instead of
l-alpha-beta. For film the remapping and the samples are made once, for the first frame of a shot, and kept: a still
shot gives the same colors in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry, ReferenceCache
from streamcolor.colorizers.contract import ColorizerInfo, Reference
from streamcolor.frame import Chroma

Float32 = NDArray[np.float32]

GRID = 16
# The match is looked up in a table over lightness and its local deviation, 0.25 apart.
_TABLE = (401, 161)
_TABLE_STEP = 0.25
_LARGEST_DEVIATION = 40.0


def deviation(lightness: Float32) -> Float32:
    """Standard deviation of L* in a 5 x 5 window; (h, w) -> (h, w), borders reflected."""
    mean = cv2.blur(lightness, (5, 5), borderType=cv2.BORDER_REFLECT_101)
    square = cv2.blur(lightness * lightness, (5, 5), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), np.float32)


def jittered(height: int, width: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of one random pixel in each cell of a 16 x 16 grid (256 samples; the paper takes about 200)."""
    edges_y, edges_x = (np.linspace(0, side, GRID + 1) for side in (height, width))
    y = edges_y[:-1, None] + rng.random((GRID, GRID)) * np.diff(edges_y)[:, None]
    x = edges_x[None, :-1] + rng.random((GRID, GRID)) * np.diff(edges_x)[None]
    return y.astype(np.int64).ravel(), x.astype(np.int64).ravel()


def remapped(reference: Float32, mean: float, spread: float) -> Float32:
    """The reference's luminance with the mean and standard deviation of the target (section 2 of the paper)."""
    gain = spread / max(float(reference.std()), 1e-6)
    return np.asarray((reference - reference.mean()) * gain + mean, np.float32)


def nearest_samples(lightness: Float32, spread: Float32) -> NDArray[np.int64]:
    """Table of the best sample for every (L*, deviation), the weights of both differences being one half.

    lightness, spread: (n,) of the samples. Returns (401, 161): L* 0 to 100 and deviation 0 to 40 in steps of 0.25.
    """
    level = np.arange(_TABLE[0], dtype=np.float32) * _TABLE_STEP
    width = np.arange(_TABLE[1], dtype=np.float32) * _TABLE_STEP
    cost_l = 0.5 * (level[:, None] - lightness) ** 2
    cost_s = 0.5 * (width[:, None] - spread) ** 2
    return np.stack([(row + cost_s).argmin(1) for row in cost_l])


class Welsh:
    """Every pixel takes a* and b* of the reference sample nearest in luminance and texture."""

    info = ColorizerInfo(
        id="welsh",
        references=True,
        size=240,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(self, seed: int = 0) -> None:
        """seed: of the jitter of the samples; the same for every reference of a size."""
        self.seed = seed

    def encode(self, reference: Reference) -> Entry:
        """Samples of a reference: lightness, and a*, b* where it is opaque."""
        lightness = reference.lightness[0, 0].numpy()
        rows, columns = jittered(lightness.shape[0], lightness.shape[1], np.random.default_rng(self.seed))
        seen = reference.opaque[0, 0].numpy()[rows, columns] > 0.5
        if not seen.any():
            seen[:] = True
        rows, columns = rows[seen], columns[seen]
        tensors = {
            "lightness": reference.lightness[0, 0].contiguous(),
            "rows": torch.from_numpy(rows),
            "columns": torch.from_numpy(columns),
            "ab": reference.ab[0][:, rows, columns].contiguous(),
            "identity": torch.tensor(reference.identity),
        }
        return Entry(tensors, reference.frame)

    def step(
        self, lightness: Tensor, cache: ReferenceCache, frame: int, following: Sequence[Tensor] = ()
    ) -> tuple[Chroma, Entry | None]:
        """See ``Colorizer.step``; the chroma has the working size. Several references lend their samples together."""
        target = np.ascontiguousarray(lightness[0, 0].numpy())
        if not cache.permanent:
            empty = torch.zeros(2, *target.shape)
            return Chroma(empty, empty[:1].clone()), None
        held = cache.rolling[-1].tensors if cache.rolling else {}
        references = torch.stack([entry.tensors["identity"] for entry in cache.permanent])
        if "references" in held and torch.equal(held["references"], references):
            table, ab, mean, spread = held["table"], held["ab"], held["mean"], held["spread"]
        else:
            mean = held.get("mean", torch.tensor(float(target.mean())))
            spread = held.get("spread", torch.tensor(float(target.std())))
            table, ab = self._matched(cache, float(mean), float(spread))
        level = np.rint(target / _TABLE_STEP).astype(np.int64)
        texture = np.rint(np.minimum(deviation(target), _LARGEST_DEVIATION) / _TABLE_STEP).astype(np.int64)
        chosen = table.numpy()[level, texture]
        colors = torch.from_numpy(ab.numpy()[:, chosen])
        tensors = {"table": table, "ab": ab, "mean": mean, "spread": spread, "references": references}
        return Chroma(colors, torch.full((1, *target.shape), 0.3)), Entry(tensors, frame)

    def _matched(self, cache: ReferenceCache, mean: float, spread: float) -> tuple[Tensor, Tensor]:
        """Table of the nearest sample and the colors (2, n) of all samples, for a shot of this luminance."""
        lights, textures, colors = [], [], []
        for entry in cache.permanent:
            picture = remapped(entry.tensors["lightness"].numpy(), mean, spread)
            at = entry.tensors["rows"].numpy(), entry.tensors["columns"].numpy()
            lights.append(picture[at])
            textures.append(deviation(picture)[at])
            colors.append(entry.tensors["ab"])
        table = nearest_samples(np.concatenate(lights), np.concatenate(textures))
        return torch.from_numpy(table), torch.cat(colors, 1)
