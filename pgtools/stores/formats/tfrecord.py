"""TFRecords as the authors' second trainer used them: a folder NAME with NAME-r02.tfrecords … and NAME-rxx.labels."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.slices import SlicedFile
from pgtools.stores.format import Format
from pgtools.stores.formats import exports
from pgtools.stores.formats.labels import MAX_ONE_HOT_CLASSES, classes_of_file, read_labels_file, write_one_hot
from pgtools.stores.formats.tfexample import (
    FRAME_BYTES,
    HEAD,
    MAX_EXTRA_BYTES,
    decode_example,
    encode_example,
    framed,
    payload_length,
    unframed,
)
from pgtools.stores.layout import MAX_LEVEL, Record
from pgtools.stores.source import LevelStore, check_index
from pgtools.stores.writer import Plan, Pyramid, Writer

LEVEL_FILE = re.compile(r"(?P<prefix>.+)-r(?P<log>\d\d)\.tfrecords")
LABELS_FILE = re.compile(r".+-rxx\.labels")
# NAME-r00 and NAME-r01, images of 1² and 2², are levels that pgtools does not have.
LOWEST_LOG = 2


@dataclass(frozen=True)
class LevelFile:
    """The file of one level.

    Attributes:
        file: its bytes, by position.
        side: of its images, in pixels.
        record_bytes: length of each of its records, frame included.
    """

    file: SlicedFile
    side: int
    record_bytes: int

    def __len__(self) -> int:
        return self.file.size // self.record_bytes

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return one image, uint8 (C, side, side).

        Raises:
            InputError: its record is damaged.
        """
        record = self.file.read(index * self.record_bytes, self.record_bytes)
        try:
            return decode_example(unframed(record), self.side)
        except ValueError as error:
            raise InputError(_damage(self.file.path, index, self.side, error), hint=_HINT) from None


class TfrecordStore(LevelStore):
    """A folder of TFRecords, the authors' or ours.

    All images of a level have one size, and so have their records: an image is found by arithmetic, without an index.
    Each read checks both of the record's checksums.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.name, self.path = str(path), path
        self._prefix, paths = _level_paths(path)
        self._files = {side: _open_level(file, side) for side, file in paths.items()}
        self.resolution = max(self._files)
        self._count = len(self._files[self.resolution])
        for side, level in self._files.items():
            if len(level) != self._count:
                raise InputError(
                    f"{level.file.path} holds {len(level)} images of {side}²; "
                    f"{self._files[self.resolution].file.path.name} holds {self._count}."
                )
        self._channels = len(self._files[self.resolution].image(0))
        self.colour = "grey" if self._channels == 1 else "rgb"

    def __len__(self) -> int:
        return self._count

    @property
    def stored_levels(self) -> Collection[int]:
        """The levels that need not be computed."""
        return self._files

    @property
    def classes(self) -> int | None:
        """Number of classes: as many as one-hot labels have columns, else the largest and one; None without labels."""
        if self.labels is None:
            return None
        return classes_of_file(self._labels_path) or super().classes

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels in NAME-rxx.labels: one-hot rows, or class numbers."""
        return read_labels_file(self._labels_path, self._count)

    def read_stored(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level; grey ones with three equal channels."""
        file = self._files[level]
        images = np.empty((len(indices), 3, level, level), np.uint8)
        for place, index in enumerate(indices):
            image = file.image(check_index(index, self))
            if len(image) != self._channels:
                raise InputError(
                    f"{file.file.path}: image {index} at {level}² has {len(image)} channels; the first has "
                    f"{self._channels}.",
                    hint=_HINT,
                )
            images[place] = image
        return images

    @property
    def _labels_path(self) -> Path:
        return self.path / f"{self._prefix}-rxx.labels"


class TfrecordWriter(Writer[dict[int, bytes]]):
    """Writes a new folder of TFRecords, a file for each level, byte by byte as the authors' tool does."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        if (plan.classes or 0) > MAX_ONE_HOT_CLASSES:
            raise InputError(
                f"{plan.stem or path.name}: labels of {plan.classes:,} classes; one-hot rows, as TFRecords have them, "
                f"take {MAX_ONE_HOT_CLASSES:,} at most.",
                hint="Pass --no-labels, or write another format.",
            )
        self._folder = exports.NewFolder(path, plan, ours=_is_ours, what="a folder of TFRecords")
        self._labels = exports.Labels(plan)
        self._prefix = plan.stem or path.name
        with contextlib.ExitStack() as opening:
            names = {side: f"{self._prefix}-r{side.bit_length() - 1:02d}.tfrecords" for side in plan.levels}
            self._files = {side: opening.enter_context((path / name).open("xb")) for side, name in names.items()}
            self._open = opening.pop_all()

    def encode(self, pyramid: Pyramid) -> dict[int, bytes]:
        """Return level → the image's record."""
        return {level: framed(encode_example(pyramid[level])) for level in self.plan.levels}

    def append(self, encoded: dict[int, bytes], record: Record, label: int | None) -> None:
        """Add the next image."""
        self._labels.add(label, record)
        for level, data in encoded.items():
            self._files[level].write(data)

    def finish(self) -> None:
        """Add the labels."""
        if (numbers := self._labels.numbers) is not None and self.plan.classes:
            with (self.path / f"{self._prefix}-rxx.labels").open("xb") as file:
                write_one_hot(file, numbers, self.plan.classes)
        self._folder.check()

    def close(self) -> None:
        """Close the files; what they still hold back is written."""
        self._open.close()


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder with a file named like NAME-r02.tfrecords."""
    return path.is_dir() and any(LEVEL_FILE.fullmatch(file.name) for file in path.glob("*.tfrecords"))


_HINT = "Copy the file again, or write it anew from its source."


def _is_ours(relative: str) -> bool:
    return bool("/" not in relative and (LEVEL_FILE.fullmatch(relative) or LABELS_FILE.fullmatch(relative)))


def _level_paths(path: Path) -> tuple[str, dict[int, Path]]:
    """Return the prefix of the file names, and side → file.

    Raises:
        InputError: there are files of several sets, or none of a level that pgtools has.
    """
    found = [(match, file) for file in sorted(path.glob("*.tfrecords")) if (match := LEVEL_FILE.fullmatch(file.name))]
    prefixes = sorted({match["prefix"] for match, _ in found})
    if len(prefixes) > 1:
        named = ", ".join(prefixes[:3])
        raise InputError(
            f"{path} holds the TFRecords of several sets ({named}).", hint="Give each a folder of its own."
        )
    paths = {2 ** int(match["log"]): file for match, file in found if int(match["log"]) >= LOWEST_LOG}
    if not paths:
        raise InputError(f"{path} holds no TFRecords of images of 4² and more (NAME-r02.tfrecords, …).")
    if max(paths) > MAX_LEVEL:
        raise InputError(f"{paths[max(paths)]} is named for images of {max(paths)}²; expected {MAX_LEVEL}² at most.")
    return prefixes[0], paths


def _open_level(path: Path, side: int) -> LevelFile:
    """Open one level's file and look at its first record.

    Raises:
        InputError: the record is damaged, or the file is not made of records of its length.
    """
    if not path.is_file():
        raise InputError(f"{path} is no regular file.", hint="Move it away.")
    file = SlicedFile(path)
    if file.size < FRAME_BYTES:
        raise InputError(f"{path} holds no images.")
    try:
        length = payload_length(file.read(0, HEAD.size))
        if length > 3 * side * side + MAX_EXTRA_BYTES:
            raise ValueError(f"it announces {length} bytes; an image of {side}² has {3 * side * side}")
    except ValueError as error:
        raise InputError(_damage(path, 0, side, error), hint=_HINT) from None
    if file.size % (length + FRAME_BYTES):
        raise InputError(
            f"{path} has {file.size} bytes, which is no multiple of its records' {length + FRAME_BYTES}: it is cut "
            "short, or its records are not of one length.",
            hint=_HINT,
        )
    return LevelFile(file, side, length + FRAME_BYTES)


def _damage(path: Path, index: int, side: int, error: ValueError) -> str:
    return f"{path}: image {index} at {side}² is damaged ({error})."


FORMAT = Format(
    name="tfrecord",
    title="folder of TFRecords as the authors' second trainer used them",
    open=lambda path, reading: TfrecordStore(path),
    recognises=recognises,
    writer=TfrecordWriter,
)
