"""All that is stored of an image, damage included: what can be read is returned, what cannot is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.codecs import decode_into
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.layout import Attribute, StoredRecord
from pgtools.stores.source import ImageSource

# An image at a level as it is stored, or why it cannot be had: encoded bytes (LMDB) or uint8 (C, level, level).
Stored = bytes | NDArray[np.uint8] | InputError
MISSING, DAMAGED = "is missing", "its record is damaged"


@dataclass(frozen=True)
class Loaded:
    """One image with all that is stored of it; what cannot be read is the error that says so.

    Attributes:
        index: its number.
        name: "" where it is not known.
        record: what can be read of it, with "" for a name or a hash that cannot; None if there is none.
        damage: what is wrong with the record, "" if nothing is.
        stored: level → its bytes or pixels.
    """

    index: int
    name: str
    record: StoredRecord | None
    damage: str
    stored: dict[int, Stored]

    @property
    def is_absent(self) -> bool:
        """Nothing at all is stored of it."""
        missing = all(isinstance(one, InputError) and one.message == MISSING for one in self.stored.values())
        return missing and self.record is None and not self.damage


def pixels(stored: Stored, level: int) -> NDArray[np.uint8]:
    """Return what is stored of an image at a level as uint8 (3, level, level).

    Raises:
        InputError: it is missing or does not decode.
    """
    if isinstance(stored, InputError):
        raise stored
    if isinstance(stored, bytes):
        out = np.empty((3, level, level), np.uint8)
        decode_into(stored, out, where="it")
        return out
    return stored if len(stored) == 3 else stored.repeat(3, axis=0)


def load_lmdb(store: LmdbStore, index: int, levels: Sequence[int]) -> Loaded:
    """Return one image of an LMDB."""
    record, damage = _lmdb_record(store, index)
    stored: dict[int, Stored] = {level: lmdb_value(store, level, index) for level in levels}
    return Loaded(index, record.name if record else "", record, damage, stored)


def lmdb_value(store: LmdbStore, level: int, index: int) -> bytes | InputError:
    """Return the encoded bytes of an image at a level, or why there are none."""
    try:
        data = store.pages.get(layout.lmdb_image_key(level, index))
    except InputError as error:
        return error
    return InputError(MISSING) if data is None else data


def load_hdf5(store: Hdf5Store, indices: Sequence[int], levels: Sequence[int], *, ours: bool) -> list[Loaded]:
    """Return images of an HDF5 file with one read a data set; if that fails, image by image.

    Args:
        store: the file.
        indices: which.
        levels: which; one that has no data set is missing from every image.
        ours: its columns are records of pgtools.
    """
    there = [level for level in levels if level in store.stored_levels]
    try:
        found = store.stored_records(indices)
        if found is None and ours:
            raise InputError(DAMAGED)
        records: Sequence[StoredRecord | None] = [None] * len(indices) if found is None else found
        pixels = {level: store.stored_pixels(indices, level) for level in there}
    except InputError:
        if len(indices) > 1:
            return [one for index in indices for one in load_hdf5(store, [index], levels, ours=ours)]
        return [_one_of_hdf5(store, indices[0], levels, ours=ours)]
    return [
        Loaded(
            index,
            record.name if record else "",
            record,
            "",
            {level: pixels[level][place] if level in pixels else InputError(MISSING) for level in levels},
        )
        for place, (index, record) in enumerate(zip(indices, records, strict=True))
    ]


def load_other(source: ImageSource, index: int, levels: Sequence[int]) -> Loaded:
    """Return one image of any other source."""
    stored: dict[int, Stored] = {}
    name, damage = "", ""
    try:
        name = source.records([index])[0].name
    except InputError:
        damage = DAMAGED
    for level in levels:
        try:
            stored[level] = source.read([index], level)[0]
        except InputError as error:
            stored[level] = error
    return Loaded(index, name, None, damage, stored)


def _one_of_hdf5(store: Hdf5Store, index: int, levels: Sequence[int], *, ours: bool) -> Loaded:
    record, damage = _hdf5_record(store, index) if ours else (None, "")
    stored: dict[int, Stored] = {}
    there = store.stored_levels
    for level in levels:
        try:
            stored[level] = store.stored_pixels([index], level)[0] if level in there else InputError(MISSING)
        except InputError as error:
            stored[level] = error
    return Loaded(index, record.name if record else "", record, damage, stored)


def _lmdb_record(store: LmdbStore, index: int) -> tuple[StoredRecord | None, str]:
    try:
        return store.stored_record(index), ""
    except InputError:
        pass
    try:
        fields = json.loads(store.pages.get(layout.lmdb_record_key(index)) or b"")
    except (InputError, ValueError, RecursionError):
        return None, DAMAGED
    if not isinstance(fields, dict):
        return None, DAMAGED
    name, check = fields.get("name"), fields.get("check")
    return _assembled(
        name if isinstance(name, str) else None,
        _hash(fields.get("sha256")),
        _attributes_in(fields.get("attributes", {})),
        _checksums_in(fields.get("crc32", {})),
        check if type(check) is int else None,
    )


def _hdf5_record(store: Hdf5Store, index: int) -> tuple[StoredRecord | None, str]:
    """Read a record column by column: damage in one leaves the others."""
    levels = sorted(store.stored_levels, reverse=True)
    name, sha256, attributes, crc32, check = (
        hdf5_cell(store, column, index)
        for column in (
            layout.HDF5_NAMES,
            layout.HDF5_HASHES,
            layout.HDF5_ATTRIBUTES,
            layout.HDF5_CHECKSUMS,
            layout.HDF5_CHECKS,
        )
    )
    if name is sha256 is crc32 is None:
        return None, DAMAGED
    return _assembled(
        None if name is None or isinstance(name, InputError) else _text(name[0]),
        None if sha256 is None or isinstance(sha256, InputError) else _hash(_text(sha256[0])),
        {} if attributes is None else _attributes_of(attributes),
        {} if crc32 is None else _checksums_of(crc32, levels),
        None if check is None or isinstance(check, InputError) else int(check[0]),
    )


def hdf5_cell(store: Hdf5Store, column: str, index: int) -> NDArray[Any] | InputError | None:
    """Return one image's row of a column of ours; None if there is no such column, the error if it cannot be read."""
    try:
        found = store.column(column, [index])
    except InputError as error:
        return error
    return None if found is None else np.asarray(found[0])


def _assembled(
    name: str | None,
    sha256: str | None,
    attributes: Mapping[str, Attribute] | None,
    crc32: Mapping[int, int] | None,
    check: int | None,
) -> tuple[StoredRecord, str]:
    """Return a record of its parts, of which those that are damaged are None, and which those are."""
    parts = {"name": name, "sha256": sha256, "attributes": attributes, "crc32": crc32}
    bad = ", ".join(word for word, part in parts.items() if part is None)
    record = StoredRecord(name or "", sha256 or "", attributes or {}, crc32 or {}, check)
    return record, f"{DAMAGED} ({bad})" if bad else DAMAGED


def _attributes_of(cell: NDArray[Any] | InputError) -> Mapping[str, Attribute] | None:
    try:
        return None if isinstance(cell, InputError) else layout.attributes_from_json(_text(cell[0]))
    except ValueError:
        return None


def _checksums_of(cell: NDArray[Any] | InputError, levels: Sequence[int]) -> dict[int, int] | None:
    if isinstance(cell, InputError) or len(cell) != len(levels) or cell.dtype.kind not in "iu":
        return None
    return dict(zip(levels, map(int, cell), strict=True))


def _attributes_in(value: object) -> Mapping[str, Attribute] | None:
    try:
        return layout.checked_attributes(value)
    except ValueError:
        return None


def _checksums_in(value: object) -> dict[int, int] | None:
    try:
        return {int(level): int(number) for level, number in value.items()} if isinstance(value, dict) else None
    except (ValueError, TypeError):
        return None


def _hash(text: object) -> str | None:
    return str(text) if layout.is_hash(text) else None


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
