"""What a store holds that is neither images nor pgtools' own, and what a repair does with it."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field

from pgtools.errors import InputError
from pgtools.imaging.pyramid import levels_below
from pgtools.stores import layout
from pgtools.stores.formats import hdf5
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.jobs.examine import Examined
from pgtools.stores.jobs.salvage import IMAGE_KEY, RECORD_KEY, has_key

# Keys of other programs that hold no more than this in all go with the images into the repaired LMDB as they are.
CARRIED_BYTES = 4096
# No key of ours is longer.
LONGEST_KEY = 32


@dataclass
class Others:
    """What a store holds that is neither images nor pgtools' own.

    Attributes:
        carried: goes into the repaired store as it is.
        dropped: keys that damage has made of ours, or that name no image there is.
        blocking: names of the first few things that are too much to be carried.
    """

    carried: dict[bytes, bytes] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    blocking: list[str] = field(default_factory=list)


def others_of(examined: Examined, *, drops: bool) -> Others:
    """Return what a store holds besides.

    Args:
        examined: the store.
        drops: images are dropped, so that the others get new numbers.
    """
    store = examined.source
    if isinstance(store, Hdf5Store):
        own = {*hdf5.COLUMNS, *map(layout.hdf5_dataset, levels_below(examined.levels[0])), layout.HDF5_HEADER}
        with store.reading() as file:
            return Others(blocking=sorted({*file, *file.attrs} - own)[:3])
    return _other_keys(store, examined, drops=drops) if isinstance(store, LmdbStore) else Others()


def _other_keys(store: LmdbStore, examined: Examined, *, drops: bool) -> Others:
    """Sort the keys that are none of ours: see `Others`; those on damaged pages cannot be saved, whatever they are."""
    found, total = Others(), 0
    with contextlib.suppress(InputError):
        for key in store.pages.keys():  # noqa: SIM118
            if _is_own(key, examined):
                continue
            name = repr(key.decode("utf-8", "replace"))
            if _is_orphan(key, examined) or _was_own(key, examined, store):
                found.dropped.append(name)
                continue
            try:
                found.carried[key] = store.pages.get(key) or b""
            except InputError:
                found.dropped.append(name)
                continue
            total += len(key) + len(found.carried[key])
            # What stands by number would belong to another image once one is dropped.
            if total > CARRIED_BYTES or (drops and IMAGE_KEY.fullmatch(key)):
                found.blocking = [repr(one.decode("utf-8", "replace")) for one in itertools.islice(found.carried, 3)]
                break
    return found


def _is_own(key: bytes, examined: Examined) -> bool:
    """Whether a key is that of an image that is looked at, of its record, or of the whole."""
    if image := IMAGE_KEY.fullmatch(key):
        level, index = int(image[1]), int(image[2])
        return level in examined.levels and index < examined.count and key == layout.lmdb_image_key(level, index)
    if record := RECORD_KEY.fullmatch(key):
        index = int(record[1])
        return index < examined.count and key == layout.lmdb_record_key(index)
    return key in (layout.LMDB_LENGTH, layout.LMDB_HEADER, layout.LMDB_LABELS)


def _is_orphan(key: bytes, examined: Examined) -> bool:
    """Whether a key of our form has a number that no image has."""
    found = IMAGE_KEY.fullmatch(key) or RECORD_KEY.fullmatch(key)
    return found is not None and int(found[found.lastindex or 1]) >= examined.count


def _was_own(key: bytes, examined: Examined, store: LmdbStore) -> bool:
    """Whether one changed bit makes a key out of one of ours that is missing."""
    for place in range(len(key) if len(key) <= LONGEST_KEY else 0):
        for bit in range(8):
            before = key[:place] + bytes([key[place] ^ 1 << bit]) + key[place + 1 :]
            if _is_own(before, examined) and not has_key(store.pages, before):
                return True
    return False
