"""Scores on clips that are never trained on: colored by the colorizer itself, as a film would be."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamcolor.colorizers.cache import ReferenceCache
from streamcolor.colorizers.contract import Colorizer, Reference
from streamcolor.train.footage import Clip
from streamcolor.train.loop import Validation
from streamcolor.train.old_film import LUMA_709, Picture, lightness_of_grey, to_luma

FRAMES = 24
SIZE = (192, 256)
SHOWN = 6


def validate(colorizer: Colorizer, clips: Sequence[Clip]) -> Validation:
    """Color the first 24 frames of each clip from the first one, at 192 x 256.

    psnr: mean over clips and frames in dB, R'G'B'; grey: that of the uncolored film; end: of the last frame.
    """
    scores, greys, ends, rows = list[float](), list[float](), list[float](), list[Picture]()
    for clip in clips:
        truth = np.stack([cv2.resize(f, SIZE[::-1], interpolation=cv2.INTER_AREA) for f in clip[:FRAMES]]) / 255
        pictures = [np.asarray(frame, np.float32) for frame in truth]
        colored = _color(colorizer, pictures)
        psnr = [_psnr(a, b) for a, b in zip(pictures[1:], colored[1:], strict=True)]
        greys += [_psnr(p, np.repeat(to_luma(p, np.array(LUMA_709, np.float32))[..., None], 3, -1)) for p in pictures]
        scores.append(float(np.mean(psnr)))
        ends.append(psnr[-1])
        if len(rows) < SHOWN:
            picks = (len(pictures) // 2, -1)
            rows.append(np.concatenate([p for n in picks for p in (pictures[n], colored[n])], 1))
    figures = {"psnr": float(np.mean(scores)), "grey": float(np.mean(greys)), "end": float(np.mean(ends))}
    sheet = np.asarray(np.clip(np.concatenate(rows, 0), 0, 1) * 255, np.uint8)
    return Validation(figures, {"truth and output, middle and end": sheet})


def _color(colorizer: Colorizer, pictures: Sequence[Picture]) -> list[Picture]:
    cache = ReferenceCache(colorizer.info.policy)
    weights = np.array(LUMA_709, np.float32)
    result = []
    for number, picture in enumerate(pictures):
        lightness = lightness_of_grey(to_luma(picture, weights))
        here = torch.from_numpy(lightness)[None, None]
        lab = cv2.cvtColor(picture, cv2.COLOR_RGB2Lab)
        if number == 0:
            colors = torch.from_numpy(np.ascontiguousarray(lab[..., 1:].transpose(2, 0, 1)))[None]
            cache.start_shot([colorizer.encode(Reference(here, colors, torch.ones_like(here), 0))])
        chroma, entry = colorizer.step(here, cache, number)
        if entry is not None:
            cache.remember(entry)
        ab = np.ascontiguousarray(chroma.ab.numpy().transpose(1, 2, 0))
        # Luma is the film's in a run; here the true L* stands for it.
        lab[..., 1:] = cv2.resize(ab, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        result.append(np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1))
    return result


def _psnr(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(-10 * np.log10(max(float(np.mean((a - b) ** 2)), 1e-10)))
