"""``streamcolor stylize``: stills that take on the colors of others, by the transfer sub-net of ``stylization``.

Xu et al. 2020, "Stylization-Based Architecture for Fast Deep Exemplar Colorization", section 4.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcolor.color.convert import grey_lightness
from streamcolor.color.standards import Matrix
from streamcolor.colorizers.lab import lab_to_rgb, rgb_to_lab
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.registry import choose_device
from streamcolor.colorizers.rgb import color_picture
from streamcolor.colorizers.stylization import Stylization
from streamcolor.colorizers.stylization.colorizer import multiple_for
from streamcolor.colorizers.stylization.labels import padded_mask, regions
from streamcolor.colorizers.stylization.matching import Variant
from streamcolor.colorizers.stylization.network import StylizationNetwork
from streamcolor.colorizers.stylization.transfer import Sites, Where
from streamcolor.errors import CallError, DeviceError, InputError, OutputError
from streamcolor.media.atomic import check_target
from streamcolor.media.stills import SUFFIXES, Still, read_labels, read_still, write_still

Mode = Literal["photo", "grey"]


@dataclass(frozen=True)
class StylizeOptions:
    """content, style: pictures or folders of them. output: a picture, or a folder where either of them is one.

    In two folders, pictures with the same name (without the suffix) belong together. variant: how statistics are
    matched, and sites: where. mode: a photo keeps its own colors before the transfer; of a grey picture (or a photo
    that is to be treated as one) the network guesses them. keep_luma: of the result only a* and b* are taken.
    content_labels, style_labels: index pictures (or folders of them, named as the pictures) whose equal numbers mark
    regions that belong together.
    """

    content: Path
    style: Path
    output: Path
    weights: Path
    variant: Variant = "adain"
    sites: Sites = "both"
    mode: Mode = "photo"
    keep_luma: bool = False
    content_labels: Path | None = None
    style_labels: Path | None = None
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class _Job:
    content: Path
    style: Path
    output: Path
    content_labels: Path | None
    style_labels: Path | None


def stylize(options: StylizeOptions, on_picture: Callable[[Path], None] | None = None) -> list[Path]:
    """Write every picture that the options name; the files.

    on_picture: told each file when it is whole. Raises CallError for options that do not fit each other, InputError
    for what is no picture, label map or file of weights, OutputError for what cannot be written, DeviceError for a
    device that is not there or has too little memory.
    """
    if (options.content_labels is None) != (options.style_labels is None):
        raise CallError("label maps come in twos: give --content-labels and --style-labels")
    for name, word, words in (
        ("variant", options.variant, get_args(Variant)),
        ("sites", options.sites, get_args(Sites)),
        ("mode", options.mode, get_args(Mode)),
    ):
        if word not in words:
            raise CallError(f"no --{name} {word!r}: choose {', '.join(words)}")
    jobs = _jobs(options)
    for job in jobs:
        _check(job, overwrite=options.overwrite)
    network = Stylization(options.weights, choose_device(options.device)).network
    for job in jobs:
        content, style = read_still(job.content), read_still(job.style)
        maps = None
        if job.content_labels is not None and job.style_labels is not None:
            maps = _map(job.content_labels, content, job.content), _map(job.style_labels, style, job.style)
        rgb = stylized(
            network, content, style, maps, options.variant, options.sites, options.mode, keep_luma=options.keep_luma
        )
        write_still(job.output, Still(rgb, content.alpha, content.depth))
        if on_picture is not None:
            on_picture(job.output)
    return [job.output for job in jobs]


def stylized(
    network: StylizationNetwork,
    content: Still,
    style: Still,
    labels: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    variant: Variant = "adain",
    sites: Sites = "both",
    mode: Mode = "photo",
    *,
    keep_luma: bool = False,
) -> NDArray[np.float32]:
    """The content with the colors of the style: (H, W, 3) R'G'B' in [0, 1], at the content's size.

    labels: of the content (H, W) and the style (H', W'). Transparent places of the style say nothing. Raises
    DeviceError when there is too little memory.
    """
    device = network.transfer.mean.device
    where, where_style = (None, None) if labels is None else regions(*(torch.from_numpy(one) for one in labels))
    if style.alpha is not None and 0 < (opaque := torch.from_numpy(style.alpha > 0.5)).sum() < opaque.numel():
        where_style = {0: opaque} if where_style is None else {n: mask & opaque for n, mask in where_style.items()}
    picture, guide = (_tensor(still.rgb) for still in (content, style))
    try:
        with torch.inference_mode():
            if mode == "grey":
                picture = at_multiples(partial(_precolored, network), picture.to(device), multiple_for(picture))
            multiple = multiple_for(guide)
            found = network.transfer.style(
                padded(guide, multiple).to(device), variant, _padded_regions(where_style, multiple)
            )
            multiple = multiple_for(picture)
            run = partial(network.transfer.transfer, style=found, sites=sites, where=_padded_regions(where, multiple))
            result = at_multiples(run, picture.to(device), multiple).clamp(0, 1)
            if keep_luma:
                lightness = torch.from_numpy(grey_lightness(content.rgb, Matrix.BT709))[None, None]
                result = color_picture(lightness, rgb_to_lab(result)[:, 1:].cpu())
    except RuntimeError as error:
        if "memory" not in str(error):
            raise
        height, width = content.rgb.shape[:2]
        raise DeviceError(f"{device} has too little memory for a picture of {width}x{height}; scale it down") from error
    return np.ascontiguousarray(result[0].permute(1, 2, 0).cpu().numpy())


def _precolored(network: StylizationNetwork, picture: Tensor) -> Tensor:
    """A color picture as a grey one that the colorization sub-net has colored, (1, 3, H, W) R'G'B'."""
    rgb = np.ascontiguousarray(picture[0].permute(1, 2, 0).cpu().numpy())
    lightness = torch.from_numpy(grey_lightness(rgb, Matrix.BT709))[None, None].to(picture.device)
    return lab_to_rgb(torch.cat([lightness, network.guess(lightness)], 1))


def _padded_regions(where: Where | None, multiple: int) -> Where | None:
    return None if where is None else {label: padded_mask(mask, multiple) for label, mask in where.items()}


def _tensor(rgb: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))[None]


def _map(path: Path, still: Still, of: Path) -> NDArray[np.uint8]:
    """A label map at the size of its picture. Raises InputError for one of another aspect ratio."""
    labels = read_labels(path)
    height, width = still.rgb.shape[:2]
    if abs(labels.shape[1] * height / (labels.shape[0] * width) - 1) > 0.02:
        raise InputError(
            f"the label map {path} is {labels.shape[1]}x{labels.shape[0]} and {of} {width}x{height}; "
            "give one of the same shape"
        )
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _jobs(options: StylizeOptions) -> list[_Job]:
    """What is to be made of what; a job for every content, or for every style of a single content."""
    contents, styles = _pictures(options.content), _pictures(options.style)
    if not (options.content.is_dir() or options.style.is_dir()):
        labels = options.content_labels, options.style_labels
        return [_Job(options.content, options.style, options.output, *labels)]
    if not options.content.is_dir():
        pairs = [(options.content, style, style) for style in styles.values()]
    elif not options.style.is_dir():
        pairs = [(content, options.style, content) for content in contents.values()]
    else:
        missing = [path for name, path in contents.items() if name not in styles]
        if missing:
            raise InputError(f"{options.style} holds no picture named as {missing[0].name}; add one, or give one FILE")
        pairs = [(path, styles[name], path) for name, path in contents.items()]
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {options.output} cannot be made: {error.strerror}") from error
    return [
        _Job(
            content,
            style,
            options.output / f"{named.stem}{named.suffix if named.suffix.lower() in SUFFIXES else '.png'}",
            _labels_of(content, options.content_labels),
            _labels_of(style, options.style_labels),
        )
        for content, style, named in pairs
    ]


def _pictures(path: Path) -> dict[str, Path]:
    """Pictures of a folder by their names without suffix. Raises InputError when there are none."""
    if not path.is_dir():
        return {path.stem: path}
    found = {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES}
    if not found:
        raise InputError(f"the folder {path} holds no pictures ({', '.join(SUFFIXES)})")
    return found


def _labels_of(picture: Path, labels: Path | None) -> Path | None:
    return labels / f"{picture.stem}.png" if labels is not None and labels.is_dir() else labels


def _check(job: _Job, *, overwrite: bool) -> None:
    for source in (job.content, job.style):
        if job.output.exists() and source.exists() and job.output.samefile(source):
            raise CallError(f"{job.output} is what is to be read; name another --output")
    if job.output.suffix.lower() not in SUFFIXES:
        raise CallError(f"{job.output} is not the name of a picture; end it in {', '.join(SUFFIXES)}")
    check_target(job.output, source=None, overwrite=overwrite)
