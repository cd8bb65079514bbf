"""A source opened for a check: all that is stored of an image, damage included, even where the header is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.formats import hdf5, lmdb
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.jobs.salvage import SalvagedStore
from pgtools.stores.layout import Header, StoredRecord
from pgtools.stores.opening import open_source
from pgtools.stores.source import ImageSource, LevelStore

# An image at a level as it is stored, or why it cannot be had: encoded bytes (LMDB) or uint8 (C, level, level).
Stored = bytes | NDArray[np.uint8] | InputError
UNKNOWN_CONTENT = "0" * 64
# Images of an LMDB that are asked which levels there are: the first may be the damaged one.
PROBED = 16
ALL_LEVELS = tuple(2**r for r in range(13, 1, -1))


@dataclass(frozen=True)
class Loaded:
    """One image with all that is stored of it; what cannot be read is the error that says so.

    Attributes:
        index: its number.
        name: "" where it is not known.
        record: None where the source keeps none.
        stored: level → its bytes or pixels.
    """

    index: int
    name: str
    record: StoredRecord | InputError | None
    stored: dict[int, Stored]


@dataclass
class Examined:
    """A source opened for a check.

    Attributes:
        source: if its own header is damaged, it has one that was put together from what is there.
        path: where it stands.
        count: how many images to look at; other than `len(source)` where a count is wrong.
        levels: those that are stored, largest first.
        ours: pgtools wrote it, so each image has a record, and the levels are means of the top.
        trusted: the header is the store's own.
        faults: what is wrong with the whole.
    """

    source: ImageSource
    path: Path
    count: int
    levels: tuple[int, ...]
    ours: bool = False
    trusted: bool = True
    faults: list[str] = field(default_factory=list)

    @property
    def header(self) -> Header | None:
        """The header, the store's own or the one that was put together; None in other people's stores."""
        return self.source.header if isinstance(self.source, LevelStore) else None

    @property
    def lossy(self) -> bool:
        """Whether the tops are JPEGs."""
        return self.header is not None and self.header.codecs.get(self.levels[0], "").startswith("jpeg")

    def load(self, indices: Sequence[int], levels: Sequence[int]) -> list[Loaded]:
        """Return images as they are stored; damage is in what is returned and not raised."""
        if isinstance(self.source, LmdbStore):
            return [_from_lmdb(self.source, index, levels) for index in indices]
        if isinstance(self.source, Hdf5Store):
            return _from_hdf5(self.source, indices, levels)
        return [_from_source(self.source, index, levels) for index in indices]


def examine(path: Path, format: str | None = None, *, salvage: bool = False) -> Examined:
    """Open a source for a check.

    Args:
        path: what to open.
        format: its format; told by what the path holds if not given.
        salvage: read an LMDB page by page, whatever its tree says.

    Raises:
        InputError: it cannot be opened, with or without its header.
    """
    try:
        source, fault = SalvagedStore(path) if salvage else open_source(path, format=format), ""
    except InputError as error:
        source, fault = _untrusted(path, error), error.message
    if not isinstance(source, (LmdbStore, Hdf5Store)):
        stored = sorted(source.stored_levels, reverse=True) if isinstance(source, LevelStore) else [source.resolution]
        return Examined(source, path, len(source), tuple(stored))
    levels = _probed(source) if isinstance(source, LmdbStore) else tuple(sorted(source.stored_levels, reverse=True))
    examined = Examined(source, path, len(source), levels, ours=source.header is not None)
    if fault:
        examined.faults.append(fault)
    elif source.header and source.header.levels != levels:
        examined.faults.append(f"its header names the levels {source.header.levels}; there are {levels}")
    elif source.header is None and _has_records(source):
        examined.faults.append("its header is missing")
    if isinstance(source, LmdbStore):
        _count_images(examined, source)
    if examined.faults:
        examined.ours, examined.trusted = True, False
        source.header = _presumed(examined, source)
        examined.ours = _has_records(source)
    return examined


def _untrusted(path: Path, error: InputError) -> LmdbStore | Hdf5Store:
    """Open a store without believing its header, or raise why it could not be opened with it."""
    try:
        if lmdb.recognises(path):
            return _without_header(path)
        if hdf5.recognises(path):
            return Hdf5Store(path, trusted=False)
    except InputError:
        raise error from None
    raise error


def _without_header(path: Path) -> LmdbStore:
    try:
        return LmdbStore(path, trusted=False)
    except InputError:
        return SalvagedStore(path)


def _probed(store: LmdbStore) -> tuple[int, ...]:
    """The levels that any of the first images has: a header may name others, and one image may lack some."""

    def has(level: int) -> bool:
        return any(isinstance(_value(store, level, index), bytes) for index in range(min(PROBED, len(store))))

    return tuple(level for level in ALL_LEVELS if has(level)) or tuple(store.stored_levels)


def _count_images(examined: Examined, store: LmdbStore) -> None:
    """Look for images beyond the count that the store tells, or for those at its end that it does not have."""
    while isinstance(_value(store, examined.levels[0], examined.count), bytes):
        examined.count += 1
    while examined.faults and examined.count > 1 and _is_absent(store, examined.levels, examined.count - 1):
        examined.count -= 1
    if examined.count != len(store):
        examined.faults.append(f"its key 'length' counts {len(store)} images; there are {examined.count}")


def _is_absent(store: LmdbStore, levels: Sequence[int], index: int) -> bool:
    keys = [layout.lmdb_record_key(index), *(layout.lmdb_image_key(level, index) for level in levels)]
    try:
        return all(store.pages.get(key) is None for key in keys)
    except InputError:
        return False


def _has_records(store: LmdbStore | Hdf5Store) -> bool:
    if isinstance(store, LmdbStore):
        found = [_lmdb_record(store, index) for index in range(min(PROBED, len(store)))]
        return any(isinstance(record, StoredRecord) for record in found)
    own = store.header
    store.header = own or _unknown(store.resolution, len(store))  # without any it is read as other people's files are
    try:
        return store.stored_records([0]) is not None
    except InputError:
        return True
    finally:
        store.header = own


def _unknown(resolution: int, count: int) -> Header:
    return Header(count, (resolution,), UNKNOWN_CONTENT, {resolution: "raw"})


def _presumed(examined: Examined, store: LmdbStore | Hdf5Store) -> Header:
    """Put together what the header would have to say, from the damaged one as far as it goes."""
    levels = examined.levels
    told = store.header or _told(store)
    codecs = told.codecs if told and set(told.codecs) == set(levels) else _codecs(examined, store)
    origin = told.origin if told else {"name": store.path.resolve().name}
    header = Header(examined.count, levels, UNKNOWN_CONTENT, codecs, store.colour, None, origin)
    if told and told.classes is None:
        return header
    # As many classes as there can be, so that labels can be read at all.
    store.header = replace(header, classes=1 << 31)
    try:
        labels = stored_labels(examined)
    except InputError:
        return replace(header, classes=told.classes if told else None)
    found = 0 if labels is None else int(labels.max()) + 1
    return replace(header, classes=max(found, (told.classes or 0) if told else 0) or None)


def stored_labels(examined: Examined) -> NDArray[np.int64] | None:
    """Return the labels of all images that are looked at, int64 (count,); None if there are none.

    Raises:
        InputError: they are damaged.
    """
    source, header = examined.source, examined.header
    if not isinstance(source, LmdbStore) or header is None or header.classes is None:
        return source.read_labels()
    data = source.pages.get(layout.LMDB_LABELS)
    if data is None or len(data) != 8 * examined.count:
        held = "are missing" if data is None else f"are {len(data)} bytes; expected {8 * examined.count}"
        raise InputError(f"its labels {held}")
    labels = np.frombuffer(data, "<i8").astype(np.int64)
    if fault := layout.labels_fault(labels.tolist(), header.classes):
        raise InputError(f"its labels: {fault}")
    return labels


def _told(store: LmdbStore | Hdf5Store) -> Header | None:
    """The store's own header, if it can be understood and only disagrees with the store."""
    try:
        if isinstance(store, LmdbStore):
            text = store.pages.get(layout.LMDB_HEADER)
        else:
            with store.reading() as file:
                text = hdf5.header_text(file)
        return layout.header_from_json(text, where=store.name) if text else None
    except InputError:
        return None


def _codecs(examined: Examined, store: LmdbStore | Hdf5Store) -> dict[int, str]:
    if isinstance(store, Hdf5Store):
        return dict.fromkeys(examined.levels, "raw")
    return {level: codec_of_level(examined, store, level) for level in examined.levels}


def codec_of_level(examined: Examined, store: LmdbStore, level: int) -> str:
    """Return the codec of the first image that is there at a level, by its first bytes.

    Returns:
        "raw", "png", "webp" (lossless), "jpeg", or "other".
    """
    values = (_value(store, level, index) for index in range(examined.count))
    data = next((value for value in values if isinstance(value, bytes)), b"")
    if data.startswith((b"P5\n", b"P6\n")):
        return "raw"
    if data.startswith(b"\x89PNG"):
        return "png"
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8L":
        return "webp"
    return "jpeg" if data.startswith(b"\xff\xd8") else "other"


def _value(store: LmdbStore, level: int, index: int) -> bytes | InputError:
    try:
        data = store.pages.get(layout.lmdb_image_key(level, index))
    except InputError as error:
        return error
    return InputError("is missing") if data is None else data


def _lmdb_record(store: LmdbStore, index: int) -> StoredRecord | InputError | None:
    try:
        return store.stored_record(index)
    except InputError as error:
        return error


def _from_lmdb(store: LmdbStore, index: int, levels: Sequence[int]) -> Loaded:
    record = _lmdb_record(store, index)
    return Loaded(index, _name(record), record, {level: _value(store, level, index) for level in levels})


def _from_hdf5(store: Hdf5Store, indices: Sequence[int], levels: Sequence[int]) -> list[Loaded]:
    """Load a batch with one read a data set; if that fails, image by image."""
    try:
        found = store.stored_records(indices)
        records: Sequence[StoredRecord | None] = [None] * len(indices) if found is None else found
        pixels = {level: store.stored_pixels(indices, level) for level in levels}
    except InputError as error:
        if len(indices) > 1:
            return [one for index in indices for one in _from_hdf5(store, [index], levels)]
        return [_one_from_hdf5(store, indices[0], levels, error)]
    return [
        Loaded(index, _name(record), record, {level: images[place] for level, images in pixels.items()})
        for place, (index, record) in enumerate(zip(indices, records, strict=True))
    ]


def _one_from_hdf5(store: Hdf5Store, index: int, levels: Sequence[int], error: InputError) -> Loaded:
    record: StoredRecord | InputError | None
    try:
        records = store.stored_records([index])
        record = records[0] if records else None
    except InputError as damage:
        record = damage
    stored: dict[int, Stored] = {}
    for level in levels:
        try:
            stored[level] = store.stored_pixels([index], level)[0]
        except InputError as damage:
            stored[level] = damage
    return Loaded(index, _name(record), record, stored)


def _from_source(source: ImageSource, index: int, levels: Sequence[int]) -> Loaded:
    stored: dict[int, Stored] = {}
    name, record = "", None
    try:
        name = source.records([index])[0].name
    except InputError as damage:
        record = damage
    for level in levels:
        try:
            stored[level] = source.read([index], level)[0]
        except InputError as damage:
            stored[level] = damage
    return Loaded(index, name, record, stored)


def _name(record: StoredRecord | InputError | None) -> str:
    return record.name if isinstance(record, StoredRecord) else ""
