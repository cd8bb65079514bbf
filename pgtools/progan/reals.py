"""The real images of training: which one comes when, and where its pixels are kept."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from pgtools.runtime.progress import bar
from pgtools.runtime.seeds import stream
from pgtools.stores.source import ImageSource

# A level that fits is read once; above it each batch is read as it comes, one ahead.
CACHE_BYTES = 2 << 30
# Images read at once: a source that has only its top level turns that into float32, four times these bytes.
READ_BYTES, READ_AT_ONCE = 64 << 20, 256


class Reals:
    """Batches of real images in an order that the seed and the number of images shown determine.

    Every epoch is a permutation of its own, so a resumed run meets the same images as an uninterrupted one.

    Args:
        source: where the images come from.
        seed: names the order.
        cache_bytes: the live level is kept in memory up to this size.
    """

    def __init__(self, source: ImageSource, seed: int, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._source, self._seed, self._cache_bytes = source, seed, cache_bytes
        self._level, self._kept = 0, np.zeros(0, np.uint8)
        self._epoch, self._order = -1, np.zeros(0, np.int64)
        self._reader = ThreadPoolExecutor(1)
        self._ahead: tuple[tuple[int, int, int], Future[NDArray[np.uint8]]] | None = None

    def batch(self, shown: int, count: int, level: int) -> NDArray[np.uint8]:
        """Return the next `count` images at a level after `shown` ones, uint8 (count, 3, level, level)."""
        if len(self._source) * 3 * level**2 <= self._cache_bytes:
            return self._all_at(level)[self.indices(shown, count)]
        wanted, following = (shown, count, level), (shown + count, count, level)
        if self._ahead and self._ahead[0] == wanted:
            images = self._ahead[1].result()
        else:
            images = self._source.read(self.indices(shown, count).tolist(), level)
        indices = self.indices(shown + count, count).tolist()
        self._ahead = following, self._reader.submit(self._source.read, indices, level)
        return images

    def prepare(self, level: int) -> None:
        """Read a level that is kept in memory, if it is not there yet."""
        if len(self._source) * 3 * level**2 <= self._cache_bytes:
            self._all_at(level)

    def indices(self, shown: int, count: int) -> NDArray[np.int64]:
        """Return the numbers of the `count` images that follow the first `shown` ones."""
        size = len(self._source)
        positions = np.arange(shown, shown + count)
        parts = [
            self._order_of(int(epoch))[positions[positions // size == epoch] % size]
            for epoch in np.unique(positions // size)
        ]
        return np.concatenate(parts)

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = stream(self._seed, "order", epoch).permutation(len(self._source))
        return self._order

    def _all_at(self, level: int) -> NDArray[np.uint8]:
        if level != self._level:
            size = len(self._source)
            at_once = max(1, min(READ_AT_ONCE, READ_BYTES // (3 * self._source.resolution**2)))
            self._level, self._kept = level, np.empty((size, 3, level, level), np.uint8)
            with bar(f"Reading {size} images at {level}²", size) as advance:
                for start in range(0, size, at_once):
                    chunk = range(start, min(start + at_once, size))
                    self._kept[start : chunk.stop] = self._source.read(chunk, level)
                    advance(len(chunk))
        return self._kept
