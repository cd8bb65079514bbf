"""Descriptors become numbers on lines: normalised by their own set, then projected."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.metrics.phases import timed
from pgtools.runtime.workers import cpu_count

# Rows in the matrix product at once, and rows that a thread normalises while they are in its cache.
_ROWS, _BLOCK = 1 << 14, 1 << 11


@dataclass(frozen=True)
class Normalised:
    """Descriptors of a set and level, and what makes each channel's mean 0 and deviation 1.

    So a cast or a contrast that all images of a set share is not seen.

    Attributes:
        rows: float32 (n, C·size²) as they are in the pyramid, the channel the slowest of the axes within.
        mean, deviation: float64 (C,), over all rows.
    """

    rows: NDArray[np.float32]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.mean)

    def normalise(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return some rows normalised; computed in float64, so that rounding has no direction."""
        split = rows.reshape(len(rows), self.channels, -1)
        found = (split.astype(np.float64) - self.mean[:, None]) / self.deviation[:, None]
        return found.astype(np.float32).reshape(rows.shape)


def project(
    descriptors: Normalised, directions: NDArray[np.float64], device: torch.device, *, out: Tensor | None = None
) -> Tensor:
    """Return every descriptor along every direction, float32 (k, n) on the device.

    Args:
        descriptors: n of them.
        directions: float64 (k, C·size²).
        device: on the CPU the product is in float32, elsewhere in float64, where TF32 cannot reach it.
        out: what to write it to, if given.
    """
    lines = torch.empty((len(directions), len(descriptors.rows)), device=device) if out is None else out
    if device.type == "cpu":
        _project_here(descriptors, directions.astype(np.float32), lines.numpy())
    else:
        project_by_torch(descriptors, directions, lines)
    return lines


def project_by_torch(descriptors: Normalised, directions: NDArray[np.float64], lines: Tensor) -> None:
    """Write what `project` returns, on the device of `lines`."""
    device = lines.device
    wide = torch.from_numpy(directions).to(device)
    mean, deviation = (torch.from_numpy(x).to(device)[:, None] for x in (descriptors.mean, descriptors.deviation))
    with timed("project"), torch.no_grad():
        for start, stop in _chunks(lines.shape[1]):
            rows = torch.from_numpy(descriptors.rows[start:stop]).to(device).double()
            rows = (rows.view(len(rows), descriptors.channels, -1) - mean) / deviation
            # Rounded to float32 as on the CPU: descriptors are defined in it.
            lines[:, start:stop] = wide @ rows.flatten(1).float().double().T


def _project_here(descriptors: Normalised, directions: NDArray[np.float32], lines: NDArray[np.float32]) -> None:
    buffer = np.empty((min(_ROWS, lines.shape[1]), directions.shape[1]), np.float32)
    threads = cpu_count()
    with ThreadPoolExecutor(threads) as pool:
        for start, stop in _chunks(lines.shape[1]):
            rows, found = descriptors.rows[start:stop], buffer[: stop - start]

            def block(at: int, rows: NDArray[np.float32] = rows, found: NDArray[np.float32] = found) -> None:
                found[at : at + _BLOCK] = descriptors.normalise(rows[at : at + _BLOCK])

            with timed("normalise"):
                list(pool.map(block, range(0, len(rows), _BLOCK)))
            with timed("project"):
                np.matmul(directions, found.T, out=lines[:, start:stop])


def _chunks(count: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _ROWS, count)) for start in range(0, count, _ROWS))
