"""Pixels, said once: ranges, axis orders and rounding.

Convention: numpy images are uint8 HWC RGB, batches of them uint8 NCHW; torch images are NCHW float32, [-1, 1] in
networks and [0, 255] in metrics. Rounding is half-to-even (`rint`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Rec. 601 luma, what JPEG calls Y.
LUMA = np.array([0.299, 0.587, 0.114])


def quantise(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return `values` rounded half-to-even and clipped to 0..255, as uint8."""
    rounded: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def luminance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the Rec. 601 luma, float64 (H, W) in 0..255, of an RGB image (H, W, 3)."""
    luma: NDArray[np.float64] = image.astype(np.float64) @ LUMA
    return luma


def is_power_of_two(number: int) -> bool:
    """Return whether `number` is a power of two, 1 included."""
    return number > 0 and number & (number - 1) == 0
