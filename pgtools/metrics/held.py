"""Numbered rows that metrics keep of a set: in memory while there is room, else in a file without a name."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pgtools.errors import OutputError
from pgtools.runtime.files import check_free_space, human_bytes
from pgtools.runtime.memory import available_memory

# Where the system does not tell what is free.
_UNKNOWN = 8 << 30
_ZEROS = bytes(1 << 20)
_HINT = "Set TMPDIR to a folder on a larger disk, allow more memory (--memory GB), or measure fewer images."


class Budget:
    """How much memory the rows of an evaluation may take together: of all its metrics, and of both sets.

    Args:
        gigabytes: 10^9 bytes; half of what is free now if not given.
        share: of so many processes on this machine this is one, and takes its part.
    """

    def __init__(self, gigabytes: float | None = None, *, share: int = 1) -> None:
        free = (available_memory() or _UNKNOWN) // 2
        self.left = (free if gigabytes is None else round(gigabytes * 1e9)) // share

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
    and is gone with the process, however that ends. Its disk space is taken at once: a write into the map of a file
    that the disk has no room for kills the process (SIGBUS).

    Args:
        rows: their number.
        shape: of a row.
        dtype: of a row.
        budget: what is left of the memory.

    Attributes:
        array: the rows.
        spilled: they lie in a file.
        row_bytes: of one row.

    Raises:
        OutputError: there is no room in memory, and none on the disk.
    """

    def __init__(self, rows: int, shape: Sequence[int], dtype: DTypeLike, budget: Budget) -> None:
        self._shape, self._dtype = (rows, *shape), np.dtype(dtype)
        self.row_bytes = math.prod(shape) * self._dtype.itemsize
        self._bytes, self._budget = rows * self.row_bytes, budget
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self.spilled = not budget.take(self._bytes)
        self.array: NDArray[Any]
        if self.spilled:
            self._file = _temporary_file(max(self._bytes, 1))
            self._map = mmap.mmap(self._file.fileno(), max(self._bytes, 1))
            self.array = np.frombuffer(self._map, np.uint8)[: self._bytes].view(self._dtype).reshape(self._shape)
        else:
            self.array = np.empty(self._shape, self._dtype)

    def page_out(self) -> None:
        """Let what lies in the file leave this process's memory until it is wanted again; nothing is lost."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Let go of memory and file."""
        self._map = None
        self.array = np.empty((0, *self._shape[1:]), self._dtype)
        if self._file is not None:
            self._file.close()
            self._file = None
        elif self._bytes:
            self._budget.give_back(self._bytes)
        self._bytes = 0


def _temporary_file(count: int) -> IO[bytes]:
    """Return a file without a name of so many bytes, all of which have their place on the disk.

    Raises:
        OutputError: there is no room.
    """
    try:
        folder = Path(tempfile.gettempdir())
        check_free_space(folder, count)
        file = tempfile.TemporaryFile(prefix="pgtools-")  # noqa: SIM115 - closed by `Held.close`
    except OutputError as error:
        raise OutputError(error.message, hint=_HINT) from None
    except OSError as error:
        raise OutputError(f"No temporary file can be made ({error.strerror or error}).", hint=_HINT) from None
    try:
        _reserve(file, count)
    except OSError as error:
        file.close()
        raise OutputError(
            f"{folder} has no room for a temporary file of {human_bytes(count)} ({error.strerror or error}).",
            hint=_HINT,
        ) from None
    return file


def _reserve(file: IO[bytes], count: int) -> None:
    """Make a file `count` bytes long and take their place on the disk; OSError where there is none."""
    allocate = getattr(os, "posix_fallocate", None)  # neither macOS nor Windows has it
    if allocate is not None:
        try:
            allocate(file.fileno(), 0, count)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        else:
            return
    for start in range(0, count, len(_ZEROS)):
        file.write(_ZEROS[: count - start])
    file.flush()
