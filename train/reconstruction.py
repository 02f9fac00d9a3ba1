"""Training of the transfer sub-net of ``stylization``: its decoder learns to reconstruct pictures, without matching.

Xu et al. 2020, section 4.1: the mean squared error of R'G'B' and a perceptual loss (Johnson et al. 2016) on the
encoder's own features; the paper does not name the layers, relu1_1 to relu4_1 are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamcolor.colorizers.stylization.transfer import TransferNetwork
from streamcolor.evaluation.metrics import psnr
from streamcolor.train.ends import Bytes
from streamcolor.train.loop import Batch, Task, Validation
from streamcolor.train.paired import Pair, as_rgb
from streamcolor.train.sheet import SHOWN, as_bytes
from streamcolor.train.vgg19 import take_vgg19


class TransferTask(Task):
    """The transfer sub-net, drawn from torch's generator, with the losses of its decoder.

    reconstruction, perceptual: their weights. vgg19: torchvision's file; the encoder is then frozen. Without it the
    encoder is trained too, and features that nobody has trained say nothing: there is no perceptual loss.
    """

    network: TransferNetwork

    def __init__(
        self,
        width: int = 64,
        reconstruction: float = 0.8,
        perceptual: float = 0.2,
        vgg19: Path | None = None,
        validation: Sequence[Pair] = (),
    ) -> None:
        super().__init__()
        self.network = TransferNetwork(width)
        self.reconstruction = reconstruction
        self.perceptual = perceptual
        self.pretrained = vgg19 is not None
        self.validation = validation
        if vgg19 is not None:
            take_vgg19(self.network.encoder, vgg19)
            self.network.encoder.requires_grad_(False)

    def forward(self, batch: Batch, rng: torch.Generator) -> dict[str, Tensor]:
        picture = batch["picture"]
        made = self.network(picture)
        terms = {"reconstruction": self.reconstruction * F.mse_loss(made, picture)}
        if self.pretrained:
            with torch.no_grad():
                wanted = self.network.features(picture)
            errors = [F.mse_loss(a, b) for a, b in zip(self.network.features(made), wanted, strict=True)]
            terms["perceptual"] = self.perceptual * torch.stack(errors).sum()
        return terms

    def validate(self, network: nn.Module) -> Validation:
        """psnr: of reconstructions, in dB."""
        scores, rows = list[float](), list[Bytes]()
        device = next(network.parameters()).device
        for pair in self.validation:
            made = as_bytes(network(as_rgb(pair.target)[None].to(device)))
            scores.append(psnr(made, pair.target))
            if len(rows) < SHOWN:
                rows.append(np.concatenate([pair.target, made], 1))
        if not rows:
            return Validation({}, {})
        return Validation({"psnr": float(np.mean(scores))}, {"picture, reconstruction": np.concatenate(rows)})
