"""The labels of a store that is checked: what can be read of them, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.labels import labels_path, read_labels_file
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.layout import Header, StoredRecord, record_check
from pgtools.stores.source import ImageSource

Numbers = NDArray[np.int64]
# As many classes as there can be, where nobody tells how many.
MANY = 1 << 31
# Labels are looked for in records up to this many pairs of image and class: seconds.
MOST_TRIED = 1_000_000


@dataclass(frozen=True)
class Labels:
    """The labels of a source.

    Attributes:
        numbers: int64 (count,), in the order of the images; None if there are none that can be read.
        faults: what is wrong with them.
        notes: what is worth saying and no fault.
        lost: there were some, and they cannot be read.
        beside: a file of labels that pgtools did not write or cannot read, so that no repair touches it.
        restored: number of an image → what was wrong with its label, which its record tells.
    """

    numbers: Numbers | None = None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lost: bool = False
    beside: Path | None = None
    restored: Mapping[int, str] = field(default_factory=dict)


def held_labels(source: ImageSource, count: int, told: Header | None, *, ours: bool, trusted: bool) -> Labels:
    """Return the labels of a source.

    Args:
        source: what is checked.
        count: how many images it has.
        told: its header as far as it can be read.
        ours: pgtools wrote it.
        trusted: the header fits the store, so that its number of classes is believed.
    """
    if isinstance(source, LmdbStore):
        bound = told.classes if told and trusted else None
        return _of_lmdb(source, count, told, bound) if ours and not (told and told.classes is None) else Labels()
    if not isinstance(source, Hdf5Store):
        return _of_other(source)
    if not ours:
        return _beside_others(labels_path(source.path), count)
    if told and told.classes is None:
        beside = labels_path(source.path)
        return Labels(beside=beside if beside.is_file() else None)
    return _of_hdf5(source, count, told, told.classes if told and trusted else None)


def _of_other(source: ImageSource) -> Labels:
    try:
        return Labels(source.read_labels())
    except InputError as error:
        return Labels(faults=(error.message,), lost=True)


def _of_lmdb(store: LmdbStore, count: int, told: Header | None, classes: int | None) -> Labels:
    try:
        data = store.pages.get(layout.LMDB_LABELS)
    except InputError as error:
        return Labels(faults=(f"its labels cannot be read: {error.message}",), lost=True)
    if data is None and told is None:
        return Labels()
    if data is None or len(data) != 8 * count:
        held = "are missing" if data is None else f"are {len(data)} bytes; expected {8 * count}"
        return Labels(faults=(f"its labels {held}",), lost=True)
    return _checked(np.frombuffer(data, "<i8").astype(np.int64), classes, store.stored_record)


def _of_hdf5(store: Hdf5Store, count: int, told: Header | None, classes: int | None) -> Labels:
    """Return the column of a store of ours, held against the file beside it; the file's if the column is damaged."""
    beside = labels_path(store.path)
    column, there = _column(store, count, told, classes)
    if not there:
        return Labels(beside=beside if beside.is_file() else None)
    try:
        found, fault = read_labels_file(beside, count), ""
    except InputError as error:
        found, fault = None, error.message
    numbers = found if column.numbers is None else column.numbers
    if numbers is not None and found is not None and not np.array_equal(numbers, found):
        fault = f"{beside.name} beside it has other labels"
    foreign = bool(fault) or (found is not None and not _is_ours(beside, classes))
    faults = (*column.faults, fault) if fault else column.faults
    lost = column.lost and numbers is None
    return replace(column, numbers=numbers, faults=faults, lost=lost, beside=beside if foreign else None)


def _column(store: Hdf5Store, count: int, told: Header | None, classes: int | None) -> tuple[Labels, bool]:
    """Return what the column says, and whether there ought to be one."""
    try:
        column = store.column(layout.HDF5_LABELS, range(count))
    except InputError as error:
        return Labels(faults=(f"its labels are damaged: {error.message}",), lost=True), True
    if column is None and told is None:
        return Labels(), False
    if column is None or column.dtype.kind not in "iu":
        return Labels(faults=("its labels are damaged",), lost=True), True
    return _checked(column[:, 0].astype(np.int64), classes, lambda index: _record(store, index)), True


def _record(store: Hdf5Store, index: int) -> StoredRecord | None:
    found = store.stored_records([index])
    return found[0] if found else None


def _checked(numbers: Numbers, classes: int | None, record: Callable[[int], StoredRecord | None]) -> Labels:
    """Return class numbers; one of no class is told by its image's record, whose checksum is over the label too.

    Args:
        numbers: int64 (count,).
        classes: how many classes there are, where that is known.
        record: index → what is known of an image; raises InputError where it is damaged.
    """
    bound = MANY if classes is None else classes
    bad = np.flatnonzero((numbers < 0) | (numbers >= bound)).tolist()
    if not bad:
        return Labels(numbers)
    restored, told = numbers.copy(), dict[int, str]()
    for index in bad if len(bad) * bound <= MOST_TRIED else ():
        if (label := _label_of(record, index, bound)) is not None:
            told[index] = f"its label is {numbers[index]}; expected 0 to {bound - 1}; by its record it was {label}"
            restored[index] = label
    if len(told) == len(bad):
        return Labels(restored, restored=told)
    return Labels(faults=(f"its labels: {layout.labels_fault(numbers.tolist(), bound)}",), lost=True)


def _label_of(record: Callable[[int], StoredRecord | None], index: int, classes: int) -> int | None:
    """Return the one label with which an image's record has its checksum; None if none or several do."""
    try:
        found = record(index)
    except InputError:
        return None
    if found is None or found.check is None:
        return None
    fitting = [label for label in range(classes) if record_check(found, label) == found.check]
    return fitting[0] if len(fitting) == 1 else None


def _is_ours(path: Path, classes: int | None) -> bool:
    """Whether labels are written as pgtools writes them: one-hot rows, float32, a column a class."""
    shape, dtype = _head(path) or ((), None)
    return dtype == np.float32 and len(shape) == 2 and classes in (None, shape[1])


def _beside_others(path: Path, count: int) -> Labels:
    """Return the labels beside other people's files, which mean what their programs say.

    Numbers that are not one class an image are no damage; rows that are not one an image are.
    """
    try:
        numbers = read_labels_file(path, count)
    except InputError as error:
        if (head := _head(path)) and head[0][:1] == (count,):
            return Labels(notes=(f"labels in {path.name} are not one class an image; kept as they are",), beside=path)
        return Labels(faults=(error.message,), lost=True, beside=path)
    return Labels(numbers, beside=None if numbers is None else path)


def _head(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return shape and type of an .npy; None if it is none. Nothing but its head is read."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        return found.shape, found.dtype
    except Exception:  # as in `read_labels_file`: the head is a Python literal, which fails in many ways
        return None
