"""Both sub-nets together: Xu et al. 2020, section 3 and figure 1.

1. The colorization sub-net colors the film without hints, so that VGG19 sees a color picture.
2. The transfer sub-net gives that picture the statistics of the reference: coarse colors.
3. Some places of these are hints, from which the colorization sub-net colors the film again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from streamcolor.colorizers.lab import AB_SCALE, lab_to_rgb, rgb_to_lab
from streamcolor.colorizers.stylization.colorization import ColorizationNetwork, hint_mask
from streamcolor.colorizers.stylization.matching import Variant
from streamcolor.colorizers.stylization.transfer import Sites, Style, TransferNetwork

Stages = Literal["color", "transfer", "both"]
Extractor = Literal["precolor", "grey"]


@dataclass(frozen=True)
class Switches:
    """How the sub-nets work together; no weight depends on it.

    stages: the colorization sub-net alone (without the reference), the coarse colors alone, or both (figure 4).
    sites: where statistics are matched, in the encoder, the decoder or both (figure 5). variant: how. extractor: what
    VGG19 sees of the film, the colors of step 1 or a grey picture (figure 3). density: of the hints, seed: of their
    places.
    """

    stages: Stages = "both"
    sites: Sites = "both"
    variant: Variant = "adain"
    extractor: Extractor = "precolor"
    density: float = 0.1
    seed: int = 0


class StylizationNetwork(nn.Module):
    """width: channels of the first layer of each sub-net, 64 in the paper."""

    def __init__(self, width: int = 64, switches: Switches | None = None) -> None:
        super().__init__()
        self.switches = switches or Switches()
        self.transfer = TransferNetwork(width)
        self.colorization = ColorizationNetwork(width)

    def forward(self, lightness: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
        """a* and b* (B, 2, H, W) in [-110, 110] of film with one reference for each picture.

        lightness: (B, 1, H, W), L* in [0, 100]. reference: (B, 3, Hr, Wr) R'G'B' in [0, 1]. mask: (B, 1, H, W), see
        ``hint_mask``. Sides are multiples of 8 and at least 16.
        """
        return self.color(lightness, self.transfer.style(reference, self.switches.variant), mask)

    def color(self, lightness: Tensor, style: Style | None, mask: Tensor | None = None) -> Tensor:
        """``forward`` with the style of references; without one, the colors of step 1."""
        switches = self.switches
        if style is None or switches.stages == "color":
            return self.guess(lightness)
        coarse = self.coarse(lightness, style)
        if switches.stages == "transfer":
            return coarse
        if mask is None:
            height, width = lightness.shape[-2:]
            mask = hint_mask(height, width, switches.density, switches.seed).to(lightness.device)
        return self.refined(lightness, coarse, mask)

    def guess(self, lightness: Tensor) -> Tensor:
        """Step 1: a* and b* by nothing but the lightness."""
        return self.refined(lightness, lightness.new_zeros(1, 2, 1, 1), torch.zeros_like(lightness))

    def precolored(self, lightness: Tensor) -> Tensor:
        """What VGG19 sees of the film, (B, 3, H, W) R'G'B'."""
        grey = self.switches.extractor == "grey"
        ab = torch.zeros_like(lightness).expand(-1, 2, -1, -1) if grey else self.guess(lightness)
        return lab_to_rgb(torch.cat([lightness, ab], 1))

    def coarse(self, lightness: Tensor, style: Style) -> Tensor:
        """Step 2: a* and b* by the statistics of the reference."""
        return rgb_to_lab(self.transfer.transfer(self.precolored(lightness), style, self.switches.sites))[:, 1:]

    def refined(self, lightness: Tensor, coarse: Tensor, mask: Tensor) -> Tensor:
        """Step 3: a* and b* by the lightness and those of ``coarse`` where the mask is 1."""
        colors: Tensor = self.colorization((lightness - 50) / 100, coarse / AB_SCALE, mask)
        return colors.float() * AB_SCALE
