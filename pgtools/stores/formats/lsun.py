"""LSUN's LMDBs: any key → an encoded image (WebP or JPEG)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import decode
from pgtools.runtime.locks import ProcessLock
from pgtools.stores import layout
from pgtools.stores.format import Format
from pgtools.stores.formats.encoded import DecodedImages
from pgtools.stores.formats.lmdb_pages import LmdbPages
from pgtools.stores.formats.loaded import is_file
from pgtools.stores.layout import Record
from pgtools.stores.source import check_index

DATA = "data.mdb"
TRAINERS_KEY, FIRST_KEYS = re.compile(rb"\d+-\d{5,}"), 3
# What the authors did to LSUN's images, whose shorter side is 256.
LSUN_FIT = Fit("centre", 256, "lanczos")


class LsunImages(DecodedImages):
    """The images of one of LSUN's categories, ordered by their keys; a record's name is the key.

    Args:
        path: the folder of `data.mdb`.
        fit: crop and resize; the square in the middle at 256², Lanczos, if not given.

    Raises:
        InputError: it is no LMDB, or an empty one.
    """

    def __init__(self, path: Path, fit: Fit | None = None) -> None:
        super().__init__(str(path), fit or LSUN_FIT)
        self._pages, self._listing = LmdbPages(path / DATA, where=str(path)), ProcessLock()
        if not self._pages.entries:
            raise InputError(f"{path} is an empty LMDB.")
        self._size = (path / DATA).stat().st_size

    def __len__(self) -> int:
        return self._pages.entries

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the keys."""
        return [Record(self._text(check_index(i, self))) for i in indices]

    def decode(self, index: int) -> NDArray[np.uint8]:
        """Return one image before it is made to fit."""
        data = self._pages.get(self._key(index))
        if data is None:
            raise InputError(f"{self.where(index)} cannot be found: the LMDB is damaged.")
        return decode(data, where=self.where(index))

    def where(self, index: int) -> str:
        """Return the folder and the key."""
        return f"{self.name}, key {self._text(index)}"

    @functools.cached_property
    def _keys(self) -> tuple[bytes, NDArray[np.int64]]:
        """All keys end to end and where each starts: three million objects would take twice the memory."""
        keys = bytearray()
        starts = np.zeros(len(self) + 1, np.int64)
        number = 0
        for number, key in enumerate(self._pages.keys(), start=1):
            keys += key
            if number > len(self) or len(keys) > self._size:
                raise InputError(f"{self.name} is a damaged LMDB: it has more keys than it says.")
            starts[number] = len(keys)
        if number != len(self):
            raise InputError(f"{self.name} is a damaged LMDB: it says {len(self)} keys and has {number}.")
        return bytes(keys), starts

    def _key(self, index: int) -> bytes:
        with self._listing:
            keys, starts = self._keys
        return keys[starts[index] : starts[index + 1]]

    def _text(self, index: int) -> str:
        return self._key(index).decode("utf-8", "backslashreplace")


def recognises(path: Path) -> bool:
    """Return whether `path` is the folder of an LMDB that is no trainer's store.

    Such a store has the key `length`; where that is damaged, our header or the form of its first keys tells.
    """
    if not is_file(path / DATA):
        return False
    try:
        pages = LmdbPages(path / DATA, where=str(path))
        if pages.get(layout.LMDB_LENGTH) is not None or pages.get(layout.LMDB_HEADER) is not None:
            return False
    except InputError:
        return False
    try:
        return not any(TRAINERS_KEY.fullmatch(key) for key in islice(pages.keys(), FIRST_KEYS))
    except InputError:  # whoever opens it tells what is damaged
        return True


FORMAT = Format(
    name="lsun",
    title="LSUN's LMDB: any key → WebP or JPEG; by default the square in the middle at 256²",
    open=lambda path, reading: LsunImages(path, reading.fit),
    recognises=recognises,
    fits=True,
)
