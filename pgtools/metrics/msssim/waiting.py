"""Images that wait for their partners: in memory, or on disk where they are too many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pgtools.metrics.held import Budget, Held

BLOCK_BYTES = 64 << 20


class Waiting:
    """Images by number; room is taken as they come, and used again when they go.

    Args:
        shape: of an image, (C, R, R).
        budget: the memory they may take; the rest lies in temporary files.
    """

    def __init__(self, shape: Sequence[int], budget: Budget) -> None:
        self._shape, self._budget = tuple(shape), budget
        self._in_block = max(1, BLOCK_BYTES // int(np.prod(self._shape)))
        self._blocks: list[Held] = []
        self._free: list[int] = []
        self._place: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._place

    def __len__(self) -> int:
        return len(self._place)

    @property
    def numbers(self) -> list[int]:
        """Of the images that wait, in the order they came."""
        return list(self._place)

    def put(self, number: int, image: NDArray[np.uint8]) -> None:
        """Keep an image.

        Raises:
            OutputError: there is no room for more, in memory or on the disk.
        """
        if not self._free:
            first = len(self._blocks) * self._in_block
            self._blocks.append(Held(self._in_block, self._shape, np.uint8, self._budget))
            self._free = list(range(first + self._in_block - 1, first - 1, -1))
        place = self._place[number] = self._free.pop()
        self._blocks[place // self._in_block].array[place % self._in_block] = image

    def get(self, numbers: Sequence[int]) -> NDArray[np.uint8]:
        """Return images that wait, uint8 (N, C, R, R)."""
        images = np.empty((len(numbers), *self._shape), np.uint8)
        for image, place in zip(images, (self._place[number] for number in numbers), strict=True):
            image[...] = self._blocks[place // self._in_block].array[place % self._in_block]
        return images

    def drop(self, number: int) -> None:
        """Forget an image."""
        self._free.append(self._place.pop(number))

    def close(self) -> None:
        """Forget all."""
        for block in self._blocks:
            block.close()
        self._blocks, self._free, self._place = [], [], {}
