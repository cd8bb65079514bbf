"""HDF5 stores as the authors' first trainer used them: `data{R}x{R}`, uint8 N×C×H×W, one data set a level."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, OutputError
from pgtools.imaging.pyramid import LOWEST_LEVEL
from pgtools.runtime.files import remove, remove_stale
from pgtools.stores import layout
from pgtools.stores.format import Format
from pgtools.stores.formats.labels import classes_of_file, labels_path, read_labels_file, write_labels_file
from pgtools.stores.layout import Record, StoredRecord, repair_hint
from pgtools.stores.source import LevelStore, check_index, image_hash
from pgtools.stores.writer import Ledger, Plan, Pyramid, Writer

# Small images share a chunk, so that reading them in order is not one disk access each.
CHUNK_BYTES = 1 << 16
PENDING_BYTES = 1 << 23
# A chunk larger than this is refused: packed with a filter, a few bytes of the file would become it in memory.
MAX_CHUNK_BYTES = 1 << 28
COLUMNS = (
    layout.HDF5_NAMES,
    layout.HDF5_HASHES,
    layout.HDF5_CHECKSUMS,
    layout.HDF5_LABELS,
    layout.HDF5_ATTRIBUTES,
    layout.HDF5_CHECKS,
)
Columns = dict[str, NDArray[Any]]


class Hdf5Store(LevelStore):
    """An HDF5 file of image pyramids, ours or the authors'; opened anew in each process that reads it.

    What leads out of the file is not followed: soft, external and cyclic links, external and virtual data sets.

    Args:
        path: the file.
        trusted: believe the header; without, the file is read as other people's are.
    """

    def __init__(self, path: Path, *, trusted: bool = True) -> None:
        self.name, self.path = str(path), path
        self._file: h5py.File | None = None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._process = 0
        with self.reading() as file:
            self._stored = _levels(file)
            if not self._stored:
                raise InputError(f"{path} is an HDF5 file without data sets such as 'data4x4' (N×C×H×W).")
            self.resolution = max(self._stored)
            shapes = {name: file[name].shape for name in self._stored.values()}
            for name in self._stored.values():
                _check_level(file[name], len_of_top := shapes[self._stored[self.resolution]][0], where=str(path))
            self.columns = _columns(file, len_of_top)
            text = header_text(file) if trusted else None
            size = file.id.get_filesize()
        self._count = int(len_of_top)
        if self._count > size:
            raise InputError(f"{path} announces {self._count} images in {size} bytes.", hint=repair_hint(path))
        if not self._count:
            raise InputError(f"{path} holds no images.")
        self.header = layout.header_from_json(text, where=str(path)) if text is not None else None
        if self.header and (self.header.count, set(self.header.levels)) != (self._count, set(self._stored)):
            raise InputError(f"{path}: its header names other images than it holds.", hint=repair_hint(path))
        grey = shapes[self._stored[self.resolution]][1] == 1
        self.colour = "grey" if grey else "rgb"

    def __len__(self) -> int:
        return self._count

    @property
    def stored_levels(self) -> Collection[int]:
        """The levels that need not be computed."""
        return self._stored

    @property
    def classes(self) -> int | None:
        """Number of classes: from our header, else the columns of NAME-labels.npy, else the largest label and one."""
        return super().classes if self.header else classes_of_file(labels_path(self.path)) or super().classes

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels: our column where the header tells of classes; in others NAME-labels.npy beside the file."""
        if self.header is None:
            return read_labels_file(labels_path(self.path), self._count)
        if self.header.classes is None:
            return None
        labels = self.column(layout.HDF5_LABELS, range(self._count))
        if labels is None or labels.dtype.kind not in "iu":
            raise InputError(f"{self.name}: its labels are damaged.", hint=repair_hint(self.path))
        if fault := layout.labels_fault(labels[:, 0].tolist(), self.header.classes):
            raise InputError(f"{self.name}: {fault}.", hint=repair_hint(self.path))
        return labels[:, 0].astype(np.int64)

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes; their numbers where none were stored."""
        found = self.stored_records(indices)
        if found is None:
            return super().records(indices)
        return [Record(record.name, record.attributes) for record in found]

    def stored_records(self, indices: Sequence[int]) -> list[StoredRecord] | None:
        """Return what the store keeps of images beside their pixels; None in other people's stores.

        Raises:
            InputError: it is damaged.
        """
        wanted = [check_index(i, self) for i in indices]
        if not self.header or layout.HDF5_NAMES not in self.columns or layout.HDF5_HASHES not in self.columns:
            return None
        columns = {name: self.column(name, wanted) for name in COLUMNS if name in self.columns}
        levels = sorted(self._stored, reverse=True)
        return [_record(columns, levels, place, self.name, index) for place, index in enumerate(wanted)]

    def image_hashes(self, indices: Sequence[int]) -> list[str]:
        """Return each image's SHA-256: from the store's column if pgtools wrote it, else by reading the images."""
        wanted = [check_index(i, self) for i in indices]
        column = self.column(layout.HDF5_HASHES, wanted) if self.header else None
        if column is None:
            return super().image_hashes(indices)
        hashes = [_text(value) for value in column[:, 0]]
        if not all(layout.is_hash(text) for text in hashes):
            raise InputError(f"{self.name}: its column of hashes is damaged.", hint=repair_hint(self.path))
        return hashes

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "_datasets": {}}

    def read_stored(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level."""
        images: NDArray[np.uint8] = self.stored_pixels(indices, level)
        if self.header and layout.HDF5_CHECKSUMS in self.columns:
            self._check(images, indices, level)
        return images if images.shape[1] == 3 else images.repeat(3, axis=1)

    def stored_pixels(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level with as many channels as are stored, uint8 (N, C, level, level)."""
        wanted = [check_index(i, self) for i in indices]
        return self._take(self._stored[level], wanted)

    def _check(self, images: NDArray[np.uint8], indices: Sequence[int], level: int) -> None:
        """Hold pixels against their checksums."""
        place = sorted(self._stored, reverse=True).index(level)
        expected = self._take(layout.HDF5_CHECKSUMS, indices)[:, place].tolist()
        for image, index, checksum in zip(images, indices, expected, strict=True):
            if zlib.crc32(image) != checksum:
                message = f"{self.name}, image {index} at {level}²: is damaged (its checksum differs)."
                raise InputError(message, hint=repair_hint(self.path))

    def column(self, name: str, wanted: Sequence[int]) -> NDArray[Any] | None:
        """Return rows of one of our columns, in the order of `wanted`; None if the file does not have it."""
        return self._take(name, wanted) if name in self.columns else None

    def _take(self, name: str, wanted: Sequence[int]) -> NDArray[Any]:
        """Return rows of a data set in the order asked for, neighbours at once: h5py's own lists of rows are slow."""
        with self.reading(name) as file:
            if name not in self._datasets:
                self._datasets[name] = file[name]
            dataset = self._datasets[name]
            taken = np.empty((len(wanted), *dataset.shape[1:]), dataset.dtype)
            for start, stop in _runs(wanted):
                first = wanted[start]
                taken[start:stop] = dataset[first : first + stop - start] if stop - start > 1 else dataset[first]
        return taken

    @contextlib.contextmanager
    def reading(self, part: str = "") -> Iterator[h5py.File]:
        """Yield the open file; whatever h5py makes of damage becomes an InputError."""
        try:
            if self._file is None or self._process != os.getpid():
                self._datasets = {}
                self._file, self._process = _opened(self.path), os.getpid()
            yield self._file
        except InputError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
            what = f"is damaged in {part}" if part else "is not a readable HDF5 file"
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            hint = repair_hint(self.path) if part else "What HDF5 cannot open is not repaired: take it from a backup."
            raise InputError(f"{self.name} {what} ({reason}).", hint=hint) from None


@dataclass(frozen=True)
class Hashed:
    """One image with its checksums, that of its record as soon as it is known."""

    pyramid: Pyramid
    sha256: str
    crc32: dict[int, int]
    check: int = 0


class Hdf5Writer(Writer[Hashed]):
    """Writes a new HDF5 store; its data sets have their final shape from the start. The header goes in last.

    Labels also go into NAME-labels.npy beside it, where the authors' trainer looks for them: see `write_labels_file`.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._ledger = Ledger(plan)
        try:
            self._file = h5py.File(path, "w", libver="earliest")
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error}).") from None
        self._pending: list[Hashed] = []
        count, channels = plan.count, 1 if plan.colour == "grey" else 3
        self._image_bytes = channels * plan.resolution**2
        for level in plan.levels:
            together = max(1, min(count, CHUNK_BYTES // (channels * level * level)))
            shape, chunks = (count, channels, level, level), (together, channels, level, level)
            self._file.create_dataset(layout.hdf5_dataset(level), shape, np.uint8, chunks=chunks)
        self._names: list[bytes] = []
        self._attributes: list[bytes] = []
        self._hashes = self._file.create_dataset(layout.HDF5_HASHES, (count, 1), "S64")
        self._checksums = self._file.create_dataset(layout.HDF5_CHECKSUMS, (count, len(plan.levels)), "<u4")
        self._checks = self._file.create_dataset(layout.HDF5_CHECKS, (count, 1), "<u4")

    def encode(self, pyramid: Pyramid) -> Hashed:
        """Return the image with its checksums."""
        top = pyramid[self.plan.resolution]
        sha256 = image_hash(top if len(top) == 3 else top.repeat(3, axis=0))
        return Hashed(pyramid, sha256, {level: zlib.crc32(_bytes(image)) for level, image in pyramid.items()})

    def append(self, encoded: Hashed, record: Record, label: int | None) -> None:
        """Add the next image."""
        self._ledger.add(encoded.sha256, label)
        self._names.append(record.name.encode())
        self._attributes.append(layout.attributes_to_json(record.attributes).encode())
        stored = StoredRecord(record.name, encoded.sha256, record.attributes, encoded.crc32)
        self._pending.append(replace(encoded, check=layout.record_check(stored, label)))
        if len(self._pending) * self._image_bytes >= PENDING_BYTES:
            self._write_pending()

    def finish(self) -> None:
        """Add the labels and the header."""
        labels = self._ledger.labels
        self._write_pending()
        with self._writing():
            if labels is not None:
                self._file.create_dataset(layout.HDF5_LABELS, data=labels[:, None].astype("<i8"))
            self._add_texts(layout.HDF5_NAMES, self._names)
            if any(self._attributes):
                self._add_texts(layout.HDF5_ATTRIBUTES, self._attributes)
            header = self._ledger.header(dict.fromkeys(self.plan.levels, "raw"))
            self._file.attrs[layout.HDF5_HEADER] = np.bytes_(header.to_json().encode())

    def close(self) -> None:
        """Close the file."""
        with self._writing():
            self._file.close()

    def stands_at(self, path: Path) -> None:
        """Put the labels beside the file, or remove those of the store it replaced."""
        remove_stale(labels_path(path))
        labels = self._ledger.labels
        if labels is None:
            remove(labels_path(path))
        else:
            write_labels_file(labels_path(path), labels, self.plan.classes or 1)

    def _add_texts(self, name: str, texts: list[bytes]) -> None:
        """Add a column of texts of one length, packed.

        Texts of any length stand in HDF5's global heap, and a damaged heap sends the library into an endless loop
        (seen with HDF5 2.0): pgtools neither writes nor reads them.
        """
        column = np.array(texts)[:, None]
        together = max(1, min(len(texts), CHUNK_BYTES // column.itemsize))
        self._file.create_dataset(name, data=column, chunks=(together, 1), compression="gzip", compression_opts=1)

    def _write_pending(self) -> None:
        """Write what has gathered, a slice a data set: a call of the library costs as much as a small image."""
        images = self._pending
        rows = slice(self._ledger.count - len(images), self._ledger.count)
        if not images:
            return
        with self._writing():
            for level in self.plan.levels:
                self._file[layout.hdf5_dataset(level)][rows] = np.stack([image.pyramid[level] for image in images])
            self._hashes[rows, 0] = [image.sha256.encode() for image in images]
            self._checksums[rows] = [[image.crc32[level] for level in self.plan.levels] for image in images]
            self._checks[rows, 0] = [image.check for image in images]
        self._pending = []

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise OutputError(f"{self.path} cannot be written ({reason}).", hint="Is the disk full?") from None


def recognises(path: Path) -> bool:
    """Return whether `path` is an HDF5 file."""
    return path.is_file() and bool(h5py.is_hdf5(path))


def _runs(wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the places where each index follows the one before it."""
    start = 0
    for place in range(1, len(wanted) + 1):
        if place == len(wanted) or wanted[place] != wanted[place - 1] + 1:
            yield start, place
            start = place


def _opened(path: Path) -> h5py.File:
    """Open a file as everybody in this process does; without locks where the file system has none.

    Nobody writes into a finished store. A file that is open twice has to be so with the same kind of locks.
    """
    try:
        return h5py.File(path, "r")
    except OSError:
        return h5py.File(path, "r", locking=False)


def _bytes(image: NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(image).tobytes()


def _plain_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the data sets that stand in the file's root itself and hold their own data."""
    found = {}
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or file.get(name, getclass=True) is not h5py.Dataset:
            continue
        dataset = file[name]
        if not (dataset.is_virtual or dataset.external):
            found[name] = dataset
    return found


def _levels(file: h5py.File) -> dict[int, str]:
    """Return side → name of the data sets of images; those below 4², which older files have, are not used."""
    shapes = {name: data.shape for name, data in _plain_datasets(file).items() if name.startswith("data")}
    squares = {int(shape[3]): name for name, shape in shapes.items() if len(shape) == 4 and shape[2] == shape[3]}
    return {side: name for side, name in squares.items() if side >= LOWEST_LEVEL}


def _columns(file: h5py.File, count: int) -> set[str]:
    """Return which of our columns are there, have a row for every image, and are of plain types."""
    found = _plain_datasets(file)
    return {name for name in COLUMNS if name in found and _is_column(found[name], count)}


def _is_column(dataset: h5py.Dataset, count: int) -> bool:
    plain = dataset.dtype.kind in "Siu" and dataset.dtype.itemsize <= layout.MAX_TEXT_BYTES
    bounded = not dataset.chunks or int(np.prod(dataset.chunks)) * dataset.dtype.itemsize <= MAX_CHUNK_BYTES
    return bool(plain and bounded and dataset.ndim == 2 and dataset.shape[0] == count and dataset.shape[1] <= 16)


def header_text(file: h5py.File) -> bytes | None:
    """Return our header; its type and size are looked at before it is read.

    Version 1 wrote it as text of any length, which is not read (see `Hdf5Writer._add_texts`): such a store is read as
    other people's are.
    """
    if layout.HDF5_HEADER not in file.attrs:
        return None
    attribute = file.attrs.get_id(layout.HDF5_HEADER)
    if attribute.dtype.kind == "O":
        return None
    if attribute.shape != () or attribute.dtype.kind != "S" or attribute.get_storage_size() > layout.MAX_TEXT_BYTES:
        return b""
    return bytes(file.attrs[layout.HDF5_HEADER])


def _check_level(dataset: h5py.Dataset, count: int, *, where: str) -> None:
    number, channels, _, side = dataset.shape
    if dataset.dtype != np.uint8 or channels not in (1, 3) or not layout.is_level(side):
        raise InputError(
            f"{where}: {dataset.name} is {dataset.dtype} {dataset.shape}; expected uint8 N×3×R×R or N×1×R×R, "
            "R a power of two."
        )
    if number != count:
        raise InputError(f"{where}: {dataset.name} holds {number} images, the top level {count}.")
    if dataset.chunks and int(np.prod(dataset.chunks)) > max(MAX_CHUNK_BYTES, channels * side * side):
        raise InputError(f"{where}: {dataset.name} has chunks of {dataset.chunks}; expected up to 256 MiB.")


def _record(
    columns: dict[str, NDArray[Any] | None], levels: Sequence[int], place: int, where: str, index: int
) -> StoredRecord:
    """Return one image's record out of its rows of the columns."""
    rows = {name: column[place] for name, column in columns.items() if column is not None}
    try:
        name, sha256 = _text(rows[layout.HDF5_NAMES][0]), _text(rows[layout.HDF5_HASHES][0])
        attributes = layout.attributes_from_json(_text(rows.get(layout.HDF5_ATTRIBUTES, [b""])[0]))
        checksums = rows.get(layout.HDF5_CHECKSUMS, [])
        if not layout.is_hash(sha256) or len(checksums) not in (0, len(levels)):
            raise ValueError("no hash")
        crc32 = dict(zip(levels, map(int, checksums), strict=False))
        check = int(rows[layout.HDF5_CHECKS][0]) if layout.HDF5_CHECKS in rows else None
    except (ValueError, TypeError):
        message = f"{where}: the record of image {index} is damaged."
        raise InputError(message, hint=repair_hint(where)) from None
    return StoredRecord(name, sha256, attributes, crc32, check)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


FORMAT = Format(
    name="hdf5",
    title="HDF5 file as the authors' first trainer used it",
    open=lambda path, reading: Hdf5Store(path),
    recognises=recognises,
    writer=Hdf5Writer,
    writes="file",
    suffixes=(".h5", ".hdf5"),
)
