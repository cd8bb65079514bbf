"""The level pyramid of the stores: 2×2 means in float, rounded only when written."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.imaging.conventions import quantise

LOWEST_LEVEL = 4
# Pixels of a plane from which OpenCV's mean, called plane by plane, beats NumPy's over all planes at once.
OPENCV_FROM = 64 * 64


@functools.cache
def levels_below(resolution: int) -> tuple[int, ...]:
    """Return the levels of a square image, e.g. 32 → (32, 16, 8, 4); a level is named by its side in pixels."""
    levels = []
    while resolution >= LOWEST_LEVEL:
        levels.append(resolution)
        resolution //= 2
    return tuple(levels)


def halve(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the 2×2 mean over the last two axes, float32 (…, H, W) → (…, H/2, W/2)."""
    height, width = images.shape[-2:]
    if height * width >= OPENCV_FROM:
        return _halve_planes(images)
    quarters = images[..., 0::2, 0::2] + images[..., 0::2, 1::2]
    quarters += images[..., 1::2, 0::2]
    quarters += images[..., 1::2, 1::2]
    return quarters * np.float32(0.25)


def _halve_planes(images: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = images.shape[-2:]
    halved = np.empty((*images.shape[:-2], height // 2, width // 2), np.float32)
    planes, targets = images.reshape(-1, height, width), halved.reshape(-1, height // 2, width // 2)
    for plane, target in zip(planes, targets, strict=True):
        cv2.resize(plane, (width // 2, height // 2), dst=target, interpolation=cv2.INTER_AREA)
    return halved


def mean_pyramid(images: NDArray[np.uint8]) -> dict[int, NDArray[np.uint8]]:
    """Return level → uint8 (…, level, level) for every level from the images' own side down to 4.

    Nothing is rounded between levels, so a level does not depend on how the one above it was stored.
    Sums of four 8-bit values stay exact in float32 down to 4² from 1024² (24-bit significand, 8 + 2·8 bits).
    """
    side = images.shape[-1]
    pyramid = {side: images}
    exact = images.astype(np.float32)
    for level in levels_below(side)[1:]:
        exact = halve(exact)
        pyramid[level] = quantise(exact)
    return pyramid


def mean_level(images: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """Return one level of `mean_pyramid`, uint8 (…, level, level), without rounding the levels above it."""
    if level == images.shape[-1]:
        return images
    exact = images.astype(np.float32)
    while exact.shape[-1] > level:
        exact = halve(exact)
    return quantise(exact)
