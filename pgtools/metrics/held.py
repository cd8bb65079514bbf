"""Numbered rows that metrics keep of a set: in memory while there is room, else in a file without a name."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pgtools.runtime.files import check_free_space
from pgtools.runtime.memory import available_memory

# Where the system does not tell what is free.
_UNKNOWN = 8 << 30


class Budget:
    """How much memory the rows of an evaluation may take together.

    Args:
        gigabytes: 10^9 bytes; half of what is free now if not given.
    """

    def __init__(self, gigabytes: float | None = None) -> None:
        free = (available_memory() or _UNKNOWN) // 2
        self.left = free if gigabytes is None else int(gigabytes * 1e9)

    def take(self, count: int) -> bool:
        """Return whether `count` bytes fit, and if so count them as taken."""
        fits = count <= self.left
        if fits:
            self.left -= count
        return fits

    def give_back(self, count: int) -> None:
        """Count `count` bytes as free again."""
        self.left += count


class Held:
    """Rows of one shape and type, written by number, read as one array.

    Rows that do not fit the budget lie in a file in the folder of temporary files ($TMPDIR), which has no name there
    and is gone with the process, however that ends.

    Args:
        rows: their number.
        shape: of a row.
        dtype: of a row.
        budget: what is left of the memory.

    Raises:
        OutputError: there is no room in memory, and none on the disk.
    """

    def __init__(self, rows: int, shape: Sequence[int], dtype: DTypeLike, budget: Budget) -> None:
        self._shape, self._dtype = (rows, *shape), np.dtype(dtype)
        self._bytes, self._budget = math.prod(self._shape) * self._dtype.itemsize, budget
        self._file: Any = None
        self.spilled = not budget.take(self._bytes)
        self.array: NDArray[Any]
        if self.spilled:
            check_free_space(Path(tempfile.gettempdir()), self._bytes)
            self._file = tempfile.TemporaryFile(prefix="pgtools-")  # noqa: SIM115 - closed by `close`
            self._file.truncate(max(self._bytes, 1))
            self.array = np.memmap(self._file, self._dtype, mode="r+", shape=self._shape)
        else:
            self.array = np.empty(self._shape, self._dtype)

    def close(self) -> None:
        """Let go of memory and file."""
        self.array = np.empty((0, *self._shape[1:]), self._dtype)
        if self._file is not None:
            self._file.close()
            self._file = None
        elif self._bytes:
            self._budget.give_back(self._bytes)
        self._bytes = 0
