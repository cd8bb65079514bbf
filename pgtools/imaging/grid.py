"""Many images on one sheet."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def tile(images: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Return images tiled row by row, uint8 (N, 3, H, W) → (rows·H, columns·W, 3).

    Args:
        images: one or more.
        columns: images in a row; as square as N allows if not given. Places left over stay black.
    """
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, 3, height, width), np.uint8)
    sheet[:count] = images
    tiles = sheet.reshape(rows, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(tiles.reshape(rows * height, columns * width, 3))
