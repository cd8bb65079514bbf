"""The blocking effect factor of Yim and Bovik, pair by pair from its definition; shares nothing with pgtools."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def blocking_effect_factor(plane: NDArray[np.float64], block: int = 8) -> float:
    """BEF of one plane (H, W)."""
    height, width = plane.shape
    border, inside = [], []
    for y in range(height):
        for x in range(width):
            if x + 1 < width:
                step = (plane[y, x + 1] - plane[y, x]) ** 2
                (border if (x + 1) % block == 0 else inside).append(step)
            if y + 1 < height:
                step = (plane[y + 1, x] - plane[y, x]) ** 2
                (border if (y + 1) % block == 0 else inside).append(step)
    excess = np.mean(border) - np.mean(inside)
    return float(excess * math.log2(block) / math.log2(min(height, width))) if excess > 0 else 0.0
