"""An LMDB whose tree is damaged or cut off, read leaf page by leaf page, wherever the tree leads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.formats.lmdb import DATA_FILE, LmdbStore
from pgtools.stores.formats.lmdb_pages import LEAF, OVERFLOW, PAGE, LmdbPages

# The library's own list of free pages: its keys are transaction numbers.
FREE_KEY = re.compile(rb".{4}\0{4}", re.DOTALL)
IMAGE_KEY = re.compile(rb"(\d{1,4})-(\d{5,9})")
RECORD_KEY = re.compile(rb"pgtools-record-(\d{5,9})")


class ScannedPages(LmdbPages):
    """The keys and values of an LMDB found by looking at every page of the file.

    A page that was freed may still hold an older value of a key: what is read has to be held against its checksum.

    Args:
        file: the data file.
        where: named in errors.
    """

    def __init__(self, file: Path, *, where: str) -> None:
        super().__init__(file, where=where)
        self._places: dict[bytes, list[tuple[int, int]]] = {}
        number = 2
        while (number + 1) * self._page_size <= self._file.size:
            number += self._look_at(number)
        # As many as the tree says or as there are: what is cut off had keys too.
        self.entries = max(self.entries, len(self._places))

    def __reduce__(self) -> tuple[object, ...]:
        return _rescanned, (self._file.path, self.where)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None if no page has it.

        Raises:
            InputError: pages have it, and none of them leads to a value.
        """
        fault = None
        for number, pointer in reversed(self._places.get(key, [])):
            try:
                page = self._page(number)
                return self._value(page, self._node(page, pointer))
            except InputError as error:
                fault = error
        if fault:
            raise fault
        return None

    def keys(self) -> Iterator[bytes]:
        """Yield every key in ascending order."""
        yield from sorted(self._places)

    def _look_at(self, number: int) -> int:
        """Note the keys of a page, if it is a leaf; return how many pages further the next one is."""
        found, _, flags, low, high = map(int, PAGE.unpack(self._file.read(number * self._page_size, PAGE.size)))
        if found != number:
            return 1
        if flags & OVERFLOW:
            return max(1, low | high << 16)
        if flags & LEAF:
            try:
                page, pointers = self._leaf(number)
            except InputError:
                return 1
            for pointer in pointers:
                self._note(page, number, pointer)
        return 1

    def _note(self, page: bytes, number: int, pointer: int) -> None:
        try:
            key = self._node(page, pointer).key
        except InputError:
            return  # this entry is damaged; the others of the page need not be
        if not FREE_KEY.fullmatch(key):
            self._places.setdefault(key, []).append((number, pointer))


@dataclass(frozen=True)
class Listing:
    """What the keys of an LMDB name.

    Attributes:
        levels: those that any image has, largest first.
        count: one more than the highest number of an image. A number that one key alone has, far above how many
            numbers there are, is that of a damaged key.
        records: there is a record of ours.
        keys: how many keys there are.
        fault: why not every key can be found by the tree; "" if each can.
    """

    levels: tuple[int, ...]
    count: int
    records: bool
    keys: int
    fault: str = ""


def list_keys(pages: LmdbPages, file: Path) -> tuple[Listing, LmdbPages]:
    """Return what the keys name, and the pages that they were found on.

    Args:
        pages: the tree, which is walked; if that fails, all pages of the file are looked at instead.
        file: the data file.
    """
    try:
        return _listing(pages), pages
    except InputError as error:
        scanned = ScannedPages(file, where=pages.where)
        return replace(_listing(scanned), fault=error.message), scanned


def _listing(pages: LmdbPages) -> Listing:
    levels: set[int] = set()
    images, records, last, keys = Counter[int](), False, b"", 0
    for key in pages.keys():  # noqa: SIM118
        if key < last:
            # Keys are looked for by halving: beside one that is damaged, whole ones are not found.
            raise InputError(f"{pages.where} is a damaged LMDB: its keys are out of order at {key[:40]!r}.")
        last, keys = key, keys + 1
        if (image := IMAGE_KEY.fullmatch(key)) and layout.is_level(int(image[1])):
            levels.add(int(image[1]))
            images[int(image[2])] += 1
        elif record := RECORD_KEY.fullmatch(key):
            images[int(record[1])] += 1
            records = True
    sure = [index for index, held in images.items() if held > 1 or index < 2 * len(images)]
    return Listing(tuple(sorted(levels, reverse=True)), max(sure, default=-1) + 1, records, keys)


class SalvagedStore(LmdbStore):
    """An LMDB store without header and count: as many images as its keys name.

    Args:
        path: the folder with `data.mdb`.
        scan: look at every page. Without, the tree is believed where all of it can be read and it leads to what is
            written last, the count or the header.

    Attributes:
        fault: what is wrong with the tree; "" if nothing is.

    Raises:
        InputError: no page names an image.
    """

    def __init__(self, path: Path, *, scan: bool = False) -> None:
        self.name, self.path = str(path), path
        file = path / DATA_FILE
        listing, self.pages = list_keys(LmdbPages(file, where=str(path)), file)
        last = [key for key in (layout.LMDB_LENGTH, layout.LMDB_HEADER) if has_key(self.pages, key)]
        if scan or not last:
            self.pages = ScannedPages(file, where=str(path))
            listing = replace(_listing(self.pages), fault=listing.fault)
        if not listing.levels:
            raise InputError(f"{path} holds no images.")
        self.fault = listing.fault
        self._count, self._stored, self.resolution = listing.count, listing.levels, listing.levels[0]


def hides_keys(pages: LmdbPages, wanted: Collection[bytes]) -> bool:
    """Return whether a tree does not lead to one of `wanted` although a leaf of it has the key."""
    return any(key in wanted and not has_key(pages, key) for key in pages.keys())  # noqa: SIM118


def has_key(pages: LmdbPages, key: bytes) -> bool:
    """Return whether pages lead to the value of a key."""
    try:
        return pages.get(key) is not None
    except InputError:
        return False


def _rescanned(file: Path, where: str) -> ScannedPages:
    return ScannedPages(file, where=where)
