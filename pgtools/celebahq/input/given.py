"""What a build is given: the photos that are wanted, their landmarks, CelebA's tables, the authors' differences."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pgtools.celebahq.deltas import IMAGE_LIST, Deltas, check_deltas
from pgtools.celebahq.input.annotations import Annotations, Landmarks, read_annotations, read_landmarks
from pgtools.celebahq.input.files import StoredFile
from pgtools.celebahq.input.photos import PhotoSet, find_photos, select
from pgtools.celebahq.settings import LANDMARKS, BuildSettings
from pgtools.errors import InputError, UsageError
from pgtools.runtime.files import sha256_of


@dataclass(frozen=True)
class Given:
    """The input of a build.

    Attributes:
        photos: those that are wanted, in the order of the store.
        landmarks: name → float64 (5, 2), as far as they are known.
        source: where those are from: "celeba" or "file".
        table: the file that they are from, None without.
        searched: whether the faces of the others are to be found.
        annotations: CelebA's attributes, identities and splits, as far as they are there.
        deltas: the authors' differences, if their own images are to be made.
        absent: photos of the authors' list that are not there.
        missing: archives of the deltas that are not there.
    """

    photos: PhotoSet
    landmarks: Landmarks
    source: str
    table: StoredFile | None
    searched: bool
    annotations: Annotations
    deltas: Deltas | None
    absent: Sequence[str] = ()
    missing: Sequence[str] = ()

    @cached_property
    def order(self) -> dict[str, int]:
        """Photo → its place."""
        return {name: place for place, name in enumerate(self.photos.names)}

    @cached_property
    def known(self) -> int:
        """How many photos come with landmarks."""
        return sum(name in self.landmarks for name in self.photos.names)

    @cached_property
    def unknown(self) -> int:
        """How many photos' faces must be found."""
        return len(self.photos.names) - self.known if self.searched else 0

    def states(self, detector: str | None) -> dict[str, list[Any]]:
        """Return photo → what changes when its outcome would: its file, its delta, the detector that searches it.

        Args:
            detector: SHA-256 of the detector's weights, if there is one.
        """
        found: dict[str, list[Any]] = {name: [*file.state()] for name, file in self.photos.files.items()}
        if self.searched:
            for name in found.keys() - self.landmarks.keys():
                found[name].append(detector)
        if self.deltas is not None:
            archives = {name: entry.archive for name, entry in self.deltas.entries.items()}
            there = {one: StoredFile(self.deltas.folder / one).state() for one in set(archives.values())}
            for name, state in found.items():
                state += there[archives[name]]
        return found

    def decisive(self) -> dict[str, str | None]:
        """What of it decides the outcome of a photo, by content."""
        return {
            "folder": str(self.photos.root.absolute()),
            "landmarks": "found" if self.searched and self.table is None else self.source,
            "annotation": hashlib.sha256(self.table.read()).hexdigest() if self.table else None,
            "deltas": sha256_of(self.deltas.folder / IMAGE_LIST) if self.deltas else None,
        }


def open_input(root: Path, settings: BuildSettings) -> Given:
    """Return what is to be built from.

    Args:
        root: CelebA's folder, any folder of photos, or a ZIP of either.
        settings: which photos, and where their landmarks are from.

    Raises:
        InputError: there are no photos, a table is not there or damaged, or --deltas needs a package that is not
            installed.
        UsageError: the selection is no selection.
    """
    photos = find_photos(root)
    deltas = Deltas(settings.deltas.absolute()) if settings.deltas else None
    missing = check_deltas(deltas.folder) if deltas else []
    absent: list[str] = []
    if deltas is not None:
        photos, absent = _published(photos, deltas)
    if settings.limit or settings.indices or settings.list:
        absent = []  # a part of the list was asked for
    photos = select(photos, limit=settings.limit, indices=settings.indices, listed=settings.list)
    table = _table(photos, settings)
    known = read_landmarks(table).of(photos.names) if table else Landmarks()
    searched = settings.landmarks in ("auto", "facexlib") and deltas is None
    source = "celeba" if settings.landmarks in LANDMARKS else "file"
    given = Given(photos, known, source, table, searched, read_annotations(photos), deltas, absent, missing)
    if not searched and not given.known:
        raise InputError(
            f"None of the {len(photos.names)} photos is in {table}.", hint="Is it the table of other photos?"
        )
    return given


def _table(photos: PhotoSet, settings: BuildSettings) -> StoredFile | None:
    if settings.landmarks == "facexlib":
        return None
    if settings.landmarks not in LANDMARKS:
        if not Path(settings.landmarks).is_file():
            raise UsageError(f"--landmarks is {settings.landmarks!r}; expected {', '.join(LANDMARKS)}, or a file.")
        return StoredFile(Path(settings.landmarks))
    if photos.annotation is None and (settings.landmarks == "celeba" or settings.deltas):
        raise InputError(
            f"{photos.root} has no CelebA landmark file (Anno/list_landmarks_celeba.txt or of that kind) beside it.",
            hint="Add it, or pass --landmarks FILE" + ("." if settings.deltas else " or --landmarks facexlib."),
        )
    return photos.annotation


def _published(photos: PhotoSet, deltas: Deltas) -> tuple[PhotoSet, list[str]]:
    """Return the photos that the authors chose, in the order of their numbers, and the names of those not there."""
    if photos.annotation is not None and "align" in str(photos.annotation):
        raise InputError(
            f"{photos.root} holds CelebA's aligned photos; the authors' images are of those in the wild.",
            hint="Name the folder that holds img_celeba.",
        )
    missing = [name for name in deltas.entries if name not in photos.files]
    files = {name: photos.files[name] for name in deltas.entries if name in photos.files}
    if not files:
        raise InputError(
            f"{photos.root} holds none of the {len(missing)} photos of the authors' image_list.txt, e.g. {missing[0]}.",
            hint="They are CelebA's photos in the wild (img_celeba).",
        )
    return dataclasses.replace(photos, files=files), missing
