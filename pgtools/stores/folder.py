"""A folder of image files, nested or not; sub-folders of the first level are classes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import SUFFIXES
from pgtools.stores.encoded import EncodedImages
from pgtools.stores.formats import Format
from pgtools.stores.layout import Record
from pgtools.stores.source import check_index

DATASET_JSON = "dataset.json"


class NamedImages(EncodedImages):
    """Image files known by their relative paths: their classes are in `dataset.json`, or in the first sub-folder."""

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels from `dataset.json` where it gives any, else from the first sub-folder."""
        return _labels(self.name, self.members, self.read_description())

    def read_description(self) -> bytes | None:
        """Return the bytes of `dataset.json`, None if it is not there."""
        raise NotImplementedError

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the relative paths."""
        return [Record(self.members[check_index(i, self)]) for i in indices]


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
        file = self.path / self.members[index]
        try:
            return file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}).") from None

    def read_description(self) -> bytes | None:
        """Return the bytes of `dataset.json`, None if it is not there."""
        file = self.path / DATASET_JSON
        return file.read_bytes() if file.is_file() else None


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
    folders = [PurePosixPath(member).parts[0] if "/" in member else "" for member in members]
    classes = sorted(set(folders))
    if len(classes) < 2 or "" in classes:
        return None
    numbers = {folder: number for number, folder in enumerate(classes)}
    return np.array([numbers[folder] for folder in folders], dtype=np.int64)


def _class_number(label: object) -> int:
    if type(label) is not int or label < 0:
        raise ValueError(f"{label!r} is no class number")
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
)
