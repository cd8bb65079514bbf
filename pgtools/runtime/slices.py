"""A file read by position: from any thread, after a fork or a pickle, without locks or a shared position."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path

from pgtools.errors import InputError


class SlicedFile:
    """An open file that gives slices of itself. It is opened read-only, and anew wherever it is unpickled.

    Positional reads need no lock and no memory map, so a file that is cut short while it is read is an error here and
    not a crash, on network file systems too.

    Attributes:
        path: the file.
        size: its length in bytes when it was opened.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._seeking = threading.Lock()  # only where the system has no positional read
        self.size = os.fstat(self._descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises:
            InputError: the file does not reach that far, or cannot be read.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise InputError(f"{self.path} is cut short: {size} bytes at {offset} of {self.size}.")
        try:
            data = self._read(offset, size)
            while len(data) < size:  # a read may give less than asked, 2 GiB at most
                more = self._read(offset + len(data), size - len(data))
                if not more:
                    raise InputError(f"{self.path} became shorter while it was read.")
                data += more
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}).") from error
        return data

    def __reduce__(self) -> tuple[type[SlicedFile], tuple[Path]]:
        return SlicedFile, (self.path,)

    def _read(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)
