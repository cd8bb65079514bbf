"""The sliced Wasserstein distance of two descriptor sets.

Source: Karras et al. 2018, section 5.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.swd.projection import Normalised, project
from pgtools.metrics.swd.transport import mean_gaps

# The lines of both sets together, and on CUDA the part of free memory they and their sorted copies take.
_BYTES_OF_LINES, _SHARE_OF_DEVICE = 1 << 30, 0.6


def normalise(descriptors: Tensor, channels: int = 3) -> Tensor:
    """Return descriptors whose channels have mean 0 and standard deviation 1 (population) over the set.

    Args:
        descriptors: float32 (n, channels·size²), the channel the slowest of the three axes within. A channel that is
            constant becomes 0.
        channels: of the images.
    """
    split = descriptors.double().reshape(len(descriptors), channels, -1)
    mean = split.mean((0, 2), keepdim=True)
    deviation = (split - mean).square().mean((0, 2), keepdim=True).sqrt()
    constant = (split == split[:1, :, :1]).flatten(2).all(2).all(0)[None, :, None]
    found = (split - mean) / torch.where(constant | (deviation == 0), 1.0, deviation)
    normalised: Tensor = found.masked_fill(constant, 0).flatten(1).to(descriptors.dtype)
    return normalised


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Return the sliced Wasserstein distance between two descriptor sets.

    Each direction projects both sets onto a line, where the distance is the mean gap of the sorted lists.

    Args:
        a: float32 (n, d), normalised (see `normalise`); where it lies, the distance is computed.
        b: the other set, of the same shape and device.
        directions: float64 (k, d), unit vectors, on any device.

    Returns:
        float >= 0, 0 for equal sets, lower is better; tables show it times 1000.

    Raises:
        InputError: the shapes differ or a set is empty.

    Source: Karras et al. 2018, section 5.
    """
    if a.shape != b.shape or a.ndim != 2 or not len(a):
        raise InputError(f"Descriptor sets of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected equal, not empty.")
    first, second = (Normalised(rows.detach().cpu().numpy(), np.zeros(1), np.ones(1)) for rows in (a, b))
    return float(np.mean(distances(first, second, directions.cpu().double().numpy(), Lines(a.device))))


class Lines:
    """Room for the lines of two sets, kept from level to level: memory asked for anew is slow to come.

    Args:
        device: where the lines are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._room = torch.empty(0, device=device)

    def directions_at_once(self, rows: int) -> int:
        """Return how many directions' lines of two sets, of so many rows each, there may be room for."""
        most = _BYTES_OF_LINES
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            most = int((free + self._room.nbytes) * _SHARE_OF_DEVICE)
        return max(1, most // (rows * 4 * 2))

    def pair(self, directions: int, rows: int) -> tuple[Tensor, Tensor]:
        """Return two tensors, float32 (directions, rows), of whatever they held before."""
        size = directions * rows
        if len(self._room) < 2 * size:
            # NumPy asks for memory in large pages, which come many times as fast.
            here = self.device.type == "cpu"
            room = (
                torch.from_numpy(np.empty(2 * size, np.float32)) if here else torch.empty(2 * size, device=self.device)
            )
            self._room = room
        return self._room[:size].view(directions, rows), self._room[size : 2 * size].view(directions, rows)


def distances(a: Normalised, b: Normalised, directions: NDArray[np.float64], lines: Lines) -> NDArray[np.float64]:
    """Return the distance along each direction, float64 (k,), as many directions at once as memory allows."""
    found: list[float] = []
    at_once = lines.directions_at_once(len(a.rows))
    for start in range(0, len(directions), at_once):
        some = directions[start : start + at_once]
        first, second = lines.pair(len(some), len(a.rows))
        project(a, some, lines.device, out=first)
        project(b, some, lines.device, out=second)
        found += mean_gaps(first, second)
    return np.array(found)
