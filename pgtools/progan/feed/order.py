"""Which image comes when: every epoch is a permutation of its own, named by the seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgtools.runtime.seeds import stream


class Order:
    """The order in which a run shows the images of a source, from its first image to any later one.

    It depends on the seed and on the number of images alone, so a resumed run meets the same images, and so do any
    number of processes that divide a minibatch among them.

    Args:
        size: number of images of the source, at least 1.
        seed: names the order.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed
        self._epoch, self._permutation = -1, np.zeros(0, np.int64)

    def numbers(self, shown: int, count: int) -> NDArray[np.int64]:
        """Return the numbers of the `count` images that follow the first `shown` ones, int64 (count,)."""
        positions = np.arange(shown, shown + count)
        epochs = positions // self._size
        parts = [
            self._of(int(epoch))[positions[epochs == epoch] % self._size]
            for epoch in range(shown // self._size, (shown + count - 1) // self._size + 1)
        ]
        return np.concatenate(parts)

    def _of(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = stream(self._seed, "order", epoch).permutation(self._size)
        return self._permutation
