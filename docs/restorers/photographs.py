"""Reads photos.toml: which photographs the restorers learnt from and are measured on, and where they come from."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST = Path(__file__).with_name("photos.toml")
# Role in the list, which is also the name of the folder.
ROLES = ("train", "held-out")


@dataclass(frozen=True)
class Collection:
    """Where photographs come from: a Debian package or a Python package, and the version that they were listed from."""

    name: str
    kind: str
    version: str


@dataclass(frozen=True)
class Photograph:
    """One photograph: where it is found, what it is called here, whose it is, what it is for."""

    collection: Collection
    path: str
    name: str
    author: str
    licence: str
    role: str
    sha256: str


def read_list(path: Path = LIST) -> list[Photograph]:
    """Return the photographs in the order of the list.

    Raises:
        ValueError: a name stands twice, or a role or kind is not known.
    """
    table = tomllib.loads(path.read_text("utf-8"))
    collections = {name: Collection(name, **entry) for name, entry in table["collections"].items()}
    photos = [Photograph(**{**entry, "collection": collections[entry["collection"]]}) for entry in table["photos"]]
    names = [photo.name for photo in photos]
    wrong = [name for name in names if names.count(name) > 1 or Path(name).name != name]
    wrong += [photo.name for photo in photos if photo.role not in ROLES]
    wrong += [found.name for found in collections.values() if found.kind not in ("debian", "python")]
    if wrong:
        raise ValueError(f"{path}: twice, or of an unknown role or kind: {', '.join(wrong)}.")
    return photos
