"""CelebA's folders and text files: which photos there are, and the five points of each."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.photo import SUFFIXES

# Where photos stand in the editions of CelebA, most original first; each goes with one annotation file.
LAYOUTS = (
    ("img_celeba", "list_landmarks_celeba"),
    ("img_align_celeba", "list_landmarks_align_celeba"),
    ("img_align_celeba_png", "list_landmarks_align_celeba"),
)
COORDINATES = 10


@dataclass(frozen=True)
class PhotoSet:
    """Photos to build from.

    Attributes:
        folder: below which they are.
        files: name → file, sorted by name; a name is the path below `folder` (bytes that are no UTF-8 as \\xNN), and
            what annotation, manifest and store call a photo.
        annotation: the landmark file that belongs to them, if there is one.
    """

    folder: Path
    files: dict[str, Path]
    annotation: Path | None

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(self.files)


def find_photos(root: Path) -> PhotoSet:
    """Return the photos of a CelebA folder (any edition) or of any folder, with the annotation that belongs to them.

    Raises:
        InputError: `root` is no folder, or there is no photo below it.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "missing"
        raise InputError(f"{root} is {found}; expected CelebA's folder, or a folder of photos.")
    for images, annotation in LAYOUTS:
        for base in (root, root / "Img"):
            folder = base / images
            if (folder / images).is_dir():  # some editions nest the folder in itself
                folder = folder / images
            if folder.is_dir():
                return _photo_set(folder, _annotation_file(root, annotation))
    by_name = dict(LAYOUTS).get(root.name)
    return _photo_set(root, _annotation_file(root.parent, by_name) if by_name else _any_annotation(root))


def read_landmarks(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return name → float64 (5, 2) points of a CelebA annotation: the original text, or Kaggle's CSV.

    Raises:
        InputError: the file is not such a table; the first bad line is named.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error}).") from None
    lines = text.splitlines()
    if path.suffix == ".csv":
        rows: Iterable[tuple[int, list[str]]] = enumerate(csv.reader(lines[1:]), start=2)
        try:
            return dict(_points(path, number, row) for number, row in rows if row)
        except csv.Error as error:
            raise InputError(f"{path}: is no CSV table ({error}).") from None
    if not lines or not lines[0].strip().isdigit():
        raise InputError(f"{path}: line 1 is {lines[0][:40] if lines else ''!r}; expected the number of photos.")
    split = ((number, line.rsplit(None, COORDINATES)) for number, line in enumerate(lines[2:], start=3) if line.strip())
    points = dict(_points(path, number, words) for number, words in split)
    if len(points) != int(lines[0]):
        raise InputError(
            f"{path}: line 1 says {lines[0].strip()} photos; {len(points)} follow.", hint="Is it cut short?"
        )
    return points


def _points(path: Path, number: int, words: list[str]) -> tuple[str, NDArray[np.float64]]:
    try:
        values = np.array([float(word) for word in words[1:]])
    except ValueError:
        values = np.array([])
    if len(values) != COORDINATES or not np.isfinite(values).all():
        raise InputError(f"{path}: line {number} is {' '.join(words)[:80]!r}; expected a file name and ten numbers.")
    return words[0], values.reshape(5, 2)


def _photo_set(folder: Path, annotation: Path | None) -> PhotoSet:
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.name[0] != "." and p.is_file())
    files = {os.fsencode(p.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace"): p for p in found}
    if not files:
        raise InputError(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))}).")
    return PhotoSet(folder, dict(sorted(files.items())), annotation)


def _annotation_file(root: Path, stem: str) -> Path | None:
    candidates = (folder / f"{stem}{suffix}" for folder in (root / "Anno", root) for suffix in (".txt", ".csv"))
    return next((path for path in candidates if path.is_file()), None)


def _any_annotation(root: Path) -> Path | None:
    found = (_annotation_file(root, stem) for _, stem in LAYOUTS)
    return next((path for path in found if path is not None), None)
