"""Generated images and their neighbours on one sheet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WHITE = 255
# Of the side: between a generated image and its neighbours, and between any two.
GAP, LINE = 0.25, 1 / 32


def sheet(generated: NDArray[np.uint8], neighbours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture, uint8 (height, width, 3) on white, a row for each generated image.

    The generated image is on the left; to its right, beyond a gap, are its neighbours, the nearest first. Pixels are
    those of the images: nothing is resized.

    Args:
        generated: uint8 (K, 3, R, R).
        neighbours: uint8 (K, M, 3, R, R).
    """
    rows, columns, _, side, _ = neighbours.shape
    gap, line = max(2, round(side * GAP)), max(1, round(side * LINE))
    step = side + line
    width = side + gap + columns * step - line
    picture = np.full((rows * step - line, width, 3), WHITE, np.uint8)
    for row in range(rows):
        top = row * step
        for column, image in enumerate([generated[row], *neighbours[row]]):
            left = 0 if column == 0 else side + gap + (column - 1) * step
            picture[top : top + side, left : left + side] = image.transpose(1, 2, 0)
    return picture
