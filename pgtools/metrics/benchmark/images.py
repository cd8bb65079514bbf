"""Images to measure on: as many as wanted, of any size, in bounded memory, the same on every machine."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pgtools.runtime.seeds import stream

_HELD_BYTES = 64 << 20
_FEWEST, _MOST = 4, 256
# How fast detail fades with frequency, as in photographs; unlike in both sets, for a distance beyond the floor.
_STEEPNESS = {"real": 1.4, "fake": 1.5}
# Odd, so that multiples run through every shift of a power of two before one comes again.
_STRIDES = (40503, 24571)


class DrawnImages:
    """A set of coloured noise with the detail of photographs, made while it is read.

    A few fields are filtered once. They have no border, so an image is a field rolled by a shift of its own.

    Args:
        side: of the images in pixels.
        count: images that will be read at most; none depends on it.
        role: "real" or "fake": each set has fields of its own, the fake ones a little softer.
        device: where images are wanted.
    """

    def __init__(self, side: int, count: int, role: str, device: torch.device) -> None:
        self.side = side
        self._among = max(_FEWEST, min(_MOST, _HELD_BYTES // (3 * side**2)))
        self._fields = [_field(side, role, number).to(device) for number in range(min(count, self._among))]

    def read(self, indices: Sequence[int]) -> Tensor:
        """Return images by number, uint8 (n, 3, side, side)."""
        rolled = []
        for index in indices:
            round_, number = divmod(index, self._among)
            shifts = [round_ * stride % self.side for stride in _STRIDES]
            rolled.append(torch.roll(self._fields[number], shifts, (1, 2)))
        return torch.stack(rolled)


@functools.lru_cache(maxsize=2 * _MOST)
def _field(side: int, role: str, number: int) -> Tensor:
    """Return filtered noise without borders, uint8 (3, side, side)."""
    noise = stream(0, "bench-metrics", role, side, number).standard_normal((3, side, side))
    rows, columns = np.fft.fftfreq(side) * side, np.fft.rfftfreq(side) * side
    frequency = np.maximum(np.hypot(rows[:, None], columns), 1)
    planes = np.fft.irfft2(np.fft.rfft2(noise) / frequency ** _STEEPNESS[role], s=(side, side))
    planes /= planes.std()
    # Colours of photographs go together: most of what a channel shows, the others show too.
    mixed = planes + 2 * planes.mean(0, keepdims=True)
    return torch.from_numpy(np.clip(np.rint(128 + 25 * mixed), 0, 255).astype(np.uint8))
