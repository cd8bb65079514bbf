"""Levels that are kept in memory once they were read: on the GPU where there is room, else in main memory."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.progan.feed.transfer import Transfer
from pgtools.runtime.memory import available_memory

# Of what is free when training begins, this share of main memory may be filled with images.
MEMORY_SHARE = 0.5
# Of what is free on the GPU when a level begins; the networks of the levels to come need the rest.
GPU_SHARE = 0.25
# Where the system does not tell what is free.
UNKNOWN_MEMORY = 8 << 30


class Kept:
    """All images of a source at one level, read when they are first wanted.

    Main memory is taken as images come, not at once.

    Args:
        size: number of images.
        level: their side.
        transfer: brings images to the training's device.
        on_device: keep them there.

    Attributes:
        images: uint8 (size, 3, level, level); an image that nobody claimed is not defined.
        direct: the same memory for readers to write to; None where the images come by way of `images`' device.
        bytes: size in memory.

    Raises:
        MemoryError, torch.OutOfMemoryError: there is no room.
    """

    def __init__(self, size: int, level: int, *, transfer: Transfer, on_device: bool) -> None:
        shape = size, 3, level, level
        self._claimed = np.zeros(size, bool)
        # Not torch.empty: in torch's deterministic mode it writes to all of it, which takes the memory at once.
        self.direct: NDArray[np.uint8] | None = None if on_device else np.empty(shape, np.uint8)
        self.images = transfer.empty(shape) if self.direct is None else torch.from_numpy(self.direct)
        self.bytes = self.images.numel()

    def claim(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of `numbers` that nobody claimed, each once; who claims an image has to bring it."""
        missing = np.unique(numbers[~self._claimed[numbers]])
        self._claimed[missing] = True
        return missing


class KeptLevels:
    """The levels held at a moment, within a budget of memory.

    Args:
        size: number of images of the source.
        gigabytes: 10^9 bytes of main memory for kept images; MEMORY_SHARE of what is free now if None; at 0 nothing is
            kept, on the GPU neither.
        share: of so many processes on this machine this is one, and takes its part.
        transfer: brings images to the training's device.
    """

    def __init__(self, size: int, gigabytes: float | None, *, share: int, transfer: Transfer) -> None:
        free = MEMORY_SHARE * (available_memory() or UNKNOWN_MEMORY)
        self._budget = round(free if gigabytes is None else gigabytes * 1e9) // share
        self._size, self._transfer = size, transfer
        self._held: dict[int, Kept] = {}
        self._refused: set[int] = set()

    def of(self, level: int) -> Kept | None:
        """Return a level that is kept, begun now if it fits beside the others; None if images are to be streamed.

        A level that does not fit is streamed until another is let go: asking the GPU at every minibatch would cost
        time, and a level begun half-way is read twice.
        """
        if level not in self._held and level not in self._refused:
            if (kept := self._begin(level)) is None:
                self._refused.add(level)
            else:
                self._held[level] = kept
        return self._held.get(level)

    def only(self, levels: Collection[int]) -> None:
        """Let go of all levels but these."""
        gone = self._held.keys() - set(levels)
        for level in gone:
            del self._held[level]
        # The room of a level that went may do for one that was refused beside it.
        self._refused = set() if gone else self._refused & set(levels)

    def _begin(self, level: int) -> Kept | None:
        needed = self._size * 3 * level**2
        on_device = self._budget > 0 and needed <= GPU_SHARE * self._transfer.free_on_device()
        in_memory = sum(kept.bytes for kept in self._held.values() if kept.direct is not None)
        if not on_device and in_memory + needed > self._budget:
            return None
        try:
            return Kept(self._size, level, transfer=self._transfer, on_device=on_device)
        except (MemoryError, torch.OutOfMemoryError):
            return None
