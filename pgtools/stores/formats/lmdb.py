"""LMDB stores with the keys of the PyTorch GAN trainers: `{level}-{index:05d}` → encoded image, `length` → count."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, OutputError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.runtime.workers import in_threads
from pgtools.stores import layout
from pgtools.stores.codecs import codec_for, decode_into, encode
from pgtools.stores.format import Format
from pgtools.stores.formats.lmdb_pages import LmdbPages
from pgtools.stores.layout import Record, StoredRecord, repair_hint
from pgtools.stores.source import LevelStore, check_index, image_hash
from pgtools.stores.writer import Ledger, Plan, Pyramid, Writer

DATA_FILE = "data.mdb"
FIRST_MAP_BYTES = 1 << 26
# Images are put into the file many at a time: each transaction writes the pages on the way to the root anew.
PENDING_BYTES = 1 << 23
# Smaller images are read sooner than handed to another thread: those that are not decoded, and those that are.
THREADS_FROM_RAW, THREADS_FROM = 256, 64


class LmdbStore(LevelStore):
    """An LMDB of encoded images, ours or any PyTorch GAN trainer's. Opening it reads three keys, whatever its size.

    Args:
        path: the folder with `data.mdb`.
        trusted: believe the header; without, the levels are probed, as in other people's stores.
    """

    def __init__(self, path: Path, *, trusted: bool = True) -> None:
        self.name, self.path = str(path), path
        self.pages = LmdbPages(path / DATA_FILE, where=str(path))
        length, header = self.pages.get(layout.LMDB_LENGTH), self.pages.get(layout.LMDB_HEADER)
        if length is None:
            raise InputError(f"{path} is an LMDB without the key 'length', which every image store has.")
        self._count = _count(length, where=str(path))
        self.header = layout.header_from_json(header, where=str(path)) if header and trusted else None
        if self.header and self.header.count != self._count:
            raise InputError(
                f"{path}: its header counts {self.header.count} images, the key 'length' {self._count}.",
                hint=repair_hint(path),
            )
        self._stored = self.header.levels if self.header else self._probe_levels()
        if not 1 <= self._count <= self.pages.entries or not self._stored:
            raise InputError(f"{path} holds no images.")
        self.resolution = max(self._stored)
        self.colour = self.header.colour if self.header else "rgb"

    def __len__(self) -> int:
        return self._count

    @property
    def stored_levels(self) -> Collection[int]:
        """The levels that need not be computed."""
        return self._stored

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels: int64, little endian, one after the other under one key."""
        data = self.pages.get(layout.LMDB_LABELS) if self.header and self.header.classes else None
        if self.header is None or self.header.classes is None:
            return None
        if data is None or len(data) != 8 * self._count:
            raise InputError(f"{self.name}: its labels are damaged.", hint=repair_hint(self.path))
        labels = np.frombuffer(data, "<i8").astype(np.int64)
        if fault := layout.labels_fault(labels, self.header.classes):
            raise InputError(f"{self.name}: {fault}.", hint=repair_hint(self.path))
        return labels

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes; their numbers where none were stored."""
        stored = (self.stored_record(check_index(i, self)) for i in indices)
        return [
            Record(record.name, record.attributes) if record else Record(f"{index:08d}")
            for index, record in zip(indices, stored, strict=True)
        ]

    def stored_record(self, index: int) -> StoredRecord | None:
        """Return what the store keeps of one image beside its pixels; None in other people's stores.

        Raises:
            InputError: it is damaged.
        """
        text = self.pages.get(layout.lmdb_record_key(index))
        if text is None:
            return None
        return layout.record_from_json(text, where=f"{self.name}: the record of image {index}")

    def image_hashes(self, indices: Sequence[int]) -> list[str]:
        """Return each image's SHA-256: from the records where all have one, else by reading the images."""
        records = [self.stored_record(check_index(i, self)) if self.header else None for i in indices]
        found = [record.sha256 for record in records if record]
        return found if len(found) == len(indices) else super().image_hashes(indices)

    def read_stored(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level."""
        wanted = [check_index(i, self) for i in indices]
        images = np.empty((len(wanted), 3, level, level), np.uint8)

        def read(place: int) -> None:
            self._decode(self.encoded(wanted[place], level), wanted[place], images[place])

        if level < (THREADS_FROM_RAW if self._codec(level) == "raw" else THREADS_FROM):
            for place in range(len(wanted)):
                read(place)
        else:
            in_threads(read, range(len(wanted)))
        return images

    def encoded(self, index: int, level: int) -> bytes:
        """Return one image of a stored level as it is stored: bytes that Pillow opens.

        Raises:
            InputError: it is missing.
        """
        data = self.pages.get(layout.lmdb_image_key(level, index))
        if data is None:
            raise self._fault(index, f"{self.name}, image {index} at {level}²: is missing.")
        return data

    def _codec(self, level: int) -> str | None:
        return self.header.codecs.get(level) if self.header else None

    def _decode(self, data: bytes, index: int, out: NDArray[np.uint8]) -> None:
        """Decode one image and hold it against its checksum: its own if it is raw, else that of its record."""
        level = out.shape[-1]
        where = f"{self.name}, image {index} at {level}²"
        try:
            decode_into(data, out, where=where, checked=True)
        except InputError as error:
            raise self._fault(index, error.message) from None
        if self.header and self.header.codecs[level] != "raw":
            record = self._readable_record(index)
            if record and zlib.crc32(data) != record.crc32.get(level, zlib.crc32(data)):
                raise self._fault(index, f"{where}: is damaged (its checksum differs).")

    def _fault(self, index: int, message: str) -> InputError:
        """Return an error about one image that also tells its name, where that can still be read."""
        record = self._readable_record(index)
        named = f" Its name is {record.name!r}." if record else ""
        return InputError(f"{message}{named}", hint=repair_hint(self.path))

    def _readable_record(self, index: int) -> StoredRecord | None:
        try:
            return self.stored_record(index)
        except InputError:  # what is asked for is the image: `store verify` tells of its record
            return None

    def _probe_levels(self) -> tuple[int, ...]:
        return tuple(2**r for r in range(13, 1, -1) if self.pages.get(layout.lmdb_image_key(2**r, 0)) is not None)


@dataclass(frozen=True)
class Encoded:
    """One image as an LMDB store keeps it: level → bytes, and the hashes of what they give back and of what came."""

    levels: dict[int, bytes]
    sha256: str
    given: str


class LmdbWriter(Writer[Encoded]):
    """Writes a new LMDB. The header goes in last; the map grows by itself."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        # The one who renames the finished folder flushes it to disk; until then nothing needs to survive.
        try:
            self._environment = lmdb.open(str(path), map_size=FIRST_MAP_BYTES, lock=False, sync=False)
        except lmdb.Error as error:
            raise OutputError(f"{path} cannot be written ({error}).") from None
        top = plan.resolution
        self._codecs = {level: codec_for(level, top, plan.codec, plan.quality) for level in plan.levels}
        self._ledger = Ledger(plan)
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0

    def encode(self, pyramid: Pyramid) -> Encoded:
        """Return every level encoded; below a lossy top the levels are means of what it gives."""
        return self.encode_packed(pyramid, None)

    def encode_packed(self, pyramid: Pyramid, packed: bytes | None) -> Encoded:
        """As `encode`; what is packed already is stored as it is, if this store's top level is packed so."""
        top = self.plan.resolution
        given = image_hash(_three(pyramid[top]))
        fits = packed and self.plan.codec == "auto" and self.plan.colour == "rgb"
        data = packed if packed and fits else encode(pyramid[top], self._codecs[top])
        sha256 = given
        if self._codecs[top].startswith("jpeg"):
            seen = np.empty((3, top, top), np.uint8)
            decode_into(data, seen, where="an image just encoded")
            sha256 = image_hash(seen)
            pyramid = mean_pyramid(seen[: len(pyramid[top])])
        lower = {level: encode(pyramid[level], self._codecs[level]) for level in self.plan.levels[1:]}
        return Encoded({top: data, **lower}, sha256, given)

    def append(self, encoded: Encoded, record: Record, label: int | None) -> None:
        """Add the next image."""
        index = self._ledger.count
        checksums = {level: zlib.crc32(data) for level, data in encoded.levels.items()}
        stored = StoredRecord(record.name, encoded.sha256, record.attributes, checksums)
        checked = replace(stored, check=layout.record_check(stored, label))
        self._put(layout.lmdb_record_key(index), checked.to_json())
        for level, data in encoded.levels.items():
            self._put(layout.lmdb_image_key(level, index), data)
        self._ledger.add(encoded.sha256, label, given=encoded.given)

    def finish(self) -> None:
        """Add the labels, the count and the header."""
        labels = self._ledger.labels
        if labels is not None:
            self._put(layout.LMDB_LABELS, labels.astype("<i8").tobytes())
        self._put(layout.LMDB_LENGTH, str(self._ledger.count).encode())
        self._put(layout.LMDB_HEADER, self._ledger.header(self._codecs).to_json().encode())
        self._write_pending()

    def close(self) -> None:
        """Close the file."""
        self._environment.close()

    def _put(self, key: bytes, value: bytes) -> None:
        self._pending.append((key, value))
        self._pending_bytes += len(value)
        if self._pending_bytes >= PENDING_BYTES:
            self._write_pending()

    def _write_pending(self) -> None:
        """Write what has gathered in one transaction; the map doubles whenever it is full."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:
                raise OutputError(f"{self.path} cannot be written ({error}).") from None
            else:
                self._pending, self._pending_bytes = [], 0
                return


def recognises(path: Path) -> bool:
    """Return whether `path` is an LMDB folder."""
    return (path / DATA_FILE).is_file()


def _three(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if len(image) == 3 else image.repeat(3, axis=0)


def _count(text: bytes, *, where: str) -> int:
    if not text.isdigit() or len(text) > 12:
        raise InputError(f"{where}: the key 'length' is {text[:20]!r}; expected a number.")
    return int(text)


FORMAT = Format(
    name="lmdb",
    title="LMDB store with the keys of the PyTorch GAN trainers",
    open=lambda path, reading: LmdbStore(path),
    recognises=recognises,
    writer=LmdbWriter,
    suffixes=(".lmdb",),
)
