"""The nearest rows of a long list, found while the list streams by: pure, tensors in, distances and numbers out.

Convention: equal distances are in the order of the numbers. Distances between pixels are sums of whole numbers under
2^53, computed in float64 and int64, hence exact: no result depends on batches, order or device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError

# Values of differences that are held at once.
DIFFERENCES_AT_ONCE = 1 << 24


class Nearest:
    """The `nearest` smallest distances from each of some queries, and whose they are.

    Args:
        queries: how many.
        nearest: how many are kept for each.

    Attributes:
        distances: float64 (queries, found), rising; found ≤ nearest.
        numbers: int64 (queries, found).
    """

    def __init__(self, queries: int, nearest: int) -> None:
        self.nearest = nearest
        self.distances: NDArray[np.float64] = np.zeros((queries, 0))
        self.numbers: NDArray[np.int64] = np.zeros((queries, 0), np.int64)

    def update(self, distances: NDArray[np.float64], numbers: Sequence[int]) -> None:
        """Take the distances to some more rows.

        Args:
            distances: (queries, n).
            numbers: of the rows, each once in all.
        """
        repeated = np.broadcast_to(np.asarray(numbers, np.int64), distances.shape)
        distances = np.concatenate([self.distances, distances], axis=1)
        found = np.concatenate([self.numbers, repeated], axis=1)
        order = np.lexsort((found, distances), axis=1)[:, : self.nearest]
        self.distances = np.take_along_axis(distances, order, axis=1)
        self.numbers = np.take_along_axis(found, order, axis=1)


def middle(images: Tensor, crop: float) -> Tensor:
    """Return the middle square of images, (N, C, H, W) → (N, C, s, s), s = H·crop rounded to H's parity, at least 1.

    So as many pixels are left out on either side.
    """
    side = images.shape[-1]
    rim = round(side * (1 - crop) / 2)
    rim = min(rim, (side - 1) // 2)
    return images[..., rim : side - rim, rim : side - rim]


def root_mean_square(queries: Tensor, rows: Tensor) -> NDArray[np.float64]:
    """Return the root of the mean squared difference, float64 (Q, N), in levels of 255.

    Args:
        queries: uint8 (Q, …).
        rows: uint8 (N, …), of the same shape otherwise and on the same device.

    Raises:
        InputError: the shapes differ.
    """
    a, b = _flat(queries, rows)
    a, b = a.double(), b.double()
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * (a @ b.T)
    found: NDArray[np.float64] = (squares / a.shape[1]).sqrt().cpu().numpy()
    return found


def mean_difference(queries: Tensor, rows: Tensor) -> NDArray[np.float64]:
    """Return the mean absolute difference, float64 (Q, N), in levels of 255; arguments as of `root_mean_square`."""
    a, b = _flat(queries, rows)
    at_once = max(1, DIFFERENCES_AT_ONCE // max(b.shape[1], 1))
    found = torch.empty((len(a), len(b)), dtype=torch.float64)
    for start in range(0, len(b), at_once):
        part = b[start : start + at_once].short()
        for i, query in enumerate(a):
            sums = (part - query.short()).abs().sum(1, dtype=torch.int64)
            found[i, start : start + at_once] = sums.double().cpu() / b.shape[1]
    return found.numpy()


def euclidean(queries: Tensor, rows: Tensor) -> NDArray[np.float64]:
    """Return the Euclidean distance between features, float (Q, d) and (N, d) → float64 (Q, N).

    The differences are taken first, so that equal features have distance 0.

    Raises:
        InputError: the shapes differ.
    """
    a, b = _flat(queries, rows)
    found = [(b.double() - query.double()).square().sum(1).sqrt() for query in a]
    distances: NDArray[np.float64] = torch.stack(found).cpu().numpy()
    return distances


def _flat(queries: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    if queries.shape[1:] != rows.shape[1:]:
        raise InputError(f"Images of {tuple(queries.shape[1:])} and {tuple(rows.shape[1:])} cannot be compared.")
    return queries.flatten(1), rows.flatten(1)
