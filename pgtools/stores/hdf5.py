"""HDF5 stores as the authors' first trainer used them: `data{R}x{R}`, uint8 N×C×H×W, one data set a level."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.pyramid import LOWEST_LEVEL, levels_below
from pgtools.stores import layout
from pgtools.stores.layout import Header, Record
from pgtools.stores.source import LevelStore, content_hash

# Small images share a chunk, so that reading them in order is not one disk access each.
CHUNK_BYTES = 1 << 16


class Hdf5Store(LevelStore):
    """An HDF5 file of image pyramids, ours or the authors'; opened anew in each process that reads it."""

    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        self._file: h5py.File | None = None
        self._process = 0
        file = self._open()
        self._stored = _levels(file)
        if not self._stored:
            raise InputError(f"{path} is an HDF5 file without data sets such as 'data4x4' (N×C×H×W).")
        self.resolution = max(self._stored)
        self._count = int(file[self._stored[self.resolution]].shape[0])
        if not self._count:
            raise InputError(f"{path} holds no images.")
        for key in self._stored.values():
            _check_level(file[key], self._count, where=str(path))
        header = file.attrs.get(layout.HDF5_HEADER)
        self.header = layout.header_from_json(header, where=str(path)) if header is not None else None
        self.labels = _read_labels(labels_path(path), self._count)

    def __len__(self) -> int:
        return self._count

    @property
    def stored_levels(self) -> Collection[int]:
        """The levels that need not be computed."""
        return self._stored

    def image_hashes(self, indices: Sequence[int]) -> list[str]:
        """Return each image's SHA-256: from the store's column if pgtools wrote it, else by reading the images."""
        if not self.header or layout.HDF5_HASHES not in self._open():
            return super().image_hashes(indices)
        wanted = self._checked(indices)
        column = self._take(layout.HDF5_HASHES, slice(None)).astype("S64")
        if column.shape != (self._count, 1):
            raise InputError(f"{self.name}: its column of hashes is {column.shape}.", hint="Build the store again.")
        hashes = [bytes(text).decode("ascii", "replace") for text in column[wanted, 0]]
        if not all(layout.is_hash(text) for text in hashes):
            raise InputError(f"{self.name}: its column of hashes is damaged.", hint="Build the store again.")
        return hashes

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}

    def read_stored(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level."""
        # h5py takes ascending indices without repeats.
        ascending, places = np.unique(self._checked(indices), return_inverse=True)
        images = self._take(self._stored[level], ascending.tolist())[places]
        colour: NDArray[np.uint8] = images if images.shape[1] == 3 else images.repeat(3, axis=1)
        return colour

    def _checked(self, indices: Sequence[int]) -> NDArray[np.int64]:
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self._count):
            raise InputError(f"{self.name} holds {self._count} images; index {wanted.max()} was asked for.")
        return wanted

    def _take(self, dataset: str, rows: list[int] | slice) -> NDArray[Any]:
        try:
            taken: NDArray[Any] = self._open()[dataset][rows]
        except OSError as error:
            raise InputError(f"{self.name} is damaged in {dataset} ({error}).", hint="Build it again.") from None
        return taken

    def _open(self) -> h5py.File:
        if self._file is None or self._process != os.getpid():
            try:
                self._file, self._process = h5py.File(self.path, "r"), os.getpid()
            except OSError as error:
                raise InputError(f"{self.path} is not a readable HDF5 file ({error}).") from None
        return self._file


class Hdf5Writer:
    """Writes a new HDF5 store, image after image; `with` closes it. The header goes in last.

    Args:
        path: a file that does not exist; write aside and rename (see runtime.files.written_aside).
        resolution: side of the images.
        count: how many images will come: the data sets have their final shape from the start.
    """

    def __init__(self, path: Path, resolution: int, count: int) -> None:
        self._file = h5py.File(path, "w", libver="earliest")
        self._levels = levels_below(resolution)
        self._hashes: list[str] = []
        for level in self._levels:
            together = max(1, min(count, CHUNK_BYTES // (3 * level * level)))
            shape, chunks = (count, 3, level, level), (together, 3, level, level)
            self._file.create_dataset(layout.hdf5_dataset(level), shape, np.uint8, chunks=chunks)
        self._names = self._file.create_dataset(layout.HDF5_NAMES, (count, 1), h5py.string_dtype())
        self._hash_column = self._file.create_dataset(layout.HDF5_HASHES, (count, 1), "S64")

    def append(self, pyramid: dict[int, NDArray[np.uint8]], record: Record) -> None:
        """Add one image: level → uint8 (3, level, level) for every level, and what is known of it."""
        index = len(self._hashes)
        for level in self._levels:
            self._file[layout.hdf5_dataset(level)][index] = pyramid[level]
        self._names[index, 0] = record.name
        self._hash_column[index, 0] = record.sha256.encode()
        self._hashes.append(record.sha256)

    def __enter__(self) -> Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            header = Header(len(self._hashes), self._levels, content_hash(self._hashes), codec="raw")
            self._file.attrs[layout.HDF5_HEADER] = header.to_json()
        self._file.close()


def labels_path(path: Path) -> Path:
    """Return where the labels of an HDF5 store stand: NAME-labels.npy beside NAME.h5."""
    return path.with_name(f"{path.stem}-labels.npy")


def recognises(path: Path) -> bool:
    """Return whether `path` is an HDF5 file."""
    return path.is_file() and bool(h5py.is_hdf5(path))


def _levels(file: h5py.File) -> dict[int, str]:
    """Return side → name of the data sets of images; those below 4², which older files have, are not used."""
    shapes = {k: v.shape for k, v in file.items() if k.startswith("data") and isinstance(v, h5py.Dataset)}
    squares = {shape[3]: key for key, shape in shapes.items() if len(shape) == 4 and shape[2] == shape[3]}
    return {side: key for side, key in squares.items() if side >= LOWEST_LEVEL}


def _check_level(dataset: h5py.Dataset, count: int, *, where: str) -> None:
    number, channels, _, side = dataset.shape
    if dataset.dtype != np.uint8 or channels not in (1, 3) or not layout.is_level(side):
        raise InputError(
            f"{where}: {dataset.name} is {dataset.dtype} {dataset.shape}; expected uint8 N×3×R×R or N×1×R×R, "
            "R a power of two."
        )
    if number != count:
        raise InputError(f"{where}: {dataset.name} holds {number} images, the top level {count}.")


def _read_labels(path: Path, count: int) -> NDArray[np.int64] | None:
    """Class numbers from an .npy of class numbers (N,) or of one-hot rows (N, classes); none if it is not there."""
    if not path.is_file():
        return None
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a plain .npy array ({error}).") from None
    if labels.dtype.kind not in "iufb":
        raise InputError(f"{path} holds {labels.dtype}; expected class numbers or one-hot rows.")
    if labels.ndim not in (1, 2) or labels.shape[0] != count:
        raise InputError(f"{path} has shape {labels.shape}; expected ({count},) or ({count}, classes).")
    numbers: NDArray[np.int64] = (labels.argmax(axis=1) if labels.ndim == 2 else labels).astype(np.int64)
    if numbers.min() < 0:
        raise InputError(f"{path} has the class number {numbers.min()}; they count from 0.")
    return numbers
