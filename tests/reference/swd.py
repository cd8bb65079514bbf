"""The sliced Wasserstein distance of the spec in plain float64 NumPy and SciPy; nothing is shared with pgtools."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

Array = NDArray[np.float64]
BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def down(image: Array) -> Array:
    """Blur one channel (H, W) with mirrored borders, keep every second pixel."""
    return scipy.ndimage.convolve(image, BINOMIAL, mode="mirror")[::2, ::2]


def up(image: Array) -> Array:
    """Put zeros between the pixels of one channel, blur with four times the kernel."""
    wide = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
    wide[::2, ::2] = image
    return scipy.ndimage.convolve(wide, 4 * BINOMIAL, mode="mirror")


def laplacian(image: Array) -> dict[int, Array]:
    """Side → level of one image (C, R, R)."""
    levels = {}
    while image.shape[-1] > 16:
        smaller = np.stack([down(channel) for channel in image])
        levels[image.shape[-1]] = image - np.stack([up(channel) for channel in smaller])
        image = smaller
    levels[16] = image
    return levels


def describe(images: NDArray[np.uint8], centres: NDArray[np.int64], level: int, size: int) -> Array:
    """The normalised descriptors (n, C, size, size) of a set at a level; centres (N, P, 2) are (row, column)."""
    half, patches = size // 2, []
    for image, places in zip(images, centres, strict=True):
        band = laplacian(image.astype(np.float64))[level]
        for y, x in places:
            patches.append(band[:, y - half : y + half + 1, x - half : x + half + 1])
    found = np.stack(patches)
    return (found - found.mean((0, 2, 3), keepdims=True)) / found.std((0, 2, 3), keepdims=True)


def distance(a: Array, b: Array, directions: Array) -> float:
    """The mean over unit directions (k, d) of the mean gap between the sorted projections."""
    gaps = []
    for direction in directions:
        line_a, line_b = (
            np.sort(a.reshape(len(a), -1) @ direction),
            np.sort(b.reshape(len(b), -1) @ direction),
        )
        gaps.append(np.abs(line_a - line_b).mean())
    return float(np.mean(gaps))
