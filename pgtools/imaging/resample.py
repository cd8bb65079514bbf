"""Resizing with the filter in the name: library, filter and quantisation are part of every result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pillow's filters, antialiased when they make an image smaller (nearest is not).
FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


def lanczos(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return a uint8 RGB image resized by Pillow's antialiased Lanczos (a = 3), rounded to uint8."""
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def enlarge_nearest(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the image with every pixel repeated `factor` times along both axes; (H, W, C) or (H, W)."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
