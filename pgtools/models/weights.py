"""Names become files of weights: in pgtools' cache folder, or where the user says. Nothing is downloaded from here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import platformdirs

from pgtools.errors import InputError, MissingModelError
from pgtools.runtime.files import sha256_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Model:
    """One entry of the registry.

    Attributes:
        name: what commands and messages call it.
        task: what it does.
        file: its file name in the cache folder.
        url: where its publisher offers it.
        licence: SPDX name.
        sha256: hash of the file, whole or its first digits; empty if the publisher gives none.
    """

    name: str
    task: str
    file: str
    url: str
    licence: str
    sha256: str = ""


def cache_folder() -> Path:
    """Return the folder of weights: $PGTOOLS_CACHE, else the user's cache folder."""
    given = os.environ.get("PGTOOLS_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("pgtools", appauthor=False)) / "models"


@cache
def registry() -> dict[str, Model]:
    """Return name → model, as the package's registry.toml says."""
    table = tomllib.loads(files("pgtools.models").joinpath("registry.toml").read_text("utf-8"))
    return {name: Model(name=name, **entry) for name, entry in table.items()}


def find(name: str, given: Path | None = None) -> Path:
    """Return the weights file for `name`: the file the user gave, else the one in the cache folder.

    A file from the cache is checked against the registry's SHA-256; a given file is the user's own choice.

    Raises:
        MissingModelError: neither is there; the hint says where to get it and where to put it.
        InputError: the cached file has another SHA-256 than the registry.
    """
    model = registry()[name]
    if given is not None:
        if not given.is_file():
            raise MissingModelError(f"{given} is not a file; expected the weights of {name}.", hint=how_to_get(model))
        return given
    path = cache_folder() / model.file
    if not path.is_file():
        raise MissingModelError(
            f"The weights of {name} ({model.task}) are not on this machine.", hint=how_to_get(model)
        )
    if model.sha256 and not sha256_of(path).startswith(model.sha256):
        raise InputError(f"{path} does not have the published SHA-256 of {name}.", hint=how_to_get(model))
    return path


def how_to_get(model: Model) -> str:
    """Return the sentence that tells a user how to get a model and where it belongs."""
    return f"Fetch {model.url} and save it as {cache_folder() / model.file}, or name the file itself."
