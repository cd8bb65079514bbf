"""Files where they stand: in a folder, or inside a ZIP without being taken out of it."""

from __future__ import annotations

import errno
import functools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pgtools.errors import InputError
from pgtools.imaging.photo import SUFFIXES, read_regular
from pgtools.runtime.slices import State, state_of
from pgtools.runtime.zips import Member, ZipArchive
from pgtools.stores.formats.file_names import check_member

# A file beyond this is no photo: the largest of CelebA has 60 million pixels, which are 360 MB without any packing.
MAX_BYTES = 512 << 20
# What macOS adds to a ZIP.
FOREIGN = "__MACOSX"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Where bytes are: a file, or a member of a ZIP; a few words, so that it travels to workers.

    Attributes:
        path: the file, or the ZIP.
        member: the path inside the ZIP; None for a file.
        place: what the ZIP's directory said of the member when it was listed, so that a worker need not read a
            directory of 202,599; looked up if not given.
        listed: what the ZIP was then, by `state_of`; where it has been replaced since, the member is looked up anew.
    """

    path: Path
    member: str | None = None
    place: Member | None = field(default=None, repr=False, compare=False)
    listed: State | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            InputError: it is no regular file, larger than 512 MiB, or a member of a ZIP that is damaged, encrypted or
                not there.
            OSError: the disk or the network gave no bytes, or the ZIP has changed since it was listed and does not give
                the member, as while it is being written; either may pass.
        """
        if self.member is None:
            return read_regular(self.path, limit=MAX_BYTES)
        try:
            archive = self._archive()
            return archive.read(self._found(archive), where=str(self), limit=MAX_BYTES)
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            if self.listed not in (None, state_of(self.path.stat())):
                raise OSError(errno.ESTALE, "its ZIP has changed since it was listed") from None
            if error.message.startswith(f"{self}: "):
                raise
            raise InputError(f"{self}: cannot be read ({error.message.rstrip('.')}).", hint=error.hint) from None

    def state(self) -> list[int]:
        """Return what changes when the bytes do: [size, time in ns] of a file, [size, CRC-32] of a member of a ZIP.

        A member's is from the directory as it was listed, or from that of the ZIP that has replaced it. [] if it is
        gone.
        """
        try:
            status = self.path.stat()
            if self.member is None:
                return [status.st_size, status.st_mtime_ns]
            place = self._found(self._archive())
        except (OSError, InputError):
            return []
        return [place.size, place.crc32]

    def _archive(self) -> ZipArchive:
        return _archive(self.path, state_of(self.path.stat()))

    def _found(self, archive: ZipArchive) -> Member:
        if self.place is not None and self.listed in (None, archive.state):
            return self.place
        place = _directory(archive).get(str(self.member))
        if place is None:
            raise InputError(f"{self}: is not in the ZIP.")
        return place


class Tree(ABC):
    """Folders and files below a root; paths are relative, with `/`, and "" is the root."""

    root: Path

    @abstractmethod
    def holds(self, folder: str) -> bool:
        """Return whether there is such a folder."""

    @abstractmethod
    def file(self, path: str) -> StoredFile | None:
        """Return a file, None if it is not there."""

    @abstractmethod
    def photos(self, folder: str) -> Iterator[tuple[str, StoredFile]]:
        """Yield path below `folder` and file of every photo, in no particular order; hidden ones are left out.

        Raises:
            InputError: a folder cannot be read.
        """


class FolderTree(Tree):
    """A folder on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def holds(self, folder: str) -> bool:
        """Return whether there is such a folder."""
        return (self.root / folder).is_dir()

    def file(self, path: str) -> StoredFile | None:
        """Return a file, None if it is not there."""
        return StoredFile(self.root / path) if (self.root / path).is_file() else None

    def photos(self, folder: str) -> Iterator[tuple[str, StoredFile]]:
        """Yield the photos below a folder; links to folders are followed, but no folder is listed twice."""
        top = self.root / folder
        seen: set[tuple[int, int]] = set()
        folders, links = [""], list[str]()
        while folders or links:
            # Links last: photos are named by where they are, rather than by what leads there.
            below = folders.pop() if folders else links.pop(0)
            try:
                status = (top / below).stat()  # one a folder; of files, the listing tells all that is asked
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(top / below) as found:
                    entries = [entry for entry in found if not is_hidden(entry.name)]
                for entry in entries:
                    path = f"{below}/{entry.name}" if below else entry.name
                    if is_photo(entry.name) and entry.is_file():
                        yield path, StoredFile(Path(entry.path))
                    elif entry.is_dir():
                        (links if entry.is_symlink() else folders).append(path)
            except OSError as error:
                raise InputError(f"{top / below}: cannot be read ({error.strerror}).") from None
            links.sort()


class ZipTree(Tree):
    """A ZIP. A single folder that holds all the rest is passed over, unless its name is in `kept`.

    Raises:
        InputError: it is no readable ZIP, or names a file outside of itself.
    """

    def __init__(self, root: Path, *, kept: frozenset[str]) -> None:
        self.root = root
        archive = ZipArchive(root)
        entries, self._state = archive.entries, archive.state
        for name, _ in entries:
            if is_photo(name):
                check_member(name, root)
        self._entries = [entry for entry in entries if not any(map(is_hidden, entry[0].split("/")))]
        self._places = dict(self._entries)
        firsts = {name.split("/", 1)[0] if "/" in name else "" for name in self._places}
        self._prefix = f"{firsts.pop()}/" if len(firsts) == 1 and not firsts & {"", *kept} else ""
        parents = {name.rpartition("/")[0] for name in self._places}
        self._folders = {parent[:i] for parent in parents for i in (*_slashes(parent), len(parent))}

    def holds(self, folder: str) -> bool:
        """Return whether there is such a folder."""
        return f"{self._prefix}{folder}".rstrip("/") in self._folders

    def file(self, path: str) -> StoredFile | None:
        """Return a member, None if it is not there."""
        name = f"{self._prefix}{path}"
        return StoredFile(self.root, name, self._places[name], self._state) if name in self._places else None

    def photos(self, folder: str) -> Iterator[tuple[str, StoredFile]]:
        """Yield the photos below a folder; a member that is there twice comes twice."""
        start = f"{self._prefix}{folder}/" if folder else self._prefix
        for name, place in self._entries:
            if name.startswith(start) and is_photo(name):
                yield name[len(start) :], StoredFile(self.root, name, place, self._state)


def is_photo(name: str) -> bool:
    """Return whether a file counts as a photo, by its suffix."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and f".{suffix.lower()}" in SUFFIXES


def is_hidden(part: str) -> bool:
    """Return whether a folder or file of this name is left out."""
    return part.startswith(".") or part == FOREIGN


def _slashes(path: str) -> list[int]:
    return [i for i, character in enumerate(path) if character == "/"]


@functools.lru_cache(maxsize=8)
def _archive(path: Path, state: State) -> ZipArchive:
    """One open file a process and ZIP; a ZIP that was replaced is another."""
    return ZipArchive(path)


@functools.lru_cache(maxsize=8)
def _directory(archive: ZipArchive) -> dict[str, Member]:
    return dict(archive.entries)
