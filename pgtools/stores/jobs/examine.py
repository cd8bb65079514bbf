"""A source opened for a check: its levels, its count and its header as far as they can be told, damaged or not.

A header that can be read tells the levels and the count, and the keys of all images tell them too; where they disagree,
whatever any of them names is looked at, so that nothing is left out unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.codecs import GREY_HEAD, RGB_HEAD
from pgtools.stores.formats import hdf5, lmdb
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.jobs.held_labels import Labels, held_labels
from pgtools.stores.jobs.salvage import SalvagedStore, list_keys
from pgtools.stores.jobs.stored import Loaded, lmdb_value, load_hdf5, load_lmdb, load_other
from pgtools.stores.layout import Header, StoredRecord
from pgtools.stores.opening import open_source
from pgtools.stores.source import ImageSource, LevelStore

UNKNOWN_CONTENT = "0" * 64
# A count of more images than this a key is none: each of them would be told as missing.
PER_KEY = 16
# In the origin of a store that a repair made of another program's: whose filter made its levels.
LEVELS_BY, ANOTHER_PROGRAM = "levels_by", "another program"
# Records that are asked for the levels of a store.
ASKED_RECORDS = 64


@dataclass
class Examined:
    """A source opened for a check.

    Attributes:
        source: if its own header is damaged, it has one that was put together from what is there.
        path: where it stands.
        count: how many images to look at; other than `len(source)` where a count is wrong.
        levels: those that are stored, largest first.
        ours: pgtools wrote it, so each image has a record.
        trusted: the header is the store's own, and fits what is there.
        labels: what can be read of them.
        faults: what is wrong with the whole.
        walked: every key of an LMDB can be found by its tree.
        headless: keys are lost, and with them header, count and records: what the set was is not known.
    """

    source: ImageSource
    path: Path
    count: int
    levels: tuple[int, ...]
    ours: bool = False
    trusted: bool = True
    labels: Labels = field(default_factory=Labels)
    faults: list[str] = field(default_factory=list)
    walked: bool = True
    headless: bool = False

    @property
    def header(self) -> Header | None:
        """The header, the store's own or the one that was put together; None in other people's stores."""
        return self.source.header if isinstance(self.source, LevelStore) else None

    @property
    def lossy(self) -> bool:
        """Whether the tops are JPEGs."""
        return self.header is not None and self.header.codecs.get(self.levels[0], "").startswith("jpeg")

    @property
    def by_means(self) -> bool:
        """Whether the lower levels are means of the top, and not another program's."""
        told = self.header.origin.get(LEVELS_BY) if self.header else None
        return self.ours and told != ANOTHER_PROGRAM

    def load(self, indices: Sequence[int], levels: Sequence[int]) -> list[Loaded]:
        """Return images as they are stored; damage is in what is returned and not raised."""
        if isinstance(self.source, LmdbStore):
            return [load_lmdb(self.source, index, levels) for index in indices]
        if isinstance(self.source, Hdf5Store):
            return load_hdf5(self.source, indices, levels, ours=self.ours)
        return [load_other(self.source, index, levels) for index in indices]


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
        source, fault = SalvagedStore(path, scan=True) if salvage else open_source(path, format=format), ""
    except InputError as error:
        source, fault = _untrusted(path, error), error.message
    if isinstance(source, LmdbStore):
        return _lmdb(source, path, fault)
    if isinstance(source, Hdf5Store):
        return _hdf5(source, path, fault)
    levels = sorted(source.stored_levels, reverse=True) if isinstance(source, LevelStore) else [source.resolution]
    labels = held_labels(source, len(source), None, ours=False, trusted=True)
    return Examined(source, path, len(source), tuple(levels), labels=labels)


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


def _lmdb(store: LmdbStore, path: Path, fault: str) -> Examined:
    """Examine an LMDB: every key is looked at, O(N)."""
    listing, _ = list_keys(store.pages, path / lmdb.DATA_FILE)
    tree = store.fault if isinstance(store, SalvagedStore) else listing.fault
    told, damage = _told(store)
    if told is None and not damage and listing.records:
        damage = "its header is missing"
    length = _length(store)
    counts = [] if told is None else [told.count]
    count = max(listing.count, min(counts if length is None else [*counts, length], default=0))
    levels = _all_levels(told, (*listing.levels, *_recorded_levels(store, count)))
    examined = Examined(store, path, count, levels, walked=not listing.fault)
    examined.faults += dict.fromkeys(text for text in (fault, damage, tree) if text)
    if length is None and "'length'" not in fault:
        examined.faults.append("its key 'length' is missing or no count")
    if tree and not counts and length is None:
        examined.headless = not listing.records
        found = f"its tree counts {store.pages.entries} keys, of which {listing.keys} are found"
        examined.faults.append(f"{found}; nothing tells how many images there were")
    if length is not None and length != count:
        examined.faults.append(f"its key 'length' counts {length} images; there are {count}")
    return _understood(examined, store, told, records=listing.records)


def _hdf5(store: Hdf5Store, path: Path, fault: str) -> Examined:
    told, damage = _told(store)
    records = store.columns >= {layout.HDF5_NAMES, layout.HDF5_HASHES}
    if told is None and not damage and records:
        damage = "its header is missing"
    examined = Examined(store, path, len(store), _all_levels(told, tuple(store.stored_levels)))
    examined.faults += dict.fromkeys(text for text in (fault, damage) if text)
    return _understood(examined, store, told, records=records)


def _understood(examined: Examined, store: LmdbStore | Hdf5Store, told: Header | None, *, records: bool) -> Examined:
    """Decide what of the header to believe, and read the labels by it."""
    levels, count = examined.levels, examined.count
    if told and told.levels != levels:
        examined.faults.append(f"its header names the levels {told.levels}; there are {levels}")
    examined.ours = told is not None or records
    examined.trusted = told is not None and (told.levels, told.count) == (levels, count)
    examined.labels = held_labels(store, count, told, ours=examined.ours, trusted=examined.trusted)
    store.header = told if examined.trusted else _presumed(examined, store, told) if examined.ours else None
    return examined


def _all_levels(told: Header | None, found: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({*found, *(told.levels if told else ())}, reverse=True))


def _recorded_levels(store: LmdbStore, count: int) -> set[int]:
    """Return the levels that most records tell of: the largest is the top even where all of it is lost."""
    told: list[StoredRecord] = []
    for index in range(count):
        try:
            record = store.stored_record(index)
        except InputError:
            continue
        told += [record] if record and record.crc32 else []
        if len(told) == ASKED_RECORDS:
            break
    named = Counter(level for record in told for level in record.crc32)
    return {level for level, votes in named.items() if 2 * votes > len(told) and layout.is_level(level)}


def _length(store: LmdbStore) -> int | None:
    """The count that the store tells; None if it is missing, or far more than there are keys."""
    try:
        text = store.pages.get(layout.LMDB_LENGTH) or b""
    except InputError:
        return None
    return int(text) if text.isdigit() and len(text) <= 12 and int(text) <= PER_KEY * store.pages.entries else None


def _told(store: LmdbStore | Hdf5Store) -> tuple[Header | None, str]:
    """Return the store's own header if it can be read, and what is wrong if it cannot."""
    if store.header:
        return store.header, ""
    try:
        if isinstance(store, LmdbStore):
            text = store.pages.get(layout.LMDB_HEADER)
        else:
            with store.reading() as file:
                text = hdf5.header_text(file)
        return layout.header_from_json(text, where=store.name) if text is not None else None, ""
    except InputError as error:
        return None, error.message


def _presumed(examined: Examined, store: LmdbStore | Hdf5Store, told: Header | None) -> Header:
    """Put together what the header would have to say, from the damaged one as far as it goes."""
    levels, numbers = examined.levels, examined.labels.numbers
    codecs = told.codecs if told and set(told.codecs) == set(levels) else codecs_of(examined, store)
    origin = told.origin if told else {"name": store.path.resolve().name}
    found = 0 if numbers is None else int(numbers.max()) + 1
    classes = max(found, (told.classes or 0) if told else 0) or None
    return Header(examined.count, levels, UNKNOWN_CONTENT, codecs, store.colour, classes, origin)


def codecs_of(examined: Examined, store: LmdbStore | Hdf5Store) -> dict[int, str]:
    """Return level → codec of the first image that has it, as `codec_of` tells it."""
    if isinstance(store, Hdf5Store):
        return dict.fromkeys(examined.levels, "raw")
    codecs = {}
    for level in examined.levels:
        values = (lmdb_value(store, level, index) for index in range(examined.count))
        codecs[level] = codec_of(next((value for value in values if isinstance(value, bytes)), b""))
    return codecs


def codec_of(data: bytes) -> str:
    """Return the codec of an encoded image by its first bytes.

    Returns:
        "raw", "png", "webp" (lossless), "jpeg" (of unknown quality), or "other".
    """
    if data.startswith((RGB_HEAD, GREY_HEAD)):
        return "raw"
    if data.startswith(b"\x89PNG"):
        return "png"
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8L":
        return "webp"
    return "jpeg" if data.startswith(b"\xff\xd8") else "other"
