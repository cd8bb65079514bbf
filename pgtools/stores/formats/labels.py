"""Labels as the authors' tools keep them: an .npy of class numbers or one-hot rows beside the images."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.files import written_aside

# A class number that comes from a file is no larger: what counts classes or images keeps to 32 bits.
MAX_CLASS = 2**31 - 1
# A row of more classes than this is wider than most images; two images of class 400,000,000 would take 3.2 GB.
MAX_ONE_HOT_CLASSES = 65_536
# One-hot rows of other people may be wider, up to what one row may take in memory.
MAX_COLUMNS = 1 << 24
# Of rows that are in memory at once, as they are read and written.
READ_BYTES = 1 << 24


@dataclass(frozen=True)
class _Array:
    """What the header of an .npy says, and where its data begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool
    offset: int


def labels_path(path: Path) -> Path:
    """Return where the labels of an HDF5 store stand: NAME-labels.npy beside NAME.h5."""
    return path.with_name(f"{path.stem}-labels.npy")


def read_labels_file(path: Path, count: int) -> NDArray[np.int64] | None:
    """Return class numbers, int64 (count,), from an .npy; None if it is not there.

    Args:
        path: class numbers (N,) or one-hot rows (N, classes), of any number type; pickled objects are refused.
        count: how many there have to be.

    Raises:
        InputError: the file holds something else, or not as many.
    """
    if not path.is_file():
        return None
    array = _header(path)
    if array.dtype.kind not in "iufb":
        raise InputError(f"{path} holds {array.dtype}; expected class numbers or one-hot rows.")
    if len(array.shape) not in (1, 2) or array.shape[0] != count:
        raise InputError(f"{path} has shape {array.shape}; expected ({count},) or ({count}, classes).")
    return _numbers(path, array) if len(array.shape) == 1 else _numbers_of_rows(path, array)


def classes_of_file(path: Path) -> int | None:
    """Return how many classes a labels file tells: its columns; None for class numbers, and where no file is.

    Raises:
        InputError: it is no plain .npy.
    """
    if not path.is_file():
        return None
    shape = _header(path).shape
    return shape[1] if len(shape) == 2 else None


def label_bytes(count: int, classes: int) -> int:
    """Return about how many bytes `write_labels_file` writes for so many labels."""
    return count * (4 * classes if classes <= MAX_ONE_HOT_CLASSES else 8)


def write_labels_file(path: Path, labels: NDArray[np.int64], classes: int) -> None:
    """Write labels as an .npy, whole or not at all.

    One-hot rows, float32 (N, classes), as the authors' tools read them; class numbers, int64 (N,), where there are more
    than 65,536 classes.
    """
    with written_aside(path) as aside, aside.open("wb") as file:
        if classes <= MAX_ONE_HOT_CLASSES:
            write_one_hot(file, labels, classes)
        else:
            np.save(file, labels.astype(np.int64))


def write_one_hot(file: BinaryIO, labels: NDArray[np.int64], classes: int) -> None:
    """Write one-hot rows, float32 (N, classes), as an .npy, a few rows at a time."""
    head = {"descr": "<f4", "fortran_order": False, "shape": (len(labels), classes)}
    np.lib.format.write_array_header_1_0(file, head)
    at_once = max(1, READ_BYTES // (4 * classes))
    for start in range(0, len(labels), at_once):
        chunk = labels[start : start + at_once]
        rows = np.zeros((len(chunk), classes), "<f4")
        rows[np.arange(len(chunk)), chunk] = 1
        file.write(rows.tobytes())


def _header(path: Path) -> _Array:
    """Return the header of an .npy, after the size that it announces was held against the file's."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            left = os.fstat(file.fileno()).st_size - file.tell()
            if dtype.hasobject or math.prod(shape) * dtype.itemsize != left:
                raise ValueError(f"{dtype} {shape} in {left} bytes")
            return _Array(shape, dtype, by_columns, file.tell())
    except Exception as error:  # the header is a Python literal: ValueError, SyntaxError, TokenError, …
        raise InputError(f"{path} is not a plain .npy array ({_first_line(error)}).") from None


def _numbers(path: Path, array: _Array) -> NDArray[np.int64]:
    (values,) = [block for _, block in _blocks(path, array, 1, array.shape[0])]
    with np.errstate(invalid="ignore"):
        numbers: NDArray[np.int64] = values[0].astype(np.int64)
    wrong = (numbers != values[0]) | (numbers < 0) | (numbers > MAX_CLASS)
    if wrong.any():
        found = values[0][wrong][0]
        raise InputError(f"{path} has the class number {found}; expected whole numbers from 0 to {MAX_CLASS}.")
    return numbers


def _numbers_of_rows(path: Path, array: _Array) -> NDArray[np.int64]:
    count, columns = array.shape
    if columns > MAX_COLUMNS:
        raise InputError(f"{path} has rows of {columns} columns; expected {MAX_COLUMNS} at most.")
    numbers, ones = np.zeros(count, np.int64), np.zeros(count, np.int64)
    lines, length = (columns, count) if array.by_columns else (count, columns)
    plain = True
    for start, block in _blocks(path, array, lines, length):
        set_ = block == 1
        plain = plain and bool((set_ | (block == 0)).all())
        here = slice(start, start + len(block))
        if array.by_columns:
            ones += set_.sum(axis=0)
            numbers += np.arange(here.start, here.stop) @ set_
        else:
            ones[here], numbers[here] = set_.sum(axis=1), set_.argmax(axis=1)
    if not plain or not (ones == 1).all():
        raise InputError(f"{path} holds rows that are not one-hot; pgtools reads one class an image.")
    return numbers


def _blocks(path: Path, array: _Array, lines: int, length: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (number of the first, some lines of values as they follow one another in the file, (n, length))."""
    if not length:
        return
    at_once = max(1, READ_BYTES // (length * array.dtype.itemsize))
    with path.open("rb") as file:
        file.seek(array.offset)
        for start in range(0, lines, at_once):
            shape = min(at_once, lines - start), length
            data = file.read(math.prod(shape) * array.dtype.itemsize)
            if len(data) < math.prod(shape) * array.dtype.itemsize:
                raise InputError(f"{path} became shorter while it was read.")
            yield start, np.frombuffer(data, array.dtype).reshape(shape)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
