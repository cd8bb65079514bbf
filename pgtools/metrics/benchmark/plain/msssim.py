"""MS-SSIM in plain NumPy and SciPy, as the field computes it: what ours is timed against.

Written from the definition: all pairs of a batch and their channels at once, float64, `scipy.signal.fftconvolve`
with the two-dimensional window.

Source: Wang et al. 2003; Karras et al. 2018, section 5.
"""

from __future__ import annotations

import numpy as np
import scipy.signal
from numpy.typing import NDArray

from pgtools.metrics.phases import timed

Doubles = NDArray[np.float64]
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def window_of(side: int) -> Doubles:
    """Return the Gaussian window, float64 (n, n) of sum 1; n is 11, or the image's side where that is smaller."""
    size = min(_WINDOW, side)
    offsets = np.arange(size) - (size - 1) / 2
    line = np.exp(-np.square(offsets) / (2 * (size * _SIGMA / _WINDOW) ** 2))
    window: Doubles = np.outer(line, line) / line.sum() ** 2
    return window


def ssim_terms(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """Return mean SSIM and mean contrast term of each pair, float64 (N,) each; a and b are (N, C, R, R)."""
    window = window_of(a.shape[-1])[None, None]
    with timed("blur"):
        mean_a, mean_b, square_a, square_b, product = (
            scipy.signal.fftconvolve(moment, window, mode="valid", axes=(2, 3))
            for moment in (a, b, a * a, b * b, a * b)
        )
    with timed("terms"):
        powers, crossed = mean_a**2 + mean_b**2, mean_a * mean_b
        contrast = (2 * (product - crossed) + _C2) / (square_a + square_b - powers + _C2)
        full = (2 * crossed + _C1) / (powers + _C1) * contrast
        return full.mean(axis=(1, 2, 3)), contrast.mean(axis=(1, 2, 3))


def halve(images: Doubles) -> Doubles:
    """Return the 2×2 means, float64 (N, C, H, W) → (N, C, H/2, W/2)."""
    rows = images[:, :, ::2] + images[:, :, 1::2]
    found: Doubles = (rows[..., ::2] + rows[..., 1::2]) / 4
    return found


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Doubles:
    """Return the MS-SSIM of each pair (a[i], b[i]), float64 (N,) in 0..1.

    Args:
        a: uint8 (N, C, R, R), R a power of two from 16 up.
        b: the other images, of the same shape.
    """
    left, right = a.astype(np.float64), b.astype(np.float64)
    score = np.ones(len(a))
    for scale, weight in enumerate(WEIGHTS):
        full, contrast = ssim_terms(left, right)
        last = scale == len(WEIGHTS) - 1
        score *= np.maximum(full if last else contrast, 0) ** weight
        if not last:
            with timed("halve"):
                left, right = halve(left), halve(right)
    return score
