"""Getting a network's file into the cache: from its publisher, a mirror, a folder or a file, and only when it is right.

A file comes in under another name; its hash and its contents are checked there, and it gets its own name last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pgtools.errors import InputError, MissingModelError, OutputError, UsageError
from pgtools.models.contents import check_contents
from pgtools.models.download import Patience, Wanted, discard, download
from pgtools.models.entry import Model, url_fault
from pgtools.models.recorded import record_hash
from pgtools.models.registry import model_named, registry
from pgtools.models.turns import turn_at
from pgtools.models.weights import (
    cache_folder,
    check_hash,
    expected_hash,
    file_of,
    has_hash,
    how_to_get,
    known_by,
    partial_of,
)
from pgtools.runtime.files import check_free_space, check_writable, remove_stale, sha256_of, written_aside
from pgtools.runtime.progress import byte_bar

# What one file may need beyond its own bytes: the record, a journal of the file system.
SPARE_BYTES = 1_000_000
_OTHER_DISK = "PGTOOLS_CACHE=FOLDER keeps the networks elsewhere."


@dataclass(frozen=True)
class Fetched:
    """What became of one network.

    Attributes:
        name: the network.
        path: its file.
        bytes: its size.
        sha256: its hash.
        outcome: present (it was there, and right), downloaded, or copied.
        known_by: what its hash was held against: registry, recorded (by the first fetch, which may be this one), or
            nothing.
    """

    name: str
    path: Path
    bytes: int
    sha256: str
    outcome: str
    known_by: str


def chosen_models(names: Sequence[str], source: str | None, *, everything: bool = False) -> list[Model]:
    """Return the networks to fetch, all of them possible as far as can be told before the first byte.

    Args:
        names: of the registry.
        source: see `fetch`.
        everything: all that have an address instead, or all whose files are in the folder `source`.

    Raises:
        UsageError: an unknown name, none and not everything, or a source that cannot be of so many.
        MissingModelError: a network has no address, or the source no file for it.
        OutputError: the cache cannot be written, or the disk has no room for all of them.
    """
    if everything == bool(names):
        raise UsageError("Name the networks to fetch, or pass --all.", hint="`pgtools models list` shows them.")
    models = [model_named(name) for name in dict.fromkeys(names)]
    if everything:
        fetchable = [model for model in registry().values() if not model.embedded]
        folder = source is not None and Path(source).is_dir()
        models = [m for m in fetchable if ((Path(source or "") / m.file).is_file() if folder else m.url or source)]
        if not models:
            raise MissingModelError(f"{source} has no file of any network.", hint="`pgtools models list` names them.")
    if source is not None and "://" not in source and not Path(source).exists():
        raise MissingModelError(f"--from {source} is neither a file nor a folder.", hint="Is the disk mounted?")
    one_file = source is not None and not source.endswith("/") and not Path(source).is_dir()
    if one_file and len(models) > 1:
        raise UsageError(
            f"--from {source} is one file, for {len(models)} networks.",
            hint="Name a folder, or an address that ends in '/'.",
        )
    missing = [model for model in models if not file_of(model).is_file() and not model.embedded]
    for model in missing:
        _source_of(model, source)
    if missing:
        _check_room(sum(model.bytes or 0 for model in missing))
    return models


def fetch(
    model: Model,
    source: str | None = None,
    *,
    patience: Patience | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Fetched:
    """Get a network's file into the cache, unless it is there and right.

    Args:
        model: the network.
        source: a file, a folder that has the file under its own name, an http(s) address of the file, or one of its
            folder, which ends in "/"; None for the publisher's address.
        patience: how long to bear with a server.
        say: told what the person watching should know.

    Raises:
        MissingModelError: there is no such file or address.
        InputError: the server fails, or the file is another one, or holds anything but weights; nothing is kept of it.
        OutputError: the cache cannot be written, or the disk is full.
    """
    path = file_of(model)
    if model.embedded or _is_right(model):
        return _fetched(model, "present")
    _check_room(0)
    origin = _source_of(model, source)
    try:
        with turn_at(path, lambda: say(f"Another pgtools is fetching {model.name}; waiting for it.")):
            if _is_right(model):
                return _fetched(model, "present")
            remove_stale(path)
            if isinstance(origin, Path):
                _copy(model, origin)
                return _fetched(model, "copied")
            _download(model, origin, patience)
            return _fetched(model, "downloaded")
    except OSError as error:
        raise OutputError(f"{error.filename or path.parent}: {error.strerror}.", hint=_OTHER_DISK) from None


def _is_right(model: Model) -> bool:
    """Whether the file is there and known to be the right one; a damaged one is replaced."""
    path = file_of(model)
    known = model.verifiable or len(expected_hash(model)) == 64
    return known and path.is_file() and has_hash(model, sha256_of(path))


def _fetched(model: Model, outcome: str) -> Fetched:
    path = file_of(model)
    if not path.is_file():
        raise MissingModelError(f"{path} is missing.", hint=how_to_get(model))
    return Fetched(model.name, path, path.stat().st_size, sha256_of(path), outcome, known_by(model))


def _source_of(model: Model, source: str | None) -> str | Path:
    """The address or the file that a network comes from."""
    if source is None:
        if not model.url:
            raise MissingModelError(
                f"The registry has no address for {model.name}.",
                hint=f"`pgtools models fetch {model.name} --from FILE` takes {model.file} from where you have it.",
            )
        return model.url
    if "://" in source:
        fault = url_fault(source)
        if fault:
            raise UsageError(f"--from is {source}; expected {fault}.")
        return source + quote(model.file) if source.endswith("/") else source
    path = Path(source) / model.file if Path(source).is_dir() else Path(source)
    if not path.is_file():
        raise MissingModelError(
            f"{path} is not a file; expected the weights of {model.name}.",
            hint=f"--from takes a file, a folder with {model.file} in it, or an address.",
        )
    return path


def _check_room(needed: int) -> None:
    folder = cache_folder()
    try:
        check_writable(folder, overwrite=True, what="folder")
        if folder.is_dir() and not os.access(folder, os.W_OK):
            raise OutputError(f"{folder} is not writable.")
        check_free_space(folder, needed + SPARE_BYTES)
    except OutputError as error:
        raise OutputError(error.message, hint=f"{_OTHER_DISK} Or free some space, or change its permissions.") from None


def _copy(model: Model, origin: Path) -> None:
    size = origin.stat().st_size
    _check_room(size)
    with written_aside(file_of(model)) as aside:
        with byte_bar(model.name, size) as at:
            shutil.copyfile(origin, aside)
            at(size, size)
        _check(model, aside, str(origin))
    discard(partial_of(model))


def _download(model: Model, url: str, patience: Patience | None) -> None:
    partial, path = partial_of(model), file_of(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    hint = f"`pgtools models fetch {model.name} --from FILE|FOLDER|ADDRESS` takes it from elsewhere."
    wanted = Wanted(url, partial, model.exact_bytes, model.verifiable, hint)
    resumed = partial.is_file()
    with byte_bar(model.name, model.bytes) as at:
        download(wanted, at=at, room=_check_room, patience=patience)
        if resumed and not has_hash(model, sha256_of(partial)):
            discard(partial)  # two files in one: what was here already was of another
            download(wanted, at=at, room=_check_room, patience=patience)
    try:
        _check(model, partial, url)
    except InputError:
        discard(partial)
        raise
    with written_aside(path) as aside:
        partial.rename(aside)
    discard(partial)


def _check(model: Model, file: Path, origin: str) -> None:
    """Hold a file that has come in against what is known of it; record its hash if that is nothing."""
    digest = sha256_of(file)
    check_hash(model, digest, origin, hint="Nothing of it was kept.")
    check_contents(file, Path(model.file).suffix, origin)
    if not model.verifiable:
        record_hash(cache_folder(), model.name, digest, file=model.file, origin=origin)
