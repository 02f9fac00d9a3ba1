"""LPIPS and FID: distances between what networks that others trained see in two pictures, or in two films.

Their weights are never downloaded and never guessed: without the user's files there is no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamcolor.errors import InputError
from streamcolor.evaluation.backbones import Stack, read_state
from streamcolor.evaluation.comparison import Figures, Pair
from streamcolor.evaluation.inception import FEATURES, FidInception
from streamcolor.evaluation.metrics import Picture

# AlexNet has nothing left of smaller pictures.
SMALLEST_SIDE = 64
# Neighboring frames are much alike: one in so many is looked at.
EVERY = 8


def find_heads(net: str) -> Path | None:
    """The learned layers of LPIPS in the installed package ``lpips``, or None. It is not imported: it would import
    torchvision, which fails beside a CPU build of torch.
    """
    found = find_spec("lpips")
    for folder in (found.submodule_search_locations if found is not None else None) or ():
        path = Path(folder, "weights", "v0.1", f"{net}.pth")
        if path.is_file():
            return path
    return None


def load_heads(path: Path, channels: Sequence[int]) -> list[Tensor]:
    """Weights (1, C, 1, 1) per layer, none below 0, from keys ``lin0.model.1.weight`` on.

    Raises InputError for another file.
    """
    state = read_state(path)
    names = [f"lin{n}.model.1.weight" for n in range(len(channels))]
    for name, count in zip(names, channels, strict=True):
        if name not in state or state[name].shape != (1, count, 1, 1) or not (state[name] >= 0).all():
            raise InputError(f"{path.name} does not hold the learned layers of LPIPS ({name})")
    return [state[name] for name in names]


class Lpips(nn.Module):
    """LPIPS 0.1 (Zhang et al. 2018, equation 1), on a frozen backbone with the published learned layers.

    Features are normalized to unit length over channels; squared differences are weighted per channel, averaged over
    the picture and summed over layers.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, stack: Stack, heads: Sequence[Tensor]) -> None:
        super().__init__()
        self.stack = stack
        self.heads = nn.ParameterList([nn.Parameter(head, requires_grad=False) for head in heads])
        # Means and deviations of ImageNet, for pictures in [-1, 1].
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None])
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance (N,) of R'G'B' (N, 3, H, W) in [-1, 1]; 0 for equal pictures."""
        seen = self.stack((torch.cat([a, b]) - self.shift) / self.scale)
        total = torch.zeros(len(a), device=a.device)
        for features, head in zip(seen, self.heads, strict=True):
            unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
            one, other = unit.chunk(2)
            total = total + ((one - other).square() * head).sum(1).mean((1, 2))
        return total


def build_lpips(stack: Stack, heads: Path) -> Lpips:
    """LPIPS on a backbone with the learned layers of a file. Raises InputError for those of another backbone."""
    with torch.inference_mode():
        channels = [seen.shape[1] for seen in stack(torch.zeros(1, 3, SMALLEST_SIDE, SMALLEST_SIDE))]
    return Lpips(stack, load_heads(heads, channels)).eval()


def _tensor(pictures: Sequence[Picture], device: str) -> Tensor:
    """(N, 3, H, W) in [0, 1]; in memory the channels stay last, as pictures have them, which is quicker."""
    return torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255


class LpipsMeasure:
    """LPIPS of output and truth at full size, mean over every eighth compared frame, pictures scaled to [-1, 1]."""

    def __init__(self, net: str, lpips: Lpips, device: str) -> None:
        self.columns = (f"lpips_{net}",)
        self._lpips = lpips.to(device)
        self._device = device
        self._compared = 0
        self._values: list[float] = []

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""
        if not pair.compared or min(pair.truth.shape[:2]) < SMALLEST_SIDE:
            return
        if self._compared % EVERY == 0:
            with torch.inference_mode():
                both = 2 * _tensor([pair.truth, pair.output], self._device) - 1
                self._values.append(float(self._lpips(both[:1], both[1:])))
        self._compared += 1

    def end_clip(self) -> Figures:
        """The mean; None for a clip of smaller pictures than the network takes."""
        figures: Figures = {self.columns[0]: float(np.mean(self._values)) if self._values else None}
        self._compared, self._values = 0, []
        return figures

    def pooled(self) -> Figures:
        """Nothing: the mean over clips is the figure."""
        return {}


class Moments:
    """Mean and covariance of vectors (D,) that come a few at a time; memory stays below that of two (D, D) matrices.

    As long as there are fewer vectors than dimensions they are held themselves, which is quicker and loses nothing.
    """

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self._dimensions = dimensions
        self._sum = np.zeros(dimensions)
        self._rows: list[NDArray[np.float64]] = []
        self._outer: NDArray[np.float64] | None = None

    def add(self, vectors: NDArray[np.float64]) -> None:
        """(N, D)."""
        self.count += len(vectors)
        self._sum += vectors.sum(0)
        self._rows.append(vectors)
        if sum(map(len, self._rows)) > self._dimensions:
            rows, self._rows = np.concatenate(self._rows), []
            self._outer = rows.T @ rows + (0 if self._outer is None else self._outer)

    def mean(self) -> NDArray[np.float64]:
        """(D,)."""
        return self._sum / self.count

    def factor(self) -> NDArray[np.float64]:
        """F (D, r) with F F^T the unbiased covariance; of two vectors at least."""
        rows = np.concatenate([np.zeros((0, self._dimensions)), *self._rows])
        if self._outer is None:
            return np.asarray((rows - self.mean()).T / np.sqrt(self.count - 1), np.float64)
        squares = self._outer + rows.T @ rows - self.count * np.outer(self.mean(), self.mean())
        values, vectors = np.linalg.eigh(squares / (self.count - 1))
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0)), np.float64)


def frechet_distance(one: Moments, other: Moments) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982; Heusel et al. 2017, equation 6).

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2)); with C = F F^T the last trace is the sum of the singular values
    of F1^T F2, so that covariances without full rank need no care.
    """
    first, second = one.factor(), other.factor()
    cross = np.linalg.svd(first.T @ second, compute_uv=False).sum()
    apart = np.square(one.mean() - other.mean()).sum()
    return float(max(apart + np.square(first).sum() + np.square(second).sum() - 2 * cross, 0.0))


class FidMeasure:
    """FID (Heusel et al. 2017) of every eighth compared frame of all clips together: outputs against truths.

    Small numbers of frames raise it: compare only over the same clips. fid_frames says how many there were.
    """

    columns = ("fid",)

    def __init__(self, network: FidInception, device: str) -> None:
        self._network = network.to(device)
        self._device = device
        self._truth, self._output = Moments(FEATURES), Moments(FEATURES)
        self._compared = 0

    def add(self, pair: Pair) -> None:
        """The next frame of a clip."""
        if pair.compared:
            if self._compared % EVERY == 0:
                with torch.inference_mode():
                    seen = self._network(_tensor([pair.truth, pair.output], self._device)).cpu().double().numpy()
                self._truth.add(seen[:1])
                self._output.add(seen[1:])
            self._compared += 1

    def end_clip(self) -> Figures:
        """Nothing: one clip has too few frames."""
        self._compared = 0
        return {}

    def pooled(self) -> Figures:
        """fid, and fid_frames that it rests on; None below two frames."""
        count = self._truth.count
        return {"fid": frechet_distance(self._truth, self._output) if count > 1 else None, "fid_frames": count}
