"""Names become files of weights: in the package, in pgtools' cache folder, or where the user says.

Nothing is downloaded from here; see `fetch.py`.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import platformdirs

from pgtools.errors import InputError, MissingModelError
from pgtools.models.entry import Model
from pgtools.models.recorded import recorded_hash
from pgtools.models.registry import model_named
from pgtools.runtime.files import human_bytes, sha256_of


def cache_folder() -> Path:
    """Return the folder of weights: $PGTOOLS_CACHE, else the user's cache folder."""
    given = os.environ.get("PGTOOLS_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("pgtools", appauthor=False)) / "models"


def file_of(model: Model) -> Path:
    """Return where a network's file belongs, there or not."""
    if model.embedded:
        return Path(str(files("pgtools").joinpath("restoration", "weights", model.file)))
    return cache_folder() / model.file


def partial_of(model: Model) -> Path:
    """Return where the file stands while it is fetched; an interrupted fetch goes on from there."""
    return cache_folder() / f".{model.file}.partial"


def state_of(model: Model) -> str:
    """Return embedded, present, damaged, partial or missing: what a look at names and sizes tells, without hashing."""
    path = file_of(model)
    if not path.is_file():
        return "partial" if not model.embedded and partial_of(model).is_file() else "missing"
    if model.exact_bytes not in (None, path.stat().st_size):
        return "damaged"
    return "embedded" if model.embedded else "present"


def find(name: str, given: Path | None = None) -> Path:
    """Return the weights file for `name`: the file the user gave, else the one in the package or the cache folder.

    The latter is checked against the SHA-256 of the registry, or against the one of the first fetch; a given file is
    the user's own choice.

    Raises:
        UsageError: the registry has no such name.
        MissingModelError: neither is there; the hint says the command that gets it.
        InputError: the file has another SHA-256.
    """
    model = model_named(name)
    if given is not None:
        if not given.is_file():
            raise MissingModelError(f"{given} is not a file; expected the weights of {name}.", hint=how_to_get(model))
        return given
    path = file_of(model)
    if not path.is_file():
        where = "in this installation" if model.embedded else f"in {path.parent}"
        raise MissingModelError(f"The weights of {name} ({model.task}) are not {where}.", hint=how_to_get(model))
    check_hash(model, sha256_of(path), str(path), hint=how_to_get(model))
    return path


def check_hash(model: Model, digest: str, what: str, *, hint: str) -> None:
    """Raise InputError if a SHA-256 is not the network's, by the registry or by the first fetch.

    Args:
        model: the network.
        digest: 64 hex digits.
        what: what messages call the file.
        hint: next step if the registry knows better.
    """
    expected = expected_hash(model)
    if has_hash(model, digest):
        return
    known = "published"
    if not model.verifiable and len(expected) == 64:
        known = "first fetched"
        hint = f"If this one is right, `pgtools models remove {model.name}` forgets the first."
    raise InputError(
        f"{what} is not the {known} file of {model.name}: its SHA-256 is {digest}; expected {expected}.", hint=hint
    )


def has_hash(model: Model, digest: str) -> bool:
    """Return whether nothing that is known of the network's file speaks against this SHA-256."""
    return model.accepts(digest) and (model.verifiable or digest.startswith(expected_hash(model).removesuffix("…")))


def expected_hash(model: Model) -> str:
    """Return the SHA-256 a file must have: the registry's, else the one of the first fetch, else what is published."""
    if model.sha256:
        return model.sha256
    recorded = "" if model.embedded else recorded_hash(cache_folder(), model.name)
    # A file name or a beginning may have changed in the registry since.
    return recorded if model.accepts(recorded) else f"{model.sha256_prefix}…" if model.sha256_prefix else ""


def known_by(model: Model) -> str:
    """Return what a file's hash is held against: registry, recorded (by the first fetch), or nothing."""
    expected = expected_hash(model)
    return "registry" if model.verifiable else "recorded" if len(expected) == 64 else "nothing"


def how_to_get(model: Model) -> str:
    """Return the command that gets a network; where it is downloaded from is on a line of its own."""
    command = f"`pgtools models fetch {model.name}"
    if model.embedded:
        return "It comes with pgtools: install pgtools again with pip."
    if not model.url:
        return f"{command} --from FILE` takes {model.file} from where you have it."
    size = f" ({human_bytes(model.bytes)})" if model.bytes else ""
    return f"{command}` downloads it{size}; without the internet, {command} --from FILE` takes it. It is\n{model.url}"
