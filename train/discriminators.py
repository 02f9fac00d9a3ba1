"""Discriminators that judge patches of a picture."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from streamcolor.colorizers.agin.attention import ClassActivation, Pool
from streamcolor.train.adversarial import initialize


class PatchDiscriminator(nn.Module):
    """70 x 70 PatchGAN of Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", A.1.2.

    channels: of what is judged (lightness and chroma together). width: of the first layer, 64 as published. Batch
    normalization after all layers but the first and the last; weights as ``initialize`` draws them.
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for inward, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers += [
                nn.Conv2d(inward, 2 * inward, 4, stride, 1, bias=False),
                nn.BatchNorm2d(2 * inward),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))
        initialize(self)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, C, H, W), sides of at least 24 -> logits of "real" (B, 1, h, w): 30 x 30 of 256 x 256."""
        logits: Tensor = self.layers(picture)
        return logits


class AttentionDiscriminator(nn.Module):
    """Discriminator of U-GAT-IT (Kim et al. 2020) with spectral normalization of all but ``mix`` of its attention.

    halvings: convolutions of stride 2. 3 see patches of 70 x 70 ("local"), 5 of 286 x 286 ("global"). width: of the
    first layer, 64 as published. cam: class activation attention. pool: see ``ClassActivation``.
    """

    def __init__(self, halvings: int = 3, width: int = 64, *, cam: bool = True, pool: Pool = "gap+median") -> None:
        super().__init__()
        widths = [3, *(width * 2**number for number in range(halvings + 1))]
        layers: list[nn.Module] = []
        for number, (inward, outward) in enumerate(pairwise(widths)):
            stride = 2 if number < halvings else 1
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(inward, outward, 4, stride), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.attention = ClassActivation(widths[-1], nn.LeakyReLU(0.2), pool=pool) if cam else None
        self.judge = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(widths[-1], 1, 4, bias=False))
        initialize(self)
        for name, part in list(self.named_modules()):
            if isinstance(part, (nn.Conv2d, nn.Linear)) and not name.startswith("attention.mix"):
                spectral_norm(part)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, 3, H, W) in [-1, 1] -> scores of patches (B, 1, h, w), and of the class (B, 2), None without ``cam``.

        Scores near 1 say "real", near 0 "made". h is 30 ("local") or 6 ("global") of H = 256, and sides are of at
        least 24 or 96.
        """
        features, logits = self.features(picture), None
        if self.attention is not None:
            features, logits = self.attention(features)
        return self.judge(features), logits


def receptive_field(network: nn.Module) -> int:
    """Side of the part of the picture that one score depends on, by the chain of convolutions larger than 1 x 1."""
    side = 1
    for part in reversed([part for part in network.modules() if isinstance(part, nn.Conv2d)]):
        if part.kernel_size != (1, 1):
            side = (side - 1) * part.stride[0] + part.kernel_size[0]
    return side
