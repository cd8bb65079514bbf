"""A file read by position: from any thread, after a fork or a pickle, without locks or a shared position."""

from __future__ import annotations

import errno
import io
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from pgtools.errors import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

State = tuple[int, int, int]


def state_of(status: os.stat_result) -> State:
    """Return what tells a file from the one that replaces it: inode, size, time of its last change in ns."""
    return status.st_ino, status.st_size, status.st_mtime_ns


class SlicedFile:
    """An open file that gives slices of itself. It is opened read-only, and anew wherever it is unpickled.

    Positional reads need no lock and no memory map, so a file that is cut short while it is read is an error here and
    not a crash, on network file systems too.

    Attributes:
        path: the file.
        size: its length in bytes when it was opened.
        state: what `state_of` said of it when it was opened.

    Raises:
        InputError: the file cannot be opened; its cause is the OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
            self._close = weakref.finalize(self, os.close, self._descriptor)
            self.state = state_of(os.fstat(self._descriptor))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
        self._seeking = threading.Lock()  # only where the system has no positional read
        self.size = self.state[1]

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on.

        Raises:
            InputError: the file does not reach that far, or cannot be read; its cause is then the OSError.
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

    def stream(self) -> SliceStream:
        """Return the file from its beginning, as others' readers take it; each stream has a position of its own."""
        return SliceStream(self)

    def __reduce__(self) -> tuple[type[SlicedFile], tuple[Path]]:
        return SlicedFile, (self.path,)

    def _read(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with self._seeking:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)


class SliceStream(io.RawIOBase):
    """A sliced file as a stream: reading in order, seeking, no writing. Closing it leaves the file open.

    Args:
        file: what it reads.

    Attributes:
        fault: the OSError that a read ended in, as some readers make "no such file format" of it.
    """

    def __init__(self, file: SlicedFile) -> None:
        super().__init__()
        self._file, self._position = file, 0
        self.fault: OSError | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position and return it.

        Raises:
            OSError: it is before the beginning.
        """
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as the file reaches and return how many bytes it got.

        Raises:
            OSError: the file cannot be read.
            InputError: it became shorter since it was opened.
        """
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._file.size - self._position))
        try:
            view[:count] = self._file.read(self._position, count) if count else b""
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                self.fault = error.__cause__
                raise self.fault from None
            raise
        self._position += count
        return count
