"""Which figures are counted beyond the default ones, and what is missing for those that cannot be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamcolor.errors import CallError
from streamcolor.evaluation.comparison import Figures, Measure

NAMES = ("warp", "flicker", "his", "ab", "lpips", "fid", "aesthetics")
# Folder with backbone files under the names they are published by.
FOLDER = "STREAMCOLOR_BACKBONES"


@dataclass(frozen=True)
class Chosen:
    """What is measured, in columns; ``missing`` says of a column without figures how to get them, in one sentence."""

    measures: list[Measure]
    columns: tuple[str, ...]
    missing: dict[str, str]

    def pooled(self) -> Figures:
        """Figures over the frames of all clips together, when the last one is scored."""
        figures: Figures = {}
        for measure in self.measures:
            figures |= measure.pooled()
        return figures


def choose_measures(
    words: str,
    *,
    lpips_backbones: Sequence[Path] = (),
    fid_backbone: Path | None = None,
    aesthetics_backbone: Path | None = None,
    device: str = "auto",
) -> Chosen:
    """Measures of ``NAMES``, separated by commas, or ``none``.

    lpips_backbones: torchvision's files of AlexNet, VGG-16 or SqueezeNet 1.1, a column each. fid_backbone: the file of
    pytorch-fid. aesthetics_backbone: the file of NIMA; naming it asks for ``aesthetics``. Default is what lies in the
    folder STREAMCOLOR_BACKBONES; for LPIPS that is AlexNet.

    Raises CallError for an unknown name, InputError for a file that is not one of these.
    """
    names = [] if words.strip() == "none" else [word.strip() for word in words.split(",")]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise CallError(f"no measure {unknown[0]!r}: choose from {', '.join(NAMES)}, or none")
    measures: list[Measure] = []
    missing: dict[str, str] = {}
    if "warp" in names or "flicker" in names:
        from streamcolor.evaluation.warping import Flicker, WarpError

        measures += [WarpError()] if "warp" in names else []
        measures += [Flicker()] if "flicker" in names else []
    if "his" in names or "ab" in names:
        from streamcolor.evaluation.chroma import ChromaMeasure, ReferenceHis

        measures += [ReferenceHis()] if "his" in names else []
        measures += [ChromaMeasure()] if "ab" in names else []
    if "lpips" in names:
        _add_lpips(measures, missing, list(lpips_backbones), device)
    if "fid" in names:
        _add_fid(measures, missing, fid_backbone, device)
    if "aesthetics" in names or aesthetics_backbone is not None:
        _add_aesthetics(measures, missing, aesthetics_backbone, device)
    columns = [column for measure in measures for column in measure.columns]
    return Chosen(measures, (*columns, *missing), missing)


def _add_lpips(measures: list[Measure], missing: dict[str, str], files: list[Path], device: str) -> None:
    from streamcolor.colorizers.registry import choose_device
    from streamcolor.evaluation.backbones import FILES, load_stack
    from streamcolor.evaluation.perceptual import LpipsMeasure, build_lpips, find_heads

    files = files or [path for path in [_in_folder(FILES["alex"])] if path is not None]
    if not files:
        missing["lpips_alex"] = (
            f"lpips is n/a without a backbone: give --lpips-backbone FILE (torchvision's {FILES['alex']}), "
            f"or name its folder in {FOLDER}"
        )
    for path in files:
        net, stack = load_stack(path)
        heads = find_heads(net)
        if heads is None:
            missing[f"lpips_{net}"] = "lpips is n/a without its learned layers: pip install --no-deps lpips"
        else:
            measures.append(LpipsMeasure(net, build_lpips(stack, heads), choose_device(device)))


def _add_fid(measures: list[Measure], missing: dict[str, str], path: Path | None, device: str) -> None:
    from streamcolor.colorizers.registry import choose_device
    from streamcolor.evaluation.inception import FILE, load_inception
    from streamcolor.evaluation.perceptual import FidMeasure

    path = path or _in_folder(FILE)
    if path is None:
        missing["fid"] = (
            f"fid is n/a without a backbone: give --fid-backbone FILE (pytorch-fid's {FILE}), "
            f"or name its folder in {FOLDER}"
        )
    else:
        measures.append(FidMeasure(load_inception(path), choose_device(device)))


def _add_aesthetics(measures: list[Measure], missing: dict[str, str], path: Path | None, device: str) -> None:
    from streamcolor.colorizers.registry import choose_device
    from streamcolor.evaluation.aesthetics import FILE, SOURCE, AestheticsMeasure, load_nima

    path = path or _in_folder(FILE)
    if path is None:
        missing["aesthetics"] = (
            f"aesthetics is n/a without a backbone: give --aesthetics-backbone FILE ({FILE} of {SOURCE}), "
            f"or name its folder in {FOLDER}"
        )
    else:
        measures.append(AestheticsMeasure(load_nima(path), choose_device(device)))


def _in_folder(name: str) -> Path | None:
    folder = os.environ.get(FOLDER)
    path = Path(folder, name) if folder else None
    return path if path is not None and path.is_file() else None
