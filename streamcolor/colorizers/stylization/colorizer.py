"""``stylization`` behind the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from streamcolor.colorizers.cache import CachePolicy, Entry
from streamcolor.colorizers.contract import ColorizerInfo, Precision, Reference
from streamcolor.colorizers.loading import loaded, read_weights
from streamcolor.colorizers.padding import at_multiples, padded
from streamcolor.colorizers.rgb import color_picture
from streamcolor.colorizers.stabilization import FrameWise
from streamcolor.colorizers.stylization.matching import Statistics
from streamcolor.colorizers.stylization.network import StylizationNetwork, Switches
from streamcolor.colorizers.stylization.transfer import SITES, STRIDE, Style, Where, pooled_style
from streamcolor.frame import Chroma

# The networks say nothing of how sure they are: a reference makes a color likelier than none.
GUIDED, GUESSED = 0.3, 0.1


class Stylization(FrameWise[StylizationNetwork]):
    """Colors by the statistics of the references, refined by what the network has learned.

    Several references count as one larger picture: their statistics are pooled. Without one, the network colors by
    what it has learned alone.
    """

    info = ColorizerInfo(
        id="stylization",
        references=True,
        size=256,
        size_multiple=1,
        license="Apache-2.0",
        policy=CachePolicy(recent=1),
    )

    def __init__(
        self,
        weights: Path,
        device: str = "cpu",
        precision: Precision = "fp32",
        *,
        stabilize: bool = True,
        switches: Switches | None = None,
    ) -> None:
        """weights: a safetensors file of ``StylizationNetwork``. Raises InputError when it is not one."""
        tensors = read_weights(weights, self.info.id)
        network = loaded(StylizationNetwork(width_of(tensors), switches), tensors, weights, self.info.id)
        super().__init__(network, device, precision, stabilize=stabilize)

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
        ab = at_multiples(colored, lightness.to(self.device), multiple_for(lightness))[0].float().clamp(-110, 110)
        return Chroma(ab.cpu(), torch.full((1, *ab.shape[1:]), GUIDED if styles else GUESSED))


def width_of(tensors: Mapping[str, Tensor]) -> int:
    """Channels of the first layer of the network that these weights are of; 64 when they are of another."""
    first = tensors.get("transfer.encoder.conv1_1.weight")
    return 64 if first is None else first.shape[0]


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
