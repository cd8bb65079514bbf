"""WebDataset shards: TARs whose files belong together by name: `00000000.png`, `00000000.cls`, `00000000.json`."""

from __future__ import annotations

import io
import json
import math
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import SUFFIXES
from pgtools.runtime.locks import ProcessLock
from pgtools.runtime.slices import SlicedFile
from pgtools.stores.codecs import encode
from pgtools.stores.format import Format
from pgtools.stores.formats import exports
from pgtools.stores.formats.encoded import EncodedImages
from pgtools.stores.formats.folder import is_image_name
from pgtools.stores.formats.labels import MAX_CLASS
from pgtools.stores.formats.tar import members
from pgtools.stores.layout import MAX_TEXT_BYTES, Record, checked_attributes
from pgtools.stores.source import check_index
from pgtools.stores.writer import Plan, Pyramid, Writer

# An encoded image larger than this is no image of a data set; a damaged header can announce any size.
MAX_IMAGE_BYTES = 1 << 28
SHARD_IMAGES, SHARD_BYTES = 1000, 1 << 28
# A set may have more shards than a process may open: those that were read last stay open.
OPEN_SHARDS = 64
SHARD_FILE = re.compile(r".+-\d{6,}\.tar", re.ASCII)
# Columns of the index: the image, its class, its JSON.
IMAGE, CLASS, JSON = range(3)


class Shards:
    """The TAR files of a set, by their numbers, each opened when it is read.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._sizes: dict[int, int] = {}
        self._open: OrderedDict[int, SlicedFile] = OrderedDict()
        self._opening = ProcessLock()

    def __getitem__(self, number: int) -> SlicedFile:
        """Return one file, open for as long as the caller keeps it.

        Raises:
            InputError: it cannot be opened, or is another than it was.
        """
        with self._opening:
            if number not in self._open:
                file = SlicedFile(self.paths[number])
                if file.size != self._sizes.setdefault(number, file.size):
                    raise InputError(f"{file.path} has changed since it was opened.", hint="Open the set again.")
                self._open[number] = file
                if len(self._open) > OPEN_SHARDS:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            return self._open[number]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": OrderedDict()}


class WebdatasetImages(EncodedImages):
    """Images in a TAR or a folder of TARs, in the order in which they stand there; read in place.

    As WebDataset has it, what a file is called up to the first dot of its name is its sample, the rest says what it is.
    Classes are in `.cls`, names and attributes in `.json`; flat values of other people's JSON are attributes.

    Args:
        path: one TAR, or a folder of them, which are taken in the order of their names.
        fit: the crop and resize each image goes through.
    """

    def __init__(self, path: Path, fit: Fit | None = None) -> None:
        shards = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        self._shards = Shards([shard for shard in shards if shard.is_file()])
        names: list[str] = []
        tables = []
        for number, shard in enumerate(self._shards.paths):
            found, table = _index(self._shards[number])
            names += [f"{shard.name}/{name}" if path.is_dir() else name for name in found]
            tables.append(table)
        if not names:
            raise InputError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
        super().__init__(str(path), names, fit)
        # int64 (N, 3, 2): offset and size of each part in its shard; −1 where a sample has no such part.
        self._places = np.concatenate(tables)
        self._first = np.cumsum([0, *map(len, tables)])

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        data = self._part(index, IMAGE, MAX_IMAGE_BYTES)
        return data if data is not None else b""

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels from the `.cls` files; there is one for each image, or none at all."""
        missing = self._places[:, CLASS, 0] < 0
        if missing.all():
            return None
        if missing.any():
            raise InputError(f"{self.where(int(missing.argmax()))} has no .cls beside it; other images have.")
        return np.array([self._class_of(index) for index in range(len(self))], np.int64)

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return names and attributes from the `.json` files; the images' paths where there is none."""
        return [self._record(check_index(index, self)) for index in indices]

    def _part(self, index: int, part: int, limit: int) -> bytes | None:
        offset, size = (int(value) for value in self._places[index, part])
        if offset < 0:
            return None
        if size > limit:
            raise InputError(f"{self.where(index)}: a file of its sample has {size} bytes; expected {limit} at most.")
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        return self._shards[shard].read(offset, size)

    def _class_of(self, index: int) -> int:
        text = (self._part(index, CLASS, MAX_TEXT_BYTES) or b"").strip()
        if not text.isdigit() or len(text) > 18 or int(text) > MAX_CLASS:
            raise InputError(f"{self.where(index)}: its .cls is {text[:20]!r}; expected a class number to {MAX_CLASS}.")
        return int(text)

    def _record(self, index: int) -> Record:
        text = self._part(index, JSON, MAX_TEXT_BYTES)
        if text is None:
            return Record(self.members[index])
        try:
            told = json.loads(text)
            if not isinstance(told, dict):
                return Record(self.members[index])
            name = told.get("name")
            if set(told) == {"name", "attributes"} and isinstance(name, str):
                return Record(name, checked_attributes(told["attributes"]))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.where(index)}: its .json is damaged ({error}).") from None
        return Record(self.members[index], {key: value for key, value in told.items() if _is_attribute(value)})


class WebdatasetWriter(Writer[bytes]):
    """Writes a new folder of shards, NAME-000000.tar, …, of 1,000 images or 256 MiB at most."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._folder = exports.NewFolder(path, plan, ours=_is_ours, what="a folder of WebDataset shards")
        self._labels, self._count = exports.Labels(plan), 0
        self._shards = self._in_shard = 0
        self._shard: tarfile.TarFile | None = None

    def encode(self, pyramid: Pyramid) -> bytes:
        """Return the top level as PNG."""
        return encode(pyramid[self.plan.resolution], "png")

    def append(self, encoded: bytes, record: Record, label: int | None) -> None:
        """Add the next image."""
        about = json.dumps({"name": record.name, "attributes": dict(record.attributes)}, sort_keys=True).encode()
        parts = {"png": encoded, "json": about}
        if self._labels.add(label, record) is not None:
            parts["cls"] = str(label).encode()
        shard = self._shard_for(sum(_tar_bytes(len(data)) for data in parts.values()))
        for extension in sorted(parts):
            info = tarfile.TarInfo(f"{self._count:08d}.{extension}")
            info.size = len(parts[extension])
            shard.addfile(info, io.BytesIO(parts[extension]))
        self._count, self._in_shard = self._count + 1, self._in_shard + 1

    def finish(self) -> None:
        """Write the end of the last shard."""
        self._close_shard()
        self._folder.check()

    def close(self) -> None:
        """Close the file."""
        if self._shard and self._shard.fileobj:
            self._shard.fileobj.close()

    def _close_shard(self) -> None:
        if self._shard:
            self._shard.close()

    def _shard_for(self, size: int) -> tarfile.TarFile:
        """Return the shard that the next image goes into; a new one where the last is full."""
        end = 2 * tarfile.BLOCKSIZE
        if self._shard and self._in_shard < SHARD_IMAGES and self._shard.offset + size + end <= SHARD_BYTES:
            return self._shard
        self._close_shard()
        path = self.path / f"{self.plan.stem or self.path.name}-{self._shards:06d}.tar"
        # TarInfo's own times, owners and modes are 0, "" and 0644: equal images give equal bytes.
        self._shard = tarfile.open(path, "x", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._shards, self._in_shard = self._shards + 1, 0
        return self._shard


def recognises(path: Path) -> bool:
    """Return whether `path` is a TAR, or a folder of TARs without images and folders beside them."""
    if not path.is_dir():
        return path.is_file() and path.suffix == ".tar"
    found = False
    with os.scandir(path) as entries:
        for entry in entries:
            if is_image_name(entry.name) or (entry.is_dir() and not entry.name.startswith(".")):
                return False
            found = found or entry.name.endswith(".tar")
    return found


def _index(shard: SlicedFile) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of a shard's images, and where they and what belongs to them stand, int64 (n, 3, 2).

    Raises:
        InputError: the shard is damaged, or a sample has a part twice.
    """
    samples: dict[str, dict[int, tuple[int, int]]] = {}
    names: dict[str, str] = {}
    for member in members(shard):
        folder, slash, file = member.name.removeprefix("./").rpartition("/")
        key, _, extension = file.partition(".")
        part = _part_of(file, extension.lower())
        if part is None:
            continue
        sample = samples.setdefault(folder + slash + key, {})
        if part in sample:
            raise InputError(f"{shard.path}: {member.name!r} is there twice, or beside another image of its sample.")
        sample[part] = (member.offset, member.size)
        if part == IMAGE:
            names[folder + slash + key] = folder + slash + file
    table = np.full((len(names), 3, 2), -1, np.int64)
    for row, key in enumerate(names):
        for part, place in samples[key].items():
            table[row, part] = place
    return list(names.values()), table


def _part_of(file: str, extension: str) -> int | None:
    if extension in ("cls", "json"):
        return CLASS if extension == "cls" else JSON
    return IMAGE if f".{extension}" in SUFFIXES and is_image_name(file) else None


def _tar_bytes(size: int) -> int:
    """Return what a file of `size` bytes takes in a TAR, its header included."""
    return tarfile.BLOCKSIZE * (1 + math.ceil(size / tarfile.BLOCKSIZE))


def _is_attribute(value: object) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def _is_ours(relative: str) -> bool:
    return SHARD_FILE.fullmatch(relative) is not None and "/" not in relative


FORMAT = Format(
    name="webdataset",
    title="WebDataset shards: a TAR, or a folder of them",
    open=lambda path, reading: WebdatasetImages(path, reading.fit),
    recognises=recognises,
    fits=True,
    writer=WebdatasetWriter,
)
