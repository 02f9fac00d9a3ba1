"""What networks emit before the film's own luma takes the place of theirs: for evaluation alone.

Shots, references and working size are those of a run; nothing is steadied, and no film is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamcolor.errors import CallError
from streamcolor.media.reader import open_film
from streamcolor.media.streams import Packet
from streamcolor.pipeline.chain import paint_through
from streamcolor.pipeline.layout import Layout, colorizers_of
from streamcolor.pipeline.painter import Planes
from streamcolor.pipeline.run import RunOptions, prepare_torch


def emitted_pictures(options: RunOptions) -> Iterator[NDArray[np.uint8]]:
    """The pictures (H, W, 3) R'G'B' that the model emits, frame by frame, at the size of the film.

    options: only what says how to color one film, not what is to become of it. Raises as ``run``, and CallError for a
    model that emits color alone.
    """
    node = replace(options.node(), stabilize=False)
    prepare_torch(options.threads)
    colorizers = colorizers_of([node])
    with open_film(options.film, threads=options.threads) as reader:
        layout = Layout([node], reader)
        shape = (reader.info.height, reader.info.width)
        # Nobody asks for the planes of the chroma, and so they are not made.
        planes = Planes(shape, reader.info.depth)
        for item in paint_through(layout.stages(colorizers, planes), iter(layout.items), planes):
            if isinstance(item, Packet):
                continue
            if item.rgb is None:
                raise CallError(f"{options.model} emits color for the film's luma and no R'G'B'; leave --raw-rgb out")
            yield at_size(item.rgb, shape)


def at_size(picture: torch.Tensor, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (3, h, w) in [0, 1] with 8 bits at ``shape`` (H, W), enlarged by cubic convolution."""
    rgb = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    if rgb.shape[:2] != shape:
        rgb = np.asarray(cv2.resize(rgb, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * 255), np.uint8)
