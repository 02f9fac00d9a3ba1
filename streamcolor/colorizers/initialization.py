"""How the weights of networks with ReLU are drawn before training."""

from __future__ import annotations

from typing import Literal

from torch import nn


def kaiming(network: nn.Module) -> None:
    """Kaiming's normal distribution over the inputs of convolutions and linear layers, biases 0 (He et al. 2015)."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            # Of a transposed convolution, torch takes the outputs for the inputs.
            mode: Literal["fan_in", "fan_out"] = "fan_out" if isinstance(part, nn.ConvTranspose2d) else "fan_in"
            nn.init.kaiming_normal_(part.weight, mode=mode, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
