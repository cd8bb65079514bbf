"""An LMDB whose tree is damaged or cut off, read leaf page by leaf page, wherever the tree leads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.formats.lmdb import DATA_FILE, LmdbStore
from pgtools.stores.formats.lmdb_pages import LEAF, OVERFLOW, PAGE, LmdbPages

# The library's own list of free pages: its keys are transaction numbers.
FREE_KEY = re.compile(rb".{4}\0{4}", re.DOTALL)
IMAGE_KEY = re.compile(rb"(\d{1,4})-(\d{5,9})")


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
        self.entries = len(self._places)

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


class SalvagedStore(LmdbStore):
    """An LMDB store without header and count: as many images as any page names.

    Args:
        path: the folder with `data.mdb`.

    Raises:
        InputError: no page names an image.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        self.pages = ScannedPages(path / DATA_FILE, where=str(path))
        found = [(int(match[1]), int(match[2])) for key in self.pages.keys() if (match := IMAGE_KEY.fullmatch(key))]  # noqa: SIM118
        images = [(level, index) for level, index in found if layout.is_level(level)]
        if not images:
            raise InputError(f"{path} holds no images.")
        self._count = max(index for _, index in images) + 1
        self._stored = tuple(sorted({level for level, _ in images}, reverse=True))
        self.resolution = self._stored[0]


def _rescanned(file: Path, where: str) -> ScannedPages:
    return ScannedPages(file, where=where)
