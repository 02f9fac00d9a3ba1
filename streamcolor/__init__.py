"""Colors black-and-white film from a few painted or found color frames.

    from streamcolor import RunOptions, run

    report = run(RunOptions(film="film.mp4", references=["keyframe.png"]))

Names are imported when they are first used, so that ``import streamcolor`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamcolor.colorizers.cache import ReferenceCache as ReferenceCache
    from streamcolor.colorizers.contract import Colorizer as Colorizer
    from streamcolor.errors import StreamcolorError as StreamcolorError
    from streamcolor.frame import Chroma as Chroma
    from streamcolor.frame import Frame as Frame
    from streamcolor.pipeline.run import RunOptions as RunOptions
    from streamcolor.pipeline.run import RunReport as RunReport
    from streamcolor.pipeline.run import run as run

__version__ = "0.1.0"

_HOMES = {
    "Chroma": "streamcolor.frame",
    "Colorizer": "streamcolor.colorizers.contract",
    "Frame": "streamcolor.frame",
    "ReferenceCache": "streamcolor.colorizers.cache",
    "RunOptions": "streamcolor.pipeline.run",
    "RunReport": "streamcolor.pipeline.run",
    "StreamcolorError": "streamcolor.errors",
    "run": "streamcolor.pipeline.run",
}
__all__ = ["Chroma", "Colorizer", "Frame", "ReferenceCache", "RunOptions", "RunReport", "StreamcolorError", "run"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'streamcolor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
