"""Networks of Bansal, "Stable Image Colorization via Reference Image Cross-Attention", section 3.3.

Pictures are (B, C, H, W) with sides that are multiples of 16, R'G'B' in [0, 1]; in the space "lab" the paper's future
work: L* / 100 for the film and (L* / 100, a* / 110, b* / 110) for references, a* / 110 and b* / 110 coming out.

The published numbers of parameters fix the widths, a bias in every convolution and an affine batch normalization after
every one but the last. They leave open, and are our choice: the order of concatenation, the exact GELU, and that the
attention knows no positions, which the paper does not mention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

STRIDE = 16
"""Sides of a picture are multiples of this."""

Space = Literal["rgb", "lab"]


@dataclass(frozen=True)
class Channels:
    """film: of the grey picture that is colored. color: of what comes out. reference: of a color picture."""

    film: int
    color: int
    reference: int


CHANNELS: dict[Space, Channels] = {"rgb": Channels(3, 3, 3), "lab": Channels(1, 2, 3)}


class Down(nn.Sequential):
    """Half the size: 3 x 3 convolution of stride 2, batch normalization, GELU."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__(nn.Conv2d(inward, outward, 3, 2, 1), nn.BatchNorm2d(outward), nn.GELU())


class Up(nn.Sequential):
    """Twice the size: transposed 3 x 3 convolution of stride 2, batch normalization, GELU (or none: ``signed``)."""

    def __init__(self, inward: int, outward: int, *, signed: bool = False) -> None:
        bend: nn.Module = nn.Identity() if signed else nn.GELU()
        super().__init__(nn.ConvTranspose2d(inward, outward, 3, 2, 1, output_padding=1), nn.BatchNorm2d(outward), bend)


class Adapt(nn.Sequential):
    """1 x 1 convolution, batch normalization, GELU; 64 channels (section 3.3.2)."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(64, 64, 1), nn.BatchNorm2d(64), nn.GELU())


class Encoder(nn.Module):
    """Four ``Down`` of 32, 32, 64 and 64 channels."""

    def __init__(self, inward: int = 3) -> None:
        super().__init__()
        self.d1, self.d2, self.d3, self.d4 = Down(inward, 32), Down(32, 32), Down(32, 64), Down(64, 64)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, C, H, W) -> features with strides 2, 4, 8 and 16."""
        d1 = self.d1(picture)
        d2 = self.d2(d1)
        d3 = self.d3(d2)
        return d1, d2, d3, self.d4(d3)


class AutoencoderNetwork(nn.Module):
    """Section 3.3.3: the encoder that featurizes references, and a decoder to train it by.

    The decoder ends with batch normalization and GELU too, as the paper says; not in "lab", where colors are signed.
    """

    def __init__(self, space: Space = "rgb") -> None:
        super().__init__()
        self.space = space
        channels = CHANNELS[space].reference
        self.encoder = Encoder(channels)
        self.decoder = nn.Sequential(Up(64, 64), Up(64, 32), Up(32, 32), Up(32, channels, signed=space == "lab"))

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same picture, as far as 64 channels at stride 16 can tell."""
        decoded: Tensor = self.decoder(self.encoder(picture)[-1])
        return decoded


class Decoder(nn.Module):
    """The way up of the U-Net, with the film's features beside it and the grey picture before the last 1 x 1 layer."""

    def __init__(self, deepest: int, channels: Channels) -> None:
        super().__init__()
        self.u1, self.u2, self.u3, self.u4 = Up(deepest, 64), Up(128, 32), Up(64, 32), Up(64, 32)
        self.out = nn.Conv2d(32 + channels.film, channels.color, 1)

    def forward(self, deepest: Tensor, features: tuple[Tensor, Tensor, Tensor, Tensor], film: Tensor) -> Tensor:
        d1, d2, d3, _ = features
        up = torch.cat([self.u1(deepest), d3], 1)
        up = torch.cat([self.u2(up), d2], 1)
        up = torch.cat([self.u3(up), d1], 1)
        colored: Tensor = self.out(torch.cat([self.u4(up), film], 1))
        return colored


class UnetBasicNetwork(nn.Module):
    """Section 3.3.1: a U-Net that colors from what it has learned alone."""

    def __init__(self, space: Space = "rgb") -> None:
        super().__init__()
        self.space = space
        self.encoder = Encoder(CHANNELS[space].film)
        self.decoder = Decoder(64, CHANNELS[space])

    def forward(self, film: Tensor) -> Tensor:
        """Grey (B, 3 or 1, H, W) -> colors (B, 3 or 2, H, W), unbounded: there is no activation at the end."""
        features = self.encoder(film)
        colored: Tensor = self.decoder(features[3], features, film)
        return colored


class StableColorizerNetwork(nn.Module):
    """Section 3.3.2: the U-Net, whose deepest features attend to those of a frozen encoder in reference pictures."""

    def __init__(self, space: Space = "rgb") -> None:
        super().__init__()
        self.space = space
        self.encoder = Encoder(CHANNELS[space].film)
        self.reference_encoder = Encoder(CHANNELS[space].reference)
        self.adapt_reference, self.adapt_query, self.adapt_found = Adapt(), Adapt(), Adapt()
        self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
        self.decoder = Decoder(128, CHANNELS[space])
        self.reference_encoder.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> StableColorizerNetwork:
        """The reference encoder stays as it is: its batch normalization never counts (section 5.3)."""
        super().train(mode)
        self.reference_encoder.eval()
        return self

    def tokens(self, reference: Tensor) -> Tensor:
        """(B, 3, Hr, Wr) of any size -> (B, Hr Wr / 256, 64), row by row: keys and values in one."""
        adapted: Tensor = self.adapt_reference(self.reference_encoder(reference)[3])
        return adapted.flatten(2).transpose(1, 2)

    def color(self, film: Tensor, tokens: Tensor) -> Tensor:
        """Grey (B, 3 or 1, H, W) and tokens (B, N, 64) of references -> colors (B, 3 or 2, H, W), unbounded."""
        features = self.encoder(film)
        query = self.adapt_query(features[3])
        sought = query.flatten(2).transpose(1, 2)
        found, _ = self.attention(sought, tokens, tokens, need_weights=False)
        found = self.adapt_found(found.transpose(1, 2).reshape(query.shape))
        colored: Tensor = self.decoder(torch.cat([query + found, features[3]], 1), features, film)
        return colored

    def forward(self, film: Tensor, reference: Tensor) -> Tensor:
        """``color`` with the tokens of one reference for each picture, (B, 3, Hr, Wr)."""
        return self.color(film, self.tokens(reference))
