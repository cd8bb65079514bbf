"""Writing one set of images into one or more new stores at once, each whole or absent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import OutputError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.runtime.files import check_writable, remove_stale, written_aside
from pgtools.stores.hdf5 import Hdf5Writer, labels_path
from pgtools.stores.layout import Record
from pgtools.stores.lmdb import LmdbWriter
from pgtools.stores.source import image_hash

# Measured on photographs of faces: PNG takes about half of the raw bytes; the pyramid adds a third.
LMDB_BYTES_PER_BYTE, HDF5_BYTES_PER_BYTE = 0.75, 1.34


def check_suffixes(paths: Sequence[Path]) -> None:
    """Raise UsageError unless every path ends in .lmdb, .h5 or .hdf5 and none is named twice."""
    for path in paths:
        if path.suffix not in (".lmdb", ".h5", ".hdf5"):
            raise UsageError(f"{path}: a store is named NAME.lmdb or NAME.h5, by the format it is to have.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("The same store is named twice.")


def check_outputs(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Raise OutputError now if new stores could not be written to `paths` later.

    Raises:
        OutputError: one exists (and `overwrite` is off, or it is no store), or cannot be written.
    """
    for path in paths:
        check_writable(path, overwrite=overwrite, what="folder" if path.suffix == ".lmdb" else "file")
        if path.is_dir() and not {file.name for file in path.iterdir()} <= {"data.mdb", "lock.mdb"}:
            raise OutputError(f"{path} is a folder, but no LMDB; it will not be replaced.", hint="Name another.")
        if path.suffix != ".lmdb" and labels_path(path).exists():
            raise OutputError(
                f"{labels_path(path)} would be taken for the labels of {path}.", hint="Remove it, or name another."
            )


def estimated_bytes(path: Path, count: int, resolution: int) -> int:
    """Return about how many bytes a store of `count` photographs takes, every level included."""
    factor = LMDB_BYTES_PER_BYTE if path.suffix == ".lmdb" else HDF5_BYTES_PER_BYTE
    return int(count * 3 * resolution * resolution * factor)


def write_stores(
    paths: Sequence[Path], images: Iterable[tuple[str, NDArray[np.uint8]]], *, count: int, resolution: int
) -> None:
    """Write (name, uint8 3×R×R image) pairs, with every lower level, into new stores at `paths`.

    Each store is written aside and renamed when it is whole; what stood at its path is replaced only then.

    Args:
        paths: NAME.lmdb or NAME.h5, any number of them.
        images: the images in index order.
        count: how many images will come.
        resolution: their side.
    """
    with contextlib.ExitStack() as stack:
        writers: list[LmdbWriter | Hdf5Writer] = []
        for path in paths:
            remove_stale(path)
            aside = stack.enter_context(written_aside(path))
            if path.suffix == ".lmdb":
                writers.append(stack.enter_context(LmdbWriter(aside, resolution)))
            else:
                writers.append(stack.enter_context(Hdf5Writer(aside, resolution, count)))
        for name, image in images:
            pyramid = mean_pyramid(image)
            record = Record(name=name, sha256=image_hash(image))
            for writer in writers:
                writer.append(pyramid, record)
