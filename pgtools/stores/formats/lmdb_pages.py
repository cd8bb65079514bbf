"""A read-only view of an LMDB file that checks every step.

The library maps the file into memory and trusts what stands there: a damaged page number is a crash of the whole
process. Here each page is read by position and each offset checked, so that damage is an InputError that names the
file, the rest of the store stays readable, and any number of threads and processes read at once without locks.

The layout (LMDB 0.9, data version 1, 64 bits, little endian): the file is pages of one size. Pages 0 and 1 are meta
pages; the newer one names the root of a B+ tree. A branch page lists (first key, page) pairs, a leaf page (key, value)
pairs; a value too large for a page stands on consecutive overflow pages.
"""

from __future__ import annotations

import functools
import struct
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pgtools.errors import InputError
from pgtools.runtime.slices import SlicedFile

MAGIC, DATA_VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF, OVERFLOW = 0x01, 0x02, 0x04
BIG_DATA = 0x01  # of a leaf's node: the value stands on overflow pages
PAGE_SIZES = tuple(1 << power for power in range(9, 17))
NO_PAGE = (1 << 64) - 1
# A tree of the smallest pages over the largest file is less deep.
MAX_DEPTH = 48
CACHED_PAGES = 512
# Bytes of a node's head and its pointer: no entry takes less.
SMALLEST_ENTRY = 10

PAGE = struct.Struct("<QHHHH")  # page number, unused, flags, end of the pointers, start of the nodes
NODE = struct.Struct("<HHHH")  # low and high half of size or page, flags (of a branch: more of the page), key length
META = struct.Struct("<16xIIQQ")  # magic, version, address, map size
TREE = struct.Struct("<IHHQQQQQ")  # page size or padding, flags, depth, branch, leaf, overflow pages, entries, root
TAIL = struct.Struct("<QQ")  # last page, transaction


class Node(NamedTuple):
    """A key of a page and where its value stands: in the page's own bytes, or on overflow pages."""

    key: bytes
    offset: int
    size: int
    big: bool


class LmdbPages:
    """The keys and values of an LMDB file, without the library.

    Args:
        file: the data file, `NAME/data.mdb`.
        where: named in errors.

    Raises:
        InputError: the file is no LMDB of this layout.
    """

    def __init__(self, file: Path, *, where: str) -> None:
        self.where, self._file = where, SlicedFile(file)
        self._page_size, self.entries, self._root = self._newest_meta()
        self._branch = functools.lru_cache(CACHED_PAGES)(self._read_branch)
        self._page = functools.lru_cache(CACHED_PAGES)(self._read_page)
        # The same page as 16-bit numbers: in the header 5 is the flags, 6 and 7 the bounds; the pointers begin at 8.
        self._halves = functools.lru_cache(CACHED_PAGES)(lambda number: memoryview(self._page(number)).cast("H"))

    def __reduce__(self) -> tuple[object, ...]:
        return _reopened, (self._file.path, self.where)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None if it is not there.

        Raises:
            InputError: the pages on the way to it are damaged.
        """
        number = self._root
        for _ in range(MAX_DEPTH):
            if number == NO_PAGE:
                return None
            branch = self._branch(number)
            if branch is None:
                return self._find(number, key)
            keys, children = branch
            number = children[max(0, bisect_right(keys, key) - 1)]
        raise self._damaged("its tree is too deep")

    def keys(self) -> Iterator[bytes]:
        """Yield every key in ascending order.

        Raises:
            InputError: a page is damaged.
        """
        ahead, pages = [] if self._root == NO_PAGE else [self._root], 0
        while ahead:
            number = ahead.pop()
            pages += 1
            if pages * self._page_size > self._file.size:
                raise self._damaged("its tree has more pages than the file")
            branch = self._branch(number)
            if branch is not None:
                ahead += reversed(branch[1])
                continue
            page, pointers = self._leaf(number)
            yield from (self._node(page, pointer).key for pointer in pointers)

    def _newest_meta(self) -> tuple[int, int, int]:
        """Return page size, number of entries and root of the newer of the two meta pages that is whole."""
        start = self._file.read(0, min(self._file.size, 2 * PAGE_SIZES[-1]))
        found = []
        for size in PAGE_SIZES:
            for offset in (0, size):
                meta = start[offset : offset + META.size + 2 * TREE.size + TAIL.size]
                if len(meta) == META.size + 2 * TREE.size + TAIL.size and META.unpack_from(meta)[0] == MAGIC:
                    free = TREE.unpack_from(meta, META.size)
                    if free[0] == size:
                        found.append((TAIL.unpack_from(meta, META.size + 2 * TREE.size)[1], meta))
        if not found:
            raise InputError(f"{self.where} is not a readable LMDB: it has no meta page of a 64-bit system.")
        meta = max(found)[1]
        version = META.unpack_from(meta)[1] & 0xFFFF
        _, flags, depth, _, _, _, entries, root = TREE.unpack_from(meta, META.size + TREE.size)
        if version != DATA_VERSION or flags or depth > MAX_DEPTH:
            raise InputError(
                f"{self.where}: LMDB version {version}, flags {flags}, depth {depth}; expected version 1 without flags."
            )
        if entries * SMALLEST_ENTRY > self._file.size:
            raise self._damaged(f"it announces {entries} entries in {self._file.size} bytes")
        return TREE.unpack_from(meta, META.size)[0], entries, root

    def _read_page(self, number: int) -> bytes:
        if number < 2 or (number + 1) * self._page_size > self._file.size:
            raise self._damaged(f"page {number} lies outside of the file")
        page = self._file.read(number * self._page_size, self._page_size)
        if PAGE.unpack_from(page)[0] != number:
            raise self._damaged(f"page {number} says it is another")
        return page

    def _pointers(self, page: bytes) -> tuple[int, ...]:
        _, _, _, lower, upper = PAGE.unpack_from(page)
        if not PAGE.size <= lower <= upper <= self._page_size or lower % 2:
            raise self._damaged("a page has no room for what it lists")
        return struct.unpack_from(f"<{(lower - PAGE.size) // 2}H", page, PAGE.size)

    def _read_branch(self, number: int) -> tuple[list[bytes], list[int]] | None:
        """Return the first keys and the page numbers of a branch page; None for a leaf page."""
        page = self._page(number)
        if PAGE.unpack_from(page)[2] & LEAF:
            return None
        if not PAGE.unpack_from(page)[2] & BRANCH:
            raise self._damaged(f"page {number} is none of its tree")
        keys, children = [], []
        for pointer in self._pointers(page):
            low, high, more, length = self._head(page, pointer)
            keys.append(page[pointer + NODE.size : pointer + NODE.size + length])
            children.append(low | high << 16 | more << 32)
        if not children:
            raise self._damaged(f"page {number} leads nowhere")
        keys[0] = b""  # the first child holds whatever comes before the second key
        return keys, children

    def _leaf(self, number: int) -> tuple[bytes, tuple[int, ...]]:
        page = self._page(number)
        if not PAGE.unpack_from(page)[2] & LEAF:
            raise self._damaged(f"page {number} is no leaf")
        return page, self._pointers(page)

    def _head(self, page: bytes, pointer: int) -> tuple[int, int, int, int]:
        if pointer + NODE.size > len(page):
            raise self._damaged("a node lies outside of its page")
        low, high, flags, length = NODE.unpack_from(page, pointer)
        if pointer + NODE.size + length > len(page):
            raise self._damaged("a key lies outside of its page")
        return low, high, flags, length

    def _node(self, page: bytes, pointer: int) -> Node:
        low, high, flags, length = self._head(page, pointer)
        start = pointer + NODE.size
        if flags & ~BIG_DATA:
            raise self._damaged("a value is itself a tree")
        return Node(page[start : start + length], start + length, low | high << 16, bool(flags & BIG_DATA))

    def _find(self, number: int, key: bytes) -> bytes | None:
        """Return the value of a key on a leaf page.

        Keys are looked at without checks on the way: one that leaves the page is only compared wrongly, or raises
        IndexError. The node that is found is checked.
        """
        page, halves = self._page(number), self._halves(number)
        if not halves[5] & LEAF or not PAGE.size <= halves[6] <= halves[7]:
            raise self._damaged(f"page {number} is no leaf")
        low, high = 0, (halves[6] - PAGE.size) // 2
        count = high
        try:
            while low < high:
                middle = (low + high) // 2
                start = halves[8 + middle] + 8
                if page[start : start + halves[start // 2 - 1]] < key:
                    low = middle + 1
                else:
                    high = middle
        except IndexError:
            raise self._damaged("a node lies outside of its page") from None
        if low == count:
            return None
        node = self._node(page, halves[8 + low])
        return self._value(page, node) if node.key == key else None

    def _value(self, page: bytes, node: Node) -> bytes:
        end = node.offset + (8 if node.big else node.size)
        if end > len(page):
            raise self._damaged("a value lies outside of its page")
        if not node.big:
            return page[node.offset : end]
        first = int.from_bytes(page[node.offset : end], "little")
        if first < 2 or first * self._page_size + PAGE.size + node.size > self._file.size:
            raise self._damaged(f"a value at page {first} lies outside of the file")
        data = self._file.read(first * self._page_size, PAGE.size + node.size)
        found, _, flags, _, _ = PAGE.unpack_from(data)
        if found != first or not flags & OVERFLOW:
            raise self._damaged(f"page {first} holds no value")
        return data[PAGE.size :]

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self.where} is a damaged LMDB: {what}.")


def _reopened(file: Path, where: str) -> LmdbPages:
    return LmdbPages(file, where=where)
