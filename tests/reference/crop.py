"""The crop of the spec in plain float64 NumPy and SciPy, written from its sentences; slow, and nothing is shared."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray


def quad_of(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners TL, BL, BR, TR, by the paper's formulas with complex numbers for points."""
    e0, e1, _, m0, m1 = (complex(x + 0.5, y + 0.5) for x, y in landmarks)
    x_prime, down = e1 - e0, (m0 + m1) / 2 - (e0 + e1) / 2
    centre = (e0 + e1) / 2 + 0.1 * down
    side = max(4.0 * abs(x_prime), 3.6 * abs(down))
    x = x_prime - 1j * down  # rot90(v) = i·v while y points down
    x *= side / 2 / abs(x)
    y = 1j * x
    corners = [centre - x - y, centre - x + y, centre + x + y, centre + x - y]
    return np.array([(c.real, c.imag) for c in corners])


def pad(image: NDArray[np.uint8], pads: tuple[int, int, int, int], sigma: float) -> NDArray[np.uint8]:
    """Reflect, blur and fade to the median beyond the border; pads are left, top, right, bottom."""
    left, top, right, bottom = pads
    wide = np.pad(image.astype(np.float64), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = wide.shape[:2]
    mask = np.zeros((height, width, 1))
    for y in range(height):
        for x in range(width):
            nearest = min(x / left, y / top, (width - 1 - x) / right, (height - 1 - y) / bottom)
            mask[y, x] = 1 - nearest
    blurred = scipy.ndimage.gaussian_filter(wide, (sigma, sigma, 0))
    wide += (blurred - wide) * np.clip(3 * mask + 1, 0, 1)
    wide += (np.median(wide, axis=(0, 1)) - wide) * np.clip(mask, 0, 1)
    return np.clip(np.rint(wide), 0, 255).astype(np.uint8)
