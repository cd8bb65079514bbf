"""Labels as the authors' tools keep them: an .npy of class numbers or one-hot rows beside the images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.files import written_aside


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
    labels = _load(path)
    if labels.dtype.kind not in "iufb":
        raise InputError(f"{path} holds {labels.dtype}; expected class numbers or one-hot rows.")
    if labels.ndim not in (1, 2) or labels.shape[0] != count:
        raise InputError(f"{path} has shape {labels.shape}; expected ({count},) or ({count}, classes).")
    if labels.ndim == 2:
        if not ((labels == 0) | (labels == 1)).all() or not (labels.sum(axis=1) == 1).all():
            raise InputError(f"{path} holds rows that are not one-hot; pgtools reads one class an image.")
        labels = labels.argmax(axis=1)
    numbers: NDArray[np.int64] = labels.astype(np.int64)
    if not (numbers == labels).all() or numbers.min() < 0:
        raise InputError(f"{path} has the class number {labels.min()}; expected whole numbers from 0 up.")
    return numbers


def one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return one-hot rows, float32 (N, classes), as the authors' data set tools write them."""
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def write_labels_file(path: Path, labels: NDArray[np.int64], classes: int) -> None:
    """Write one-hot labels, float32 (N, classes), whole or not at all."""
    with written_aside(path) as aside, aside.open("wb") as file:
        np.save(file, one_hot(labels, classes))


def _load(path: Path) -> NDArray[np.generic]:
    """Load an .npy without pickle, after its announced size was held against the file's."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            left = os.fstat(file.fileno()).st_size - file.tell()
            if dtype.hasobject or int(np.prod(shape, dtype=object)) * dtype.itemsize != left:
                raise ValueError(f"{dtype} {shape} in {left} bytes")
        loaded: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except Exception as error:  # the header is a Python literal: ValueError, SyntaxError, TokenError, …
        raise InputError(f"{path} is not a plain .npy array ({_first_line(error)}).") from None
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
