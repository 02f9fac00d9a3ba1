"""What ``propagator`` is told about a frame that it has colored."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from streamcolor.colorizers.lab import AB_SCALE
from streamcolor.colorizers.propagator.motion import carry
from streamcolor.colorizers.propagator.network import Output

# Weights of the losses of the candidates by themselves; what flow brings is not learned.
SHARES = {"fine": 0.4, "coarse": 0.4, "recent fine": 0.4, "recent coarse": 0.4, "alike": 0.3, "guess": 0.4}

# Squared error of R'G'B' below which frames cannot be told apart: that of 42 dB.
ROUNDING = 4.0


def robust(a: Tensor, b: Tensor, beta: float = 0.05) -> Tensor:
    """Smooth L1, quadratic below ``beta`` (0.05: 5.5 ab units)."""
    return F.smooth_l1_loss(a, b, beta=beta)


def shown(ab4: Tensor, target4: Tensor, light4: Tensor) -> Tensor:
    """(B,) mean squared error of 8-bit R'G'B' that a wrong ab / 110 (B, 2, h, w) makes at a luma that is kept.

    light4: L* / 100 - 0.5. A quadratic form fitted to the Jacobian of BT.709 R'G'B' with respect to a*, b*: errors of
    the same sign in both weigh more, and those of light places.
    """
    error = (ab4 - target4) * AB_SCALE
    square = 0.6 * error.square().sum(1) + 0.4 * error.sum(1).square()
    return (square * (1.1 + 0.8 * light4[:, 0])).mean((1, 2))


def within_cells(ab: Tensor, ab4: Tensor) -> Tensor:
    """(B,) about what is left of that error when every cell is right: half of the detail inside cells, and rounding.

    ab: (B, 2, h, w); ab4: its means over cells of 4 x 4.
    """
    smooth = F.interpolate(ab4, scale_factor=4, mode="bilinear", align_corners=False)
    return ROUNDING + 0.5 * AB_SCALE**2 * (ab - smooth).square().sum(1).mean((1, 2))


def losses(output: Output, target4: Tensor, light4: Tensor, least: Tensor) -> dict[str, Tensor]:
    """Terms for one frame. target4: (B, 2, h/4, w/4) true ab in units of 110; least: (B,) of ``within_cells``.

    "ab" weighs an error for what it is, so hard pictures rule; "psnr" for what it adds to those of its frame, as
    decibels do, so that there is something to gain in easy ones.
    """
    terms = {
        "ab": 3 * robust(output.ab4, target4, 0.3),
        "psnr": 0.04 * (shown(output.ab4, target4, light4) + least).log().mean(),
        "trust": 0.05 * F.binary_cross_entropy_with_logits(output.trust_logit4, deserved(output.ab4, target4)),
    }
    for name in output.present:
        if name in SHARES:
            terms[name] = SHARES[name] * robust(output.candidate(name), target4)
    return terms


def steadiness(now: Tensor, before: Tensor, true_now: Tensor, true_before: Tensor, flow4: Tensor) -> Tensor:
    """Change along the motion against the true change, where flow is believed (E_warp of Lai et al. 2018, eq. 2).

    All (B, 2, h/4, w/4) but flow4, (B, 4, ...) of ``motion.flow_before``. The true change is taken off because light
    does change; a plain penalty on change teaches smear.
    """
    believed = flow4[:, 2:3]
    change = now - carry(before, flow4)[:, :2]
    true_change = true_now - carry(true_before, flow4)[:, :2]
    return ((change - true_change).abs() * believed).mean()


def deserved(ab4: Tensor, target4: Tensor) -> Tensor:
    """Trust (B, 1, ...) that colors deserve: exp(-e / 12) for an error of e ab units."""
    return torch.exp(-(ab4.detach() - target4).norm(dim=1, keepdim=True) * (AB_SCALE / 12))
