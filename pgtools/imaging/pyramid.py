"""The level pyramid of the stores: 2×2 means in float, rounded only when written."""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.imaging.conventions import quantise

Floats = NDArray[np.floating[Any]]
LOWEST_LEVEL = 4
EXACT_UP_TO = 1024
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


def exact(images: NDArray[np.uint8]) -> Floats:
    """Return the images as floating-point numbers whose 2×2 means stay exact down to 4², whatever is summed first.

    A cell of level 4 is a sum of 8 + 2·log2(side / 4) bits: float32 holds that up to 1024² (24 bits), float64 beyond.
    """
    return images.astype(np.float32 if images.shape[-1] <= EXACT_UP_TO else np.float64)


def halve(images: Floats) -> Floats:
    """Return the 2×2 mean over the last two axes, (…, H, W) → (…, H/2, W/2), of the same type."""
    height, width = images.shape[-2:]
    if height * width >= OPENCV_FROM:
        return _halve_planes(images)
    quarters: Floats = images[..., 0::2, 0::2] + images[..., 0::2, 1::2]
    quarters += images[..., 1::2, 0::2]
    quarters += images[..., 1::2, 1::2]
    quarters *= 0.25
    return quarters


def _halve_planes(images: Floats) -> Floats:
    height, width = images.shape[-2:]
    halved: Floats = np.empty((*images.shape[:-2], height // 2, width // 2), images.dtype)
    planes, targets = images.reshape(-1, height, width), halved.reshape(-1, height // 2, width // 2)
    for plane, target in zip(planes, targets, strict=True):
        cv2.resize(plane, (width // 2, height // 2), dst=target, interpolation=cv2.INTER_AREA)
    return halved


def mean_pyramid(images: NDArray[np.uint8]) -> dict[int, NDArray[np.uint8]]:
    """Return level → uint8 (…, level, level) for every level from the images' own side down to 4.

    Nothing is rounded between levels, so a level does not depend on how the one above it was stored.
    """
    side = images.shape[-1]
    pyramid, means = {side: images}, exact(images)
    for level in levels_below(side)[1:]:
        means = halve(means)
        pyramid[level] = quantise(means)
    return pyramid


def mean_level(images: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """Return one level of `mean_pyramid`, uint8 (…, level, level), without rounding the levels above it."""
    if level == images.shape[-1]:
        return images
    means = exact(images)
    while means.shape[-1] > level:
        means = halve(means)
    return quantise(means)
