"""Small films with known luma, time stamps and sound, for the promises of the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8] | NDArray[np.uint16]

LAYOUT = {"400": "gray", "420": "yuv420p", "422": "yuv422p", "444": "yuv444p"}
BITS = {8: "", 10: "10le", 12: "12le", 16: "16le"}


def scene(height: int, width: int, number: int, depth: int, seed: int = 0) -> Luma:
    """A textured picture that pans one pixel a frame; another seed is another scene."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((6, 12)).astype(np.float32)
    field = cv2.resize(coarse, (width + 64, height), interpolation=cv2.INTER_CUBIC)
    field += 0.1 * rng.random((height, width + 64)).astype(np.float32)
    part = np.clip(field[:, number % 64 : number % 64 + width], 0, 1)
    low, high = 16 << (depth - 8), 235 << (depth - 8)
    kind = np.uint8 if depth == 8 else np.uint16
    return np.round(low + part * (high - low)).astype(kind)


def write_film(
    path: Path,
    luma: Sequence[Luma],
    *,
    depth: int = 8,
    subsampling: str = "420",
    codec: str = "ffv1",
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    sound: bool = False,
) -> Path:
    """Write luma planes with neutral chroma at exact time stamps, and a tone beside them when asked."""
    height, width = luma[0].shape
    name = LAYOUT[subsampling] + BITS[depth]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=round(1 / time_base) if time_base.numerator == 1 else 25)
        stream.width, stream.height, stream.pix_fmt = width, height, name
        stream.time_base = stream.codec_context.time_base = time_base
        if codec == "libx264":
            stream.options = {"qp": "0", "preset": "ultrafast"}
        voice = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for number, plane in enumerate(luma):
            frame = av.VideoFrame(width, height, name)
            for index, target in enumerate(frame.planes):
                shape = (target.height, target.line_size // (1 if depth == 8 else 2))
                view = np.frombuffer(target, np.uint8 if depth == 8 else np.uint16).reshape(shape)
                if index == 0:
                    view[:, :width] = plane
                else:
                    view[:] = 1 << (depth - 1)
            frame.pts, frame.time_base = (pts[number] if pts is not None else number), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            last = (pts[-1] if pts is not None else len(luma)) * time_base
            _write_tone(container, voice, float(last))
    return path


def _write_tone(container: av.container.OutputContainer, voice: av.AudioStream, seconds: float) -> None:
    wave = np.sin(np.arange(int(48000 * seconds)) * 2 * np.pi * 440 / 48000).astype(np.float32) * 0.2
    for start in range(0, len(wave) - 1024, 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        container.mux(voice.encode(frame))
    container.mux(voice.encode(None))


def read_luma(path: Path) -> tuple[list[Luma], list[Fraction]]:
    """Y planes as decoded and presentation times in seconds, exact."""
    planes: list[Luma] = []
    times: list[Fraction] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            deep = frame.format.components[0].bits > 8
            plane = frame.planes[0]
            kind = np.uint16 if deep else np.uint8
            rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // (2 if deep else 1))
            planes.append(rows[: frame.height, : frame.width].copy())
            times.append(frame.pts * frame.time_base)
    return planes, times


def audio_packets(path: Path) -> list[tuple[bytes, Fraction]]:
    """Bytes and time of every audio packet."""
    with av.open(str(path)) as container:
        return [(bytes(p), p.pts * p.time_base) for p in container.demux(audio=0) if p.size]


def write_keyframe(path: Path, luma: Luma, depth: int = 8) -> Path:
    """A picture with the luma of a frame and some color: warm above, cold below."""
    y = (luma.astype(np.float32) / (1 << (depth - 8)) - 16) / 219
    height = y.shape[0]
    cb = np.where(np.arange(height)[:, None] < height // 2, -0.08, 0.10) * np.ones_like(y)
    cr = np.where(np.arange(height)[:, None] < height // 2, 0.10, -0.06) * np.ones_like(y)
    rgb = np.stack([y + 1.5748 * cr, y - 0.1873 * cb - 0.4681 * cr, y + 1.8556 * cb], -1)
    cv2.imwrite(str(path), np.round(np.clip(rgb, 0, 1) * 255)[..., ::-1].astype(np.uint8))
    return path
