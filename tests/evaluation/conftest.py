"""Two short color clips for all tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 128 x 96 each, H.264, BT.709 limited: a scene of colored blobs that moves to the left."""
    folder = tmp_path_factory.mktemp("clips")
    for name, seed in (("one", 0), ("two", 7)):
        rng = np.random.default_rng(seed)
        scene = cv2.resize(rng.integers(0, 256, (7, 12, 3), np.uint8), (180, 96), interpolation=cv2.INTER_CUBIC)
        with av.open(str(folder / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=24, options={"crf": "12"})
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            context = stream.codec_context
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
            for shift in range(10):
                part = np.ascontiguousarray(scene[:, 4 * shift : 4 * shift + 128])
                frame = av.VideoFrame.from_ndarray(part, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace="ITU709", threads=1
                )
                frame.color_range, frame.colorspace = 1, 1
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder
