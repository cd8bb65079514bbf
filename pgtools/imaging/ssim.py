"""What SSIM and MS-SSIM are made of: the window, the blurred moments of two images, and the two terms.

Convention: images in 0..255 (C1, C2 stand for that range); float64; valid pixels only.

Source: Wang et al. 2004.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def gaussian(size: int, sigma: float) -> list[float]:
    """Return the window along one axis, of sum 1; an even one is centred between its middle pixels."""
    offsets = np.arange(size) - (size - 1) / 2
    window = np.exp(-np.square(offsets) / (2 * sigma**2))
    return [float(value) for value in window / window.sum()]


def blur(images: Tensor, window: list[float]) -> Tensor:
    """Return the images under the window along both axes, valid pixels only: (…, H, W) → (…, H−n+1, W−n+1).

    A sum of shifted slices is many times faster than torch's float64 convolution.
    """
    for axis in (-1, -2):
        length = images.shape[axis] - len(window) + 1
        total = images.narrow(axis, 0, length) * window[0]
        for shift, weight in enumerate(window[1:], start=1):
            total.add_(images.narrow(axis, shift, length), alpha=weight)
        images = total
    return images


def moments(a: Tensor, b: Tensor) -> Tensor:
    """Return what is blurred to compare two images: a, b, a² + b², ab; (…) → (4, …)."""
    return torch.stack((a, b, a * a + b * b, a * b))


def contrast_term(blurred: Tensor) -> Tensor:
    """Return SSIM's contrast and structure, (4, …) → (…), of blurred moments: 1 where the images agree."""
    mean_a, mean_b, squares, products = blurred.unbind()
    powers = mean_a * mean_a + mean_b * mean_b
    return (2 * (products - mean_a * mean_b) + C2) / (squares - powers + C2)


def luminance_term(blurred: Tensor) -> Tensor:
    """Return SSIM's luminance, (4, …) → (…), of blurred moments: 1 where the local means agree."""
    mean_a, mean_b, _, _ = blurred.unbind()
    return (2 * mean_a * mean_b + C1) / (mean_a * mean_a + mean_b * mean_b + C1)
