"""The sliced Wasserstein distance in plain NumPy and SciPy, as the field computes it: what ours is timed against.

Written from the definition: `scipy.ndimage` convolves, patches come by index arithmetic, one matrix product
projects, NumPy sorts along the first axis. Draws are passed in, so that both routes can measure the same patches
along the same lines. Nothing of the fast route is used here but its stopwatch.

Source: Karras et al. 2018, section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from pgtools.metrics.phases import timed

Floats = NDArray[np.float32]
LOWEST_LEVEL = 16
_BINOMIAL = (np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256).astype(np.float32)


def down(images: Floats) -> Floats:
    """Return the images under the binomial, every second pixel: float32 (N, C, H, W) → (N, C, H/2, W/2)."""
    return _convolved(images, _BINOMIAL)[:, :, ::2, ::2]


def up(images: Floats) -> Floats:
    """Return the images with zeros between, under 4 × the binomial: float32 (N, C, H, W) → (N, C, 2H, 2W)."""
    count, channels, height, width = images.shape
    wide = np.zeros((count, channels, 2 * height, 2 * width), np.float32)
    wide[:, :, ::2, ::2] = images
    return _convolved(wide, 4 * _BINOMIAL)


def laplacian_pyramid(images: NDArray[np.uint8]) -> dict[int, Floats]:
    """Return side → level, float32 (N, C, side, side), from the images' own side down to 16.

    Args:
        images: uint8 (N, C, R, R), R a power of two from 16 up.
    """
    levels, current = {}, images.astype(np.float32)
    while current.shape[-1] > LOWEST_LEVEL:
        smaller = down(current)
        levels[current.shape[-1]] = current - up(smaller)
        current = smaller
    levels[LOWEST_LEVEL] = current
    return levels


def cut_patches(images: Floats, centres: NDArray[np.int64], size: int) -> Floats:
    """Return the patches around the centres, float32 (N · P, C, size, size).

    Args:
        images: float32 (N, C, H, W).
        centres: int64 (N, P, 2) as (row, column), size // 2 or more from every border.
        size: odd.
    """
    channels, offsets = images.shape[1], np.arange(size) - size // 2
    number = np.repeat(np.arange(len(images)), centres.shape[1])[:, None, None, None]
    rows, columns = centres.reshape(-1, 2).T[:, :, None, None, None]
    found: Floats = images[
        number, np.arange(channels)[:, None, None], rows + offsets[:, None], columns + offsets[None, :]
    ]
    return found


def normalise(patches: Floats) -> Floats:
    """Return descriptors, float32 (n, C · size²): each channel at mean 0 and population deviation 1 over the set.

    Args:
        patches: float32 (n, C, size, size); changed in place.
    """
    # Sums in float64: NumPy adds along these axes one after the other, which float32 would not bear.
    mean = patches.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    deviation = patches.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    patches -= mean.astype(np.float32)
    patches /= deviation.astype(np.float32)
    return patches.reshape(len(patches), -1)


def describe(
    batches: Iterable[NDArray[np.uint8]], centres: Mapping[int, NDArray[np.int64]], size: int
) -> dict[int, Floats]:
    """Return side → descriptors of a set, float32 (N · P, C · size²).

    Args:
        batches: the images, uint8 (n, C, R, R) each, in order.
        centres: side → int64 (N, P, 2), for every level of the images.
        size: side of a patch, odd.
    """
    found: dict[int, list[Floats]] = {side: [] for side in centres}
    first = 0
    for images in batches:
        with timed("pyramid"):
            levels = laplacian_pyramid(images)
        with timed("patches"):
            for side, level in levels.items():
                found[side].append(cut_patches(level, centres[side][first : first + len(images)], size))
        first += len(images)
    with timed("normalise"):
        return {side: normalise(np.concatenate(found.pop(side))) for side in centres}


def distance(a: Floats, b: Floats, directions: Floats) -> float:
    """Return the sliced Wasserstein distance of two descriptor sets along the given lines.

    Args:
        a: float32 (n, d).
        b: float32 (n, d).
        directions: float32 (d, k), unit columns.
    """
    lines = []
    for descriptors in (a, b):
        with timed("project"):
            projected = np.matmul(descriptors, directions)
        with timed("sort"):
            lines.append(np.sort(projected, axis=0))
    with timed("compare"):
        return float(np.abs(lines[0] - lines[1]).mean(dtype=np.float64))


def compare(
    a: Mapping[int, Floats], b: Mapping[int, Floats], directions: Mapping[int, Sequence[NDArray[Any]]]
) -> dict[int, float]:
    """Return side → distance × 1000, the mean over repeats.

    Args:
        a: what `describe` gave of one set.
        b: of the other, of equal shapes.
        directions: side → one float (k, d) a repeat, unit rows.
    """
    found = {}
    for side in a:
        lines = [np.ascontiguousarray(drawn.T, np.float32) for drawn in directions[side]]
        found[side] = 1000 * float(np.mean([distance(a[side], b[side], each) for each in lines]))
    return found


def _convolved(images: Floats, kernel: Floats) -> Floats:
    found: Floats = scipy.ndimage.convolve(images, kernel[None, None], mode="mirror")
    return found
