"""The MS-SSIM of the spec in plain float64 NumPy and SciPy, pair by pair; shares nothing with pgtools."""

from __future__ import annotations

import numpy as np
import scipy.signal
from numpy.typing import NDArray

Array = NDArray[np.float64]
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def window_of(side: int) -> Array:
    """The Gaussian (n, n), n at most 11, of sum 1; an even one has its centre between pixels."""
    n = min(11, side)
    sigma = n * 1.5 / 11
    y, x = np.mgrid[0:n, 0:n] - (n - 1) / 2
    window = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return window / window.sum()


def terms(a: Array, b: Array) -> tuple[float, float]:
    """Mean SSIM and mean contrast term of two images (C, R, R), channels apart."""
    window = window_of(a.shape[-1])

    def blur(channel: Array) -> Array:
        return scipy.signal.convolve(channel, window, mode="valid")

    full, contrast = [], []
    for p, q in zip(a, b, strict=True):
        mean_p, mean_q = blur(p), blur(q)
        var_p, var_q = blur(p * p) - mean_p**2, blur(q * q) - mean_q**2
        covariance = blur(p * q) - mean_p * mean_q
        luminance = (2 * mean_p * mean_q + C1) / (mean_p**2 + mean_q**2 + C1)
        contrast.append((2 * covariance + C2) / (var_p + var_q + C2))
        full.append(luminance * contrast[-1])
    return float(np.mean(full)), float(np.mean(contrast))


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """The MS-SSIM of two uint8 images (C, R, R)."""
    p, q = a.astype(np.float64), b.astype(np.float64)
    score = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        full, contrast = terms(p, q)
        score *= max(0.0, full if scale == 4 else contrast) ** weight
        if scale < 4:
            p, q = ((x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4 for x in (p, q))
    return score
