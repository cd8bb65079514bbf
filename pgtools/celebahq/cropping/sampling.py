"""Bilinear samples of a plane along an affine grid, with exact weights.

OpenCV 5 does so, fast; before it, `warpAffine` rounds positions to a 32nd of a pixel, which is too coarse for the exact
crop. Which one is installed is found out by trying, and PyTorch does it where OpenCV does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]
Vector: TypeAlias = NDArray[np.float64]
# Pixels of the picture that are sampled at a time: within them float32 holds positions to 10⁻⁴ pixels.
SPAN = 1500


def sample(planes: Sequence[Plane], outs: Plane, start: Vector, across: Vector, down: Vector) -> None:
    """Fill each of `outs` with bilinear samples: `out[j, i]` is the plane at `start + i·across + j·down`.

    Args:
        planes: float32 (H, W) each.
        outs: float32 (N, h, w), one for each plane; rows may lie apart.
        start: float64 (x, y) in pixels, a pixel's centre at +0.5. Beyond the border its pixels repeat.
        across: step from column to column.
        down: step from row to row.
    """
    _, rows, columns = outs.shape
    fill = _warp if warps_exactly() else _grid_sample
    (ax, ay), (dx, dy) = across.tolist(), down.tolist()
    together = max(1, int(SPAN / max(abs(ax), abs(ay), 1e-9)))
    for left in range(0, columns, together):
        right = min(left + together, columns)
        x, y = (start + left * across).tolist()
        width, height = right - left - 1, rows - 1
        xs = _range(x, ax * width, dx * height, planes[0].shape[1])
        ys = _range(y, ay * width, dy * height, planes[0].shape[0])
        matrix = np.array([[ax, dx, x - 0.5 - xs.start], [ay, dy, y - 0.5 - ys.start]])
        for plane, out in zip(planes, outs, strict=True):
            fill(plane[ys, xs], out[:, left:right], matrix)


@cache
def warps_exactly() -> bool:
    """Return whether this OpenCV's `warpAffine` interpolates at the very position."""
    ramp = np.tile(np.arange(16, dtype=np.float32), (16, 1))
    found = np.empty((4, 4), np.float32)
    _warp(ramp, found, np.array([[1.0, 0.0, 5.0137], [0.0, 1.0, 5.0]]))
    return bool(np.abs(found - (np.arange(4) + 5.0137)).max() < 1e-4)


def _range(start: float, across: float, down: float, length: int) -> slice:
    """Return which pixels along one axis a parallelogram of samples touches."""
    first = math.floor(start + min(across, 0) + min(down, 0)) - 2
    last = math.ceil(start + max(across, 0) + max(down, 0)) + 2
    first = min(max(first, 0), length - 1)
    return slice(first, max(last, first + 1))


def _warp(window: Plane, out: Plane, matrix: Vector) -> None:
    height, width = out.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(window, matrix, (width, height), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _grid_sample(window: Plane, out: Plane, matrix: Vector) -> None:
    import torch  # takes a second to import, and is not needed beside OpenCV 5

    (height, width), (rows, columns) = window.shape, out.shape
    i, j = np.arange(columns), np.arange(rows)[:, None]
    grid = np.empty((1, rows, columns, 2), np.float32)
    for axis, length in enumerate((width, height)):
        position = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2]
        grid[0, :, :, axis] = (2 * position + 1) / length - 1
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(window))[None, None],
        torch.from_numpy(grid),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    out[:] = sampled[0, 0].numpy()
