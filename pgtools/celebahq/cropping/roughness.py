"""How many samples the fast engine needs: what a picture's detail costs at each number of them.

Uniform noise, the roughest picture there is, was cropped at 1, 2 and 3 samples along the side of a pixel and compared
with the definition's 4, for every enlargement and several zooms and turns. The worst differences, in levels, are the
numbers below; a smoother picture's are smaller in proportion to its roughness.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK = 8
NOISE_ROUGHNESS = 300.0
# What may come on top of the differences that rounding makes, about 1.5 levels; and the most that all the picture
# may have on average, as a share of it.
ALLOWED, SPREAD = 2.2, 2.2
BEYOND_ALL = 10_000.0
# A bright dot alone is little of a block and still costs what a block of 0.225 times its Laplacian does: 8 levels at
# one sample, enlarged 4 times.
SPIKE = 0.225


def roughness(image: NDArray[np.uint8]) -> float:
    """Return the mean absolute Laplacian of the roughest 8² pixels, or what stands for it where that is more.

    That is 2.2 times the mean of the whole, and 0.225 times the largest of a single pixel.

    Args:
        image: uint8 (H, W, 3), before it is enlarged by Lanczos.

    Returns:
        0 for one colour, 30 to 150 for photographs, about 600 for uniform noise.
    """
    height, width = image.shape[:2]
    steep = cv2.convertScaleAbs(cv2.Laplacian(image, cv2.CV_16S), alpha=0.25)
    blocks = cv2.resize(steep, (-(-width // BLOCK), -(-height // BLOCK)), interpolation=cv2.INTER_AREA)
    whole, spike = float(np.max(cv2.mean(steep)[:3])), float(steep.max())
    return 4.0 * max(float(blocks.max()), SPREAD * whole, SPIKE * spike)


def oversampling_for(rough: float, *, factor: int, zoom: float) -> int:
    """Return the fewest samples along a pixel's side, 1 to 4, that keep the difference from 4 within the allowed.

    Args:
        rough: `roughness` of the picture.
        factor: that Lanczos enlarges it by.
        zoom: crop pixels per pixel of the enlarged picture, at most 1 where `factor` is more than 1.
    """
    errors = {1: _one(factor, zoom), 2: _two(factor, zoom), 3: _three(factor, zoom)}
    fitting = (count for count, error in errors.items() if error * rough <= ALLOWED * NOISE_ROUGHNESS)
    return next(fitting, 4)


def _one(factor: int, zoom: float) -> float:
    if factor == 1:
        return BEYOND_ALL
    return (48.0 if factor == 2 else 32.0) / (factor * zoom)


def _two(factor: int, zoom: float) -> float:
    if factor <= 2:
        return 18.0 if zoom >= 0.5 else 70.0
    return 32.0 / factor


def _three(factor: int, zoom: float) -> float:
    if factor >= 2:
        return 16.0 / factor  # 10 for noise; a line one pixel wide in an upright face has more
    return 13.0 if zoom >= 0.5 else 20.0
