"""The transfer sub-net: VGG19 up to conv4_1 and a symmetrical decoder, between which statistics are matched.

Xu et al. 2020, section 3.1 and figure 2. Pictures are (B, 3, H, W), sides multiples of 8 and at least 16, R'G'B' in
[0, 1]. Our choices, where the paper is silent: convolutions mirror the picture at its border, as in the code of Huang
& Belongie 2017, and the last layer, where matching would be a plain transfer of R'G'B' statistics, is no site.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.stylization.matching import MATCH, MEASURE, Statistics, Variant, pooled

STRIDE = 8
"""Sides of a picture are multiples of this."""

ENCODER_SITES = ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
DECODER_SITES = ("d4_1", "d3_1", "d2_1")

Sites = Literal["enc", "dec", "both"]
SITES: dict[Sites, tuple[str, ...]] = {
    "enc": ENCODER_SITES,
    "dec": DECODER_SITES,
    "both": ENCODER_SITES + DECODER_SITES,
}

# Convolutions of each level of VGG19, up to conv4_1.
_CONVOLUTIONS = (2, 2, 4, 1)

Style = Mapping[str, Mapping[int, Statistics]]
"""Statistics at every site (by name) of every region (by number) that has positions there; without regions of 0."""

Where = Mapping[int, Tensor]
"""Regions of a picture by number: masks (H, W) of its size."""


class TransferNetwork(nn.Module):
    """width: channels of conv1_1, 64 in VGG19; the levels below have 2, 4 and 8 times as many."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width
        widths = {"conv1_1": (3, w), "conv1_2": (w, w), "conv2_1": (w, 2 * w), "conv2_2": (2 * w, 2 * w)}
        widths |= {"conv3_1": (2 * w, 4 * w)} | {f"conv3_{n}": (4 * w, 4 * w) for n in (2, 3, 4)}
        self.encoder = _convolutions(widths | {"conv4_1": (4 * w, 8 * w)})
        # Beside what comes up, a level sees its skip: pooled features enlarged again, and those before the pooling.
        widths = {"d4_1": (8 * w, 4 * w), "d3_4": (12 * w, 4 * w), "d3_3": (4 * w, 4 * w), "d3_2": (4 * w, 4 * w)}
        widths |= {"d3_1": (4 * w, 2 * w), "d2_2": (6 * w, 2 * w), "d2_1": (2 * w, w)}
        self.decoder = _convolutions(widths | {"d1_2": (3 * w, w), "d1_1": (w, 3)})
        # Of ImageNet, as torchvision's VGG19 was trained with.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """The reconstruction of a picture, without matching: what the decoder is trained for (not clipped)."""
        return self.run(picture, lambda site, features: features)

    def features(self, picture: Tensor) -> list[Tensor]:
        """Those of conv1_1 to conv4_1 after their ReLU, (B, 64, H, W) to (B, 512, H / 8, W / 8)."""
        seen: list[Tensor] = []

        def keep(site: str, features: Tensor) -> Tensor:
            seen.append(features)
            return features

        self._encode(picture, keep)
        return seen

    def style(self, picture: Tensor, variant: Variant = "adain", where: Where | None = None) -> Style:
        """Statistics of a reference, which goes through encoder and decoder as it is."""
        found: dict[str, dict[int, Statistics]] = {}

        def measure(site: str, features: Tensor) -> Tensor:
            regions = positions(where, features)
            flat = features.flatten(2)
            found[site] = {n: MEASURE[variant](flat if at is None else flat[..., at]) for n, at in regions.items()}
            return features

        self.run(picture, measure)
        return found

    def transfer(self, picture: Tensor, style: Style, sites: Sites = "both", where: Where | None = None) -> Tensor:
        """The picture with the style's statistics at the sites, region by region; R'G'B', not clipped.

        Positions that are in no region, or in one that the style lacks, stay as they are.
        """

        def match(site: str, features: Tensor) -> Tensor:
            if site not in SITES[sites]:
                return features
            flat = features.flatten(2)
            matched = flat
            for region, at in positions(where, features).items():
                wanted = style[site].get(region)
                if wanted is None:
                    continue
                if at is None:
                    matched = MATCH[wanted.variant](flat, wanted)
                else:
                    matched = matched.clone()
                    matched[..., at] = MATCH[wanted.variant](flat[..., at], wanted)
            return matched.reshape(features.shape)

        return self.run(picture, match)

    def run(self, picture: Tensor, at_site: Callable[[str, Tensor], Tensor]) -> Tensor:
        """Encoder and decoder; ``at_site`` gets the features of each site and says with which ones to go on."""
        skips, features = self._encode(picture, at_site)
        features = at_site("d4_1", F.relu(self.decoder["d4_1"](features)))
        for level in (3, 2, 1):
            features = torch.cat([_enlarged(features), skips[level - 1]], 1)
            for number in range(_CONVOLUTIONS[level - 1], 0, -1):
                name = f"d{level}_{number}"
                features = self.decoder[name](features)
                features = features if name == "d1_1" else F.relu(features)
                features = at_site(name, features) if name in DECODER_SITES else features
        return features

    def _encode(self, picture: Tensor, at_site: Callable[[str, Tensor], Tensor]) -> tuple[list[Tensor], Tensor]:
        features, skips = (picture - self.mean) / self.deviation, list[Tensor]()
        for level, count in enumerate(_CONVOLUTIONS, 1):
            for number in range(1, count + 1):
                name = f"conv{level}_{number}"
                features = F.relu(self.encoder[name](features))
                features = at_site(name, features) if number == 1 else features
            if level < len(_CONVOLUTIONS):
                smaller = F.avg_pool2d(features, 2)
                skips.append(torch.cat([_enlarged(smaller), features], 1))
                features = smaller
        return skips, features


def _convolutions(widths: Mapping[str, tuple[int, int]]) -> nn.ModuleDict:
    made = nn.ModuleDict()
    for name, (inward, outward) in widths.items():
        layer = nn.Conv2d(inward, outward, 3, padding=1, padding_mode="reflect")
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if name == "d1_1" else "relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        made[name] = layer
    return made


def _enlarged(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="nearest")


def positions(where: Where | None, features: Tensor) -> dict[int, Tensor | None]:
    """Regions at the size of features (B, C, h, w): masks (h w) of those with positions there; None is everywhere."""
    if where is None:
        return {0: None}
    found: dict[int, Tensor | None] = {}
    for region, mask in where.items():
        at = F.interpolate(mask[None, None].float(), size=features.shape[-2:], mode="nearest-exact") > 0.5
        if at.any():
            found[region] = at.flatten().to(features.device)
    return found


def pooled_style(styles: Sequence[Style]) -> Style:
    """Several references as one larger one."""
    regions = {site: {n for style in styles for n in style[site]} for site in styles[0]}
    return {
        site: {n: pooled([style[site][n] for style in styles if n in style[site]]) for n in sorted(numbers)}
        for site, numbers in regions.items()
    }
