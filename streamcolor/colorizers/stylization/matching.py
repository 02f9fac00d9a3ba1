"""Statistics of features, and features that take on the statistics of others: AdaIN and WCT.

AdaIN: equation 1 of Xu et al. 2020, "Stylization-Based Architecture for Fast Deep Exemplar Colorization" (after Huang
& Belongie 2017). WCT: whitening and coloring, Li et al. 2017, "Universal Style Transfer via Feature Transforms",
section 3.2. Features are (B, C, N): N positions of a picture, or of one region of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Variant = Literal["adain", "wct"]

# Equation 1 divides by a deviation that may be zero; as in the code of Huang & Belongie, this is added to variances.
EPSILON = 1e-5
# Eigenvalues up to this are noise and are dropped (code of Li et al.).
LEAST_EIGENVALUE = 1e-5


@dataclass(frozen=True)
class Statistics:
    """What is kept of features. Sums over positions are exact enough to pool: see ``pooled``.

    mean: (B, C, 1). spread: for AdaIN the biased variance (B, C, 1), for WCT the covariance (B, C, C) with n - 1, in
    float64. count: n, the number of positions.
    """

    mean: Tensor
    spread: Tensor
    count: int

    @property
    def variant(self) -> Variant:
        return "adain" if self.spread.shape[-1] == 1 else "wct"


def moments(features: Tensor) -> Statistics:
    """Mean and biased variance of every sample and channel."""
    features = features.float()
    mean = features.mean(-1, keepdim=True)
    return Statistics(mean, (features - mean).square().mean(-1, keepdim=True), features.shape[-1])


def covariance(features: Tensor) -> Statistics:
    """Mean and covariance of every sample: F F^T / (n - 1) with centered F."""
    exact = _exact(features)
    mean = exact.mean(-1, keepdim=True)
    centered = exact - mean
    spread = centered @ centered.transpose(1, 2) / max(features.shape[-1] - 1, 1)
    return Statistics(mean, spread, features.shape[-1])


def adain(features: Tensor, style: Statistics) -> Tensor:
    """sigma(y) (x - mu(x)) / sigma(x) + mu(y), sigma = sqrt(variance + ``EPSILON``), like x in shape and type."""
    own = moments(features)
    unit = (features.float() - own.mean) / (own.spread + EPSILON).sqrt()
    return (unit * (style.spread + EPSILON).sqrt() + style.mean).to(features.dtype)


def wct(features: Tensor, style: Statistics) -> Tensor:
    """E_s D_s^1/2 E_s^T E D^-1/2 E^T (x - mean(x)) + mean(style), like x in shape and type; computed in float64."""
    own = covariance(features)
    whitened = power(own.spread, -0.5) @ (_exact(features) - own.mean)
    return (power(style.spread, 0.5) @ whitened + style.mean).to(features)


def power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of symmetric matrices (B, C, C) on the space of the eigenvalues above ``LEAST_EIGENVALUE``."""
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > LEAST_EIGENVALUE
    powers = torch.where(kept, values.clamp_min(LEAST_EIGENVALUE) ** exponent, 0)
    raised: Tensor = (vectors * powers[:, None]) @ vectors.transpose(1, 2)
    return raised


def _exact(features: Tensor) -> Tensor:
    """In float64, which Apple's GPUs do not have."""
    return (features.cpu() if features.device.type == "mps" else features).double()


MEASURE: dict[Variant, Callable[[Tensor], Statistics]] = {"adain": moments, "wct": covariance}
MATCH: dict[Variant, Callable[[Tensor, Statistics], Tensor]] = {"adain": adain, "wct": wct}


def pooled(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of several sets of positions together, from those of each (all of one variant)."""
    if len(parts) == 1:
        return parts[0]
    count = sum(part.count for part in parts)
    mean = torch.stack([part.mean * (part.count / count) for part in parts]).sum(0)
    # A covariance divides by n - 1, a biased variance by n.
    lost = 0 if parts[0].variant == "adain" else 1
    total = torch.zeros_like(parts[0].spread)
    for part in parts:
        apart = part.mean - mean
        outer = apart.square() if not lost else apart @ apart.transpose(1, 2)
        total = total + part.spread * (part.count - lost) + outer * part.count
    return Statistics(mean, total / max(count - lost, 1), count)
