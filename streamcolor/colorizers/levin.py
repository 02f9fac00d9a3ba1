"""Strokes of color spread over a grey picture: what looks alike and lies together gets the same color.

A. Levin, D. Lischinski, Y. Weiss, "Colorization Using Optimization", SIGGRAPH 2004. For every pixel r without a stroke
U(r) = sum over its 3 x 3 neighbors s of w_rs U(s), with w_rs ~ exp(-(Y(r) - Y(s))^2 / sigma_r^2), sum 1.

The sparse system is solved by BiCGSTAB (van der Vorst 1992) on the stencil itself, started from the solution at half
the size: no sparse matrices, no dependency.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

NEIGHBORS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))
# Constants of the published code: factor on the local variance, its smallest value, weight of the nearest neighbor.
_VARIANCE_FACTOR = 0.6
_SMALLEST_VARIANCE = 2e-6
_LEAST_WEIGHT = 0.01
_COARSEST = 24
_TOLERANCE = 1e-8
_ITERATIONS = 1000


def affinities(luma: Float32) -> Float64:
    """(8, h, w) weights of the neighbors, in the order of ``NEIGHBORS``; sum 1, 0 beyond the border.

    luma: (h, w) in [0, 1].
    """
    height, width = luma.shape
    around = np.pad(luma.astype(np.float64), 1, constant_values=np.nan)
    views = [around[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in NEIGHBORS]
    window = np.stack([*views, luma.astype(np.float64)])
    inside = ~np.isnan(window)
    count = inside.sum(0)
    values = np.where(inside, window, 0)
    mean = values.sum(0) / count
    variance = np.where(inside, (window - mean) ** 2, 0).sum(0) / count
    apart = np.where(inside[:-1], (window[:-1] - window[-1]) ** 2, np.inf)
    spread = np.maximum(_VARIANCE_FACTOR * variance, -apart.min(0) / np.log(_LEAST_WEIGHT))
    weights = np.exp(-apart / np.maximum(spread, _SMALLEST_VARIANCE))
    return np.asarray(weights / weights.sum(0), np.float64)


def neighbor_mean(weights: Float64, u: Float64) -> Float64:
    """Weighted mean of the neighbors of every pixel. u: (c, h, w)."""
    height, width = u.shape[1:]
    around = np.pad(u, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros_like(u)
    for weight, (dy, dx) in zip(weights, NEIGHBORS, strict=True):
        result += weight * around[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    return result


def spread_strokes(lightness: Float32, ab: Float32, mask: NDArray[np.bool_]) -> Float32:
    """Color a picture from strokes.

    lightness: (h, w) L* in [0, 100]. ab: (2, h, w), read where ``mask`` (h, w) is True.
    Returns (2, h, w) float32; stroke pixels exactly, all others within the smallest and largest stroke.
    Raises ValueError when there is no stroke at all.
    """
    if not mask.any():
        raise ValueError("there is no stroke to spread")
    strokes = ab[:, mask]
    low, high = strokes.min(1)[:, None, None], strokes.max(1)[:, None, None]
    solution = _solve(np.asarray(lightness / 100, np.float32), ab.astype(np.float64), mask)
    return np.asarray(np.where(mask, ab, np.clip(solution, low, high)), np.float32)


def _solve(luma: Float32, ab: Float64, mask: NDArray[np.bool_]) -> Float64:
    height, width = luma.shape
    if min(height, width) > _COARSEST:
        size = (width // 2, height // 2)
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        small = np.stack([cv2.resize(np.where(mask, c, 0), size, interpolation=cv2.INTER_AREA) for c in ab])
        coarse = _solve(
            np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32),
            small / np.maximum(share, 1e-6),
            share > 0,
        )
        guess = np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_LINEAR) for c in coarse])
    else:
        guess = np.broadcast_to(ab[:, mask].mean(1)[:, None, None], ab.shape).copy()
    return _bicgstab(affinities(luma), np.where(mask, ab, guess), mask)


def _bicgstab(weights: Float64, start: Float64, mask: NDArray[np.bool_]) -> Float64:
    """U with U = given on the strokes and U = mean of its neighbors elsewhere; ``start`` holds the strokes."""
    free = ~mask

    def apply(u: Float64) -> Float64:
        return np.asarray(np.where(free, u - neighbor_mean(weights, u), u), np.float64)

    def dot(a: Float64, b: Float64) -> Float64:
        return np.asarray((a * b).sum((1, 2), keepdims=True), np.float64)

    x = start.copy()
    residual = np.where(free, neighbor_mean(weights, x) - x, 0.0)
    shadow, direction = residual.copy(), residual.copy()
    rho = dot(shadow, residual)
    largest = max(float(np.abs(start[:, mask]).max()), 1e-6)
    tiny = 1e-300
    for _ in range(_ITERATIONS):
        if float(np.abs(residual).max()) <= _TOLERANCE * largest:
            break
        v = apply(direction)
        alpha = rho / (dot(shadow, v) + tiny)
        s = residual - alpha * v
        t = apply(s)
        omega = dot(t, s) / (dot(t, t) + tiny)
        x = x + alpha * direction + omega * s
        residual = s - omega * t
        rho, before = dot(shadow, residual), rho
        direction = residual + (rho / (before + tiny)) * (alpha / (omega + tiny)) * (direction - omega * v)
    return np.asarray(x, np.float64)
