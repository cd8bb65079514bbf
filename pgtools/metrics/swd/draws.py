"""What SWD draws: patch centres and directions, from named streams, on the CPU, whatever computes with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgtools.metrics.measure import Role
from pgtools.metrics.settings import SwdSettings
from pgtools.runtime.seeds import stream


def draw_positions(level: int, count: int, settings: SwdSettings, role: Role) -> NDArray[np.int64]:
    """Return the patch centres of a level, int64 (count, neighbourhoods, 2) as (row, column).

    Each is uniform over [size // 2, level − size // 2), the end excluded, so that the patch is in the image. Those of
    image i do not depend on the count.

    Args:
        level: side of the level in pixels.
        count: number of images.
        settings: give the seed, the number and the size of patches.
        role: "real" or "fake": each set has patches of its own.
    """
    half = settings.size // 2
    numbers = stream(settings.seed, "swd", "positions", role, level)
    return numbers.integers(half, level - half, size=(count, settings.neighbourhoods, 2))


def draw_directions(level: int, repeat: int, settings: SwdSettings, channels: int = 3) -> NDArray[np.float64]:
    """Return random unit vectors, float64 (directions, channels·size²): Gaussian, divided by their length."""
    numbers = stream(settings.seed, "swd", "directions", level, repeat)
    vectors = numbers.standard_normal((settings.directions, channels * settings.size**2))
    units: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units
