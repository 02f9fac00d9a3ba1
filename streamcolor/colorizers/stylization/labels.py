"""Label maps: which regions of a picture take their statistics from which regions of the style.

Xu et al. 2020, section 4.1, and the code of Li et al. 2018 (PhotoWCT): a label that is in both maps is a region, unless
it has too few pixels in one of them, or far more in one than in the other. What is in no region stays as it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from streamcolor.colorizers.padding import padded
from streamcolor.colorizers.stylization.transfer import Where

# A region has more pixels than this in either map, and less than so many times as many in one as in the other.
_FEWEST = 10
_RATIO = 100


def regions(content: Tensor, style: Tensor) -> tuple[Where, Where]:
    """Masks of each valid label in the content (H, W) and in the style (H', W'), maps of small integers."""
    valid = []
    for label in np.intersect1d(content.numpy(), style.numpy()).tolist():
        counts = int((content == label).sum()), int((style == label).sum())
        if min(counts) > _FEWEST and max(counts) < _RATIO * min(counts):
            valid.append(label)
    return {label: content == label for label in valid}, {label: style == label for label in valid}


def padded_mask(mask: Tensor, multiple: int) -> Tensor:
    """A mask (H, W) for a picture after ``padded``; where that enlarges, the nearest value is taken."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in mask.shape)
    grid = torch.stack([rows[:, None].expand(mask.shape), columns.expand(mask.shape)])
    taken = padded(grid[None], multiple)[0].round().long()
    return mask[taken[0], taken[1]]
