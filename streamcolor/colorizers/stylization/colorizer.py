"""``stylization`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from streamcolor.colorizers.cache import Entry
from streamcolor.colorizers.contract import Precision, Reference
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.rgb import color_picture
from streamcolor.colorizers.stabilization import GUESSED, GUIDED, FrameWise, evenly, frame_wise
from streamcolor.colorizers.stylization.matching import Statistics
from streamcolor.colorizers.stylization.network import StylizationNetwork, Switches
from streamcolor.colorizers.stylization.transfer import SITES, STRIDE, Style, Where, pooled_style
from streamcolor.frame import Chroma


class Stylization(FrameWise[StylizationNetwork]):
    """Colors by the statistics of the references, refined by what the network has learned.

    Several references count as one larger picture: their statistics are pooled. Without one, the network colors by
    what it has learned alone.
    """

    info = frame_wise("stylization", references=True)

    def __init__(
        self,
        weights: Path,
        device: str = "cpu",
        precision: Precision = "fp32",
        *,
        stabilize: bool = True,
        switches: Switches | None = None,
    ) -> None:
        """See ``FrameWise``; switches: how the sub-nets work together."""
        super().__init__(weights, device, precision, stabilize=stabilize)
        self.network.switches = switches or Switches()

    @classmethod
    def network_for(cls, tensors: Mapping[str, Tensor]) -> StylizationNetwork:
        """See ``FrameWise.network_for``."""
        first = tensors.get("transfer.encoder.conv1_1.weight")
        return StylizationNetwork(64 if first is None else first.shape[0])

    def encode(self, reference: Reference) -> Entry:
        """Its statistics at every site, without those of transparent places."""
        picture = color_picture(reference.lightness, reference.ab)
        with torch.inference_mode(), self.autocast():
            multiple = multiple_for(picture)
            seen = padded(reference.opaque, multiple)[0, 0] > 0.5
            where: Where | None = {0: seen} if 0 < seen.sum() < seen.numel() else None
            style = self.network.transfer.style(
                padded(picture, multiple).to(self.device), self.network.switches.variant, where
            )
        return Entry(tensors_of(style), reference.frame)

    def color(self, lightness: Tensor, references: Sequence[Entry]) -> Chroma:
        """See ``FrameWise.color``; the chroma has the working size."""
        styles = [style_from(entry.tensors, self.device) for entry in references]
        colored = partial(self.network.color, style=pooled_style(styles) if styles else None)
        ab = at_multiples(colored, lightness.to(self.device), multiple_for(lightness))[0]
        return evenly(ab, GUIDED if styles else GUESSED)


def multiple_for(picture: Tensor) -> int:
    """What the sides of a picture (B, C, H, W) are padded to: a multiple of 8, but 16 at least.

    At an eighth of the size a convolution must have two positions to mirror.
    """
    return STRIDE if min(picture.shape[-2:]) > STRIDE else 2 * STRIDE


def tensors_of(style: Style) -> dict[str, Tensor]:
    """A style of one region as a cache keeps it; nothing for a site where that has no position."""
    kept: dict[str, Tensor] = {}
    for site, regions in style.items():
        for statistics in regions.values():
            kept[f"{site}.mean"], kept[f"{site}.spread"] = statistics.mean, statistics.spread
            kept[f"{site}.count"] = torch.tensor(statistics.count)
    return kept


def style_from(tensors: Mapping[str, Tensor], device: torch.device) -> Style:
    """The style that ``tensors_of`` kept."""
    style: dict[str, dict[int, Statistics]] = {site: {} for site in SITES["both"]}
    for site, regions in style.items():
        if f"{site}.mean" in tensors:
            mean, spread = (tensors[f"{site}.{name}"].to(device) for name in ("mean", "spread"))
            regions[0] = Statistics(mean, spread, int(tensors[f"{site}.count"]))
    return style
