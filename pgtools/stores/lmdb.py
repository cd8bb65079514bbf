"""LMDB stores with the keys of the PyTorch GAN trainers: `{level}-{index:05d}` → encoded image, `length` → count."""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import lmdb
import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, OutputError
from pgtools.imaging.photo import decode, encode_png
from pgtools.imaging.pyramid import levels_below
from pgtools.stores import layout
from pgtools.stores.folder import in_threads
from pgtools.stores.layout import Header, Record
from pgtools.stores.source import LevelStore, content_hash

FIRST_MAP_BYTES = 1 << 26


class LmdbStore(LevelStore):
    """An LMDB of encoded images, ours or any PyTorch GAN trainer's."""

    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        self._environment: lmdb.Environment | None = None
        length, header = self._get(layout.LMDB_LENGTH), self._get(layout.LMDB_HEADER)
        if length is None:
            raise InputError(f"{path} is an LMDB without the key 'length'; it is no image store.")
        self._count = _count(length, where=str(path))
        self.header = layout.header_from_json(header, where=str(path)) if header else None
        self._stored = self.header.levels if self.header else self._probe_levels()
        if self._count < 1 or not self._stored:
            raise InputError(f"{path} holds no images.")
        self.resolution = max(self._stored)

    def __len__(self) -> int:
        return self._count

    @property
    def stored_levels(self) -> Collection[int]:
        """The levels that need not be computed."""
        return self._stored

    def image_hashes(self, indices: Sequence[int]) -> list[str]:
        """Return each image's SHA-256: from the records where all have one, else by reading the images."""
        found = [text for index in indices if (text := self._recorded_hash(int(index)))]
        return found if len(found) == len(indices) else super().image_hashes(indices)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_environment": None}

    def read_stored(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level."""
        images = in_threads(lambda index: self._decode(index, level), indices)
        return np.stack(images) if images else np.zeros((0, 3, level, level), np.uint8)

    def _recorded_hash(self, index: int) -> str | None:
        text = self._get(layout.lmdb_record_key(index)) if self.header else None
        if text is None:
            return None
        try:
            found = json.loads(text)["sha256"]
        except (ValueError, TypeError, KeyError):
            found = None
        if not layout.is_hash(found):
            raise InputError(f"{self.name}: the record of image {index} is damaged.", hint="Build the store again.")
        return str(found)

    def _decode(self, index: int, level: int) -> NDArray[np.uint8]:
        where = f"{self.name}, image {index} at {level}²"
        if not 0 <= index < self._count:
            raise InputError(f"{self.name} has no image {index}; it holds {self._count}.")
        data = self._get(layout.lmdb_image_key(level, index))
        if data is None:
            raise InputError(f"{where} is missing.", hint="The store is damaged: build it again.")
        image = decode(data, where=where)
        if image.shape[:2] != (level, level):
            raise InputError(f"{where} is {image.shape[1]}×{image.shape[0]} pixels.", hint="Build the store again.")
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def _get(self, key: bytes) -> bytes | None:
        if self._environment is None:
            self._environment = _environment(self.path)
        try:
            with self._environment.begin() as transaction:
                value = transaction.get(key)
        except lmdb.Error as error:
            raise InputError(f"{self.path} is a damaged LMDB ({error}).") from None
        return None if value is None else bytes(value)

    def _probe_levels(self) -> tuple[int, ...]:
        return tuple(2**r for r in range(13, 1, -1) if self._get(layout.lmdb_image_key(2**r, 0)) is not None)


class LmdbWriter:
    """Writes a new LMDB, image after image; `with` closes it. The header goes in last.

    Args:
        path: a folder that does not exist; write aside and rename (see runtime.files.written_aside).
        resolution: side of the images.
    """

    def __init__(self, path: Path, resolution: int) -> None:
        # The one who renames the finished folder flushes it to disk; until then nothing needs to survive.
        try:
            self._environment = lmdb.open(str(path), map_size=FIRST_MAP_BYTES, lock=False, sync=False)
        except lmdb.Error as error:
            raise OutputError(f"{path} cannot be written ({error}).") from None
        self._path, self._levels = path, levels_below(resolution)
        self._hashes: list[str] = []

    def append(self, pyramid: dict[int, NDArray[np.uint8]], record: Record) -> None:
        """Add one image: level → uint8 (3, level, level) for every level, and what is known of it."""
        index = len(self._hashes)
        items = [
            (layout.lmdb_image_key(level, index), encode_png(pyramid[level].transpose(1, 2, 0)))
            for level in self._levels
        ]
        items.append((layout.lmdb_record_key(index), json.dumps(asdict(record), sort_keys=True).encode()))
        self._put(items)
        self._hashes.append(record.sha256)

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            header = Header(len(self._hashes), self._levels, content_hash(self._hashes), codec="png")
            count = str(len(self._hashes)).encode()
            self._put([(layout.LMDB_LENGTH, count), (layout.LMDB_HEADER, header.to_json().encode())])
        self._environment.close()

    def _put(self, items: list[tuple[bytes, bytes]]) -> None:
        """Write all items in one transaction; the map doubles whenever it is full."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in items:
                        transaction.put(key, value)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:
                raise OutputError(f"{self._path} cannot be written ({error}).") from None


def recognises(path: Path) -> bool:
    """Return whether `path` is an LMDB folder."""
    return (path / "data.mdb").is_file()


# LMDB refuses to open one file twice in a process, so stores of the same file share its environment. Read-only and
# without locks it may also cross a fork.
_environments: weakref.WeakValueDictionary[tuple[int, int], lmdb.Environment] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _environment(path: Path) -> lmdb.Environment:
    try:
        status = (path / "data.mdb").stat()
        key = (status.st_dev, status.st_ino)
        with _opening:
            environment = _environments.get(key)
            if environment is None:
                environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
                _environments[key] = environment
        return environment
    except (lmdb.Error, OSError) as error:
        raise InputError(f"{path} is not a readable LMDB ({error}).") from None


def _count(text: bytes, *, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{where}: the key 'length' is {text[:20]!r}; expected a number.") from None
