"""CelebA's aligned photos with their annotations, in torchvision's folder or in CelebA's own."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import read_file
from pgtools.stores.format import ALL_SPLITS, Format
from pgtools.stores.formats.celeba_tables import ATTRIBUTES, IDENTITIES, PARTITION, PARTS, READERS, Table
from pgtools.stores.formats.encoded import EncodedImages
from pgtools.stores.formats.loaded import is_file
from pgtools.stores.layout import Attribute, Record
from pgtools.stores.source import check_index

# The authors took every image.
SPLITS = (ALL_SPLITS, *PARTS)
CELEBA_FIT = Fit("celeba")

IMAGES = "img_align_celeba"
IMAGE_FOLDERS = (IMAGES, f"celeba/{IMAGES}", f"Img/{IMAGES}", f"celeba/Img/{IMAGES}")
ANNOTATION_FOLDERS = (".", "Anno", "Eval", "celeba", "celeba/Anno", "celeba/Eval")


class CelebaFolder(EncodedImages):
    """CelebA's aligned photos, ordered by name.

    Each record has what the annotation files that are there tell: the 40 attributes as 0 or 1, `identity`, and `split`
    ("train", "valid" or "test").

    Args:
        path: torchvision's folder (with `celeba/img_align_celeba`), that sub-folder, or CelebA's own (with `Img`).
        split: "train", "valid", "test" or "all"; all if not given.
        fit: crop and resize; the authors' 128² around (89, 121) if not given.

    Raises:
        InputError: there are no images, no such split, or no partition file to know it by.
    """

    def __init__(self, path: Path, split: str | None = None, fit: Fit | None = None) -> None:
        folder = _image_folder(path)
        if folder is None:
            raise InputError(f"{path} holds no folder {IMAGES}.", hint="Unpack img_align_celeba.zip there.")
        if split not in (None, *SPLITS):
            raise InputError(f"{path} has no split {split!r}; expected {', '.join(SPLITS)}.")
        self.path, self._folder = path, folder
        members = _photos(folder)
        if split not in (None, ALL_SPLITS):
            partition = self._partition
            if partition is None:
                raise InputError(f"{path} holds no {PARTITION}.txt, which tells the split {split!r}.")
            wanted = PARTS.index(str(split))
            members = [member for member in members if partition.of(member)[0] == wanted]
        if not members:
            raise InputError(f"{folder} holds no .jpg files{f' of the split {split!r}' if split else ''}.")
        super().__init__(str(path), members, fit or CELEBA_FIT)

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        return read_file(self._folder / self.members[index])

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return names and attributes."""
        members = [self.members[check_index(i, self)] for i in indices]
        return [Record(member, self._annotated(member)) for member in members]

    def _annotated(self, member: str) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        if self._attributes is not None:
            values = self._attributes.of(member)
            found |= {name: int(value > 0) for name, value in zip(self._attributes.columns, values, strict=True)}
        if self._identities is not None:
            found["identity"] = self._identities.of(member)[0]
        if self._partition is not None:
            found["split"] = PARTS[self._partition.of(member)[0]]
        return found

    @functools.cached_property
    def _attributes(self) -> Table | None:
        return _table(self.path, ATTRIBUTES)

    @functools.cached_property
    def _identities(self) -> Table | None:
        return _table(self.path, IDENTITIES)

    @functools.cached_property
    def _partition(self) -> Table | None:
        return _table(self.path, PARTITION)


def recognises(path: Path) -> bool:
    """Return whether `path` holds CelebA's folder of aligned images."""
    return _image_folder(path) is not None


def _image_folder(path: Path) -> Path | None:
    for folder in (path / name for name in IMAGE_FOLDERS):
        try:
            if folder.is_dir():
                return folder
        except OSError:
            continue
    return None


def _photos(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".jpg") and not e.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}).") from None


def _annotation_file(path: Path, name: str) -> Path | None:
    return next((path / folder / name for folder in ANNOTATION_FOLDERS if is_file(path / folder / name)), None)


def _table(path: Path, name: str) -> Table | None:
    file = _annotation_file(path, f"{name}.txt")
    return None if file is None else READERS[name](read_file(file), str(file))


FORMAT = Format(
    name="celeba",
    title="CelebA's aligned photos with attributes, identities and splits; by default the authors' 128² crop",
    open=lambda path, reading: CelebaFolder(path, reading.split, reading.fit),
    recognises=recognises,
    fits=True,
    splits=SPLITS,
)
