"""A folder of image files, nested or not; sub-folders of the first level are classes."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import SUFFIXES, read_file
from pgtools.stores.codecs import encode
from pgtools.stores.format import Format
from pgtools.stores.formats import exports
from pgtools.stores.formats.encoded import EncodedImages
from pgtools.stores.formats.file_names import labels_by_folder, member_names, valid_text
from pgtools.stores.formats.labels import MAX_CLASS
from pgtools.stores.layout import Record
from pgtools.stores.source import check_index
from pgtools.stores.writer import Plan, Pyramid, Writer

DATASET_JSON = "dataset.json"


class NamedImages(EncodedImages):
    """Image files known by their relative paths: their classes are in `dataset.json`, or in the first sub-folder."""

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels from `dataset.json` where it gives any, else from the first sub-folder."""
        return _labels(self.name, self.members, self.read_description())

    @abstractmethod
    def read_description(self) -> bytes | None:
        """Return the bytes of `dataset.json`, None if it is not there."""

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the relative paths; bytes in them that are no UTF-8 are spelt out."""
        return [Record(valid_text(self.members[check_index(i, self)])) for i in indices]


class ImageFolder(NamedImages):
    """Image files below a folder, ordered by their relative path."""

    def __init__(self, path: Path, fit: Fit | None = None) -> None:
        self.path = path
        members = sorted(name for name in _files_below(path) if is_image_name(name))
        if not members:
            raise InputError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).", hint=_hint(path))
        super().__init__(str(path), members, fit)

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        return read_file(self.path / self.members[index])

    def read_description(self) -> bytes | None:
        """Return the bytes of `dataset.json`, None if it is not there."""
        file = self.path / DATASET_JSON
        return read_file(file) if file.is_file() else None


class FolderWriter(Writer[bytes]):
    """Writes a new folder of PNG files under the images' own names, as far as `member_names` can keep them.

    Attributes are not kept, and `dataset.json` is written only where the labels would not be read back without it.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._folder = exports.NewFolder(path, plan, ours=_is_ours, what="a folder of PNG files")
        self._labels, self._names = exports.Labels(plan), list[str]()
        # Whether the names sort is known only after the last of them, so the files get theirs then.
        self._coming = path / ".coming"
        self._coming.mkdir()

    def encode(self, pyramid: Pyramid) -> bytes:
        """Return the top level as PNG."""
        return encode(pyramid[self.plan.resolution], "png")

    def append(self, encoded: bytes, record: Record, label: int | None) -> None:
        """Add the next image."""
        self._labels.add(label, record)
        self._file(len(self._names)).write_bytes(encoded)
        self._names.append(record.name)

    def finish(self) -> None:
        """Give the files their names and add `dataset.json` where it is needed."""
        labels = self._labels.numbers
        members = member_names(self._names, labels)
        for folder in {PurePosixPath(member).parent for member in members}:
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        for index, member in enumerate(members):
            self._file(index).rename(self.path / member)
        self._coming.rmdir()
        told = labels_by_folder(members)
        alike = told is labels if told is None or labels is None else np.array_equal(told, labels)
        if not alike:
            (self.path / DATASET_JSON).write_bytes(exports.dataset_json(members, labels))
        self._folder.check()

    def _file(self, index: int) -> Path:
        return self._coming / str(index)


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder."""
    return path.is_dir()


def is_image_name(member: str) -> bool:
    """Return whether a file of this relative name counts as an image: by its suffix, and not hidden.

    What macOS adds to a ZIP (`__MACOSX/._0001.png`) is named like an image and is none.
    """
    path = PurePosixPath(member)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def _is_ours(member: str) -> bool:
    return member == DATASET_JSON or (member.endswith(".png") and is_image_name(member))


def _files_below(path: Path) -> list[str]:
    """Relative paths of the files below a folder; links to folders are followed, but not in circles."""
    found, seen = [], set()
    for folder, below, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        found += [Path(folder, file).relative_to(path).as_posix() for file in files]
    return found


def _labels(name: str, members: Sequence[str], dataset_json: bytes | None) -> NDArray[np.int64] | None:
    """Labels from `dataset.json` where it gives any, else from the first sub-folder when every file is in one."""
    if dataset_json is not None:
        try:
            listed = json.loads(dataset_json).get("labels")
            if listed is None:
                return None
            by_name = {str(file): _class_number(label) for file, label in listed}
            return np.array([by_name[member] for member in members], dtype=np.int64)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise InputError(f"{name}: dataset.json does not give one class number an image ({error!r}).") from None
    return labels_by_folder(members)


def _class_number(label: object) -> int:
    if type(label) is not int or not 0 <= label <= MAX_CLASS:
        raise ValueError(f"{str(label)[:40]} is no class number; expected 0 to {MAX_CLASS}")
    return label


def _hint(path: Path) -> str:
    archives = sorted(file.name for file in path.glob("*.zip"))
    return f"It holds {', '.join(archives)}: name the archive itself." if archives else "Name another folder."


FORMAT = Format(
    name="folder",
    title="folder of image files, labels from dataset.json or the first sub-folder",
    open=lambda path, reading: ImageFolder(path, reading.fit),
    recognises=recognises,
    fits=True,
    writer=FolderWriter,
)
