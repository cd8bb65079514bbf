"""Networks of the user's own, brought into the cache and the user's registry, and files taken out of the cache."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from pgtools.errors import InputError, MissingModelError, OutputError
from pgtools.models.contents import check_contents
from pgtools.models.download import discard
from pgtools.models.entry import Model
from pgtools.models.recorded import forget_hash
from pgtools.models.registry import add_entry, drop_entry, registry, user_registry
from pgtools.models.turns import turn_at
from pgtools.models.weights import cache_folder, file_of, partial_of
from pgtools.runtime.files import check_free_space, check_writable, sha256_of, written_aside


def add(file: Path, model: Model) -> Model:
    """Copy a file of weights into the cache, write its entry into the user's registry, and return the entry.

    Args:
        file: a .safetensors, .pth or .pt file.
        model: its entry; file name, size and hash are those of `file`.

    Raises:
        InputError: it is no file of weights, a name is taken, or a field is not what it must be; nothing is changed.
        MissingModelError: there is no such file.
        OutputError: the cache or the user's registry cannot be written.
    """
    if not file.is_file():
        raise MissingModelError(f"{file} is not a file.", hint="Name a .safetensors, .pth or .pt file.")
    _check_free(model.name, file.name)
    check_writable(cache_folder() / file.name, overwrite=False, what="file")
    for path in (user_registry(), user_registry().resolve()):  # it may be a link to another folder
        check_writable(path, overwrite=True, what="file")
    check_free_space(cache_folder(), file.stat().st_size)
    check_contents(file, file.suffix, str(file))
    with turn_at(user_registry()), written_aside(cache_folder() / file.name) as aside:
        shutil.copyfile(file, aside)
        _check_free(model.name, file.name)
        whole = replace(model, file=file.name, bytes=aside.stat().st_size, sha256=sha256_of(aside), own=True)
        add_entry(whole)
    return whole


def remove(model: Model) -> bool:
    """Remove a network's file, what was fetched of it, and its recorded hash from the cache.

    Returns:
        whether its entry is gone from the user's registry too, which `add` wrote there.

    Raises:
        InputError: there is nothing to remove, or it comes with pgtools.
    """
    check_removable(model)
    path = file_of(model)
    try:
        with turn_at(path):
            path.unlink(missing_ok=True)
            discard(partial_of(model))
        forget_hash(cache_folder(), model.name)
        with turn_at(user_registry()):
            return model.own and not model.url and drop_entry(model)
    except OSError as error:
        raise OutputError(f"{error.filename}: {error.strerror}.", hint="Nothing else was removed.") from None


def check_removable(model: Model) -> None:
    """Raise InputError if a network comes with pgtools or there is nothing of it."""
    if model.embedded:
        raise InputError(f"{model.name} comes with pgtools and stays.", hint="`pip uninstall pgtools` removes both.")
    there = file_of(model).exists() or partial_of(model).exists()
    if not there and not (model.own and not model.url):
        raise InputError(f"There is no file of {model.name} in {cache_folder()}.")


def _check_free(name: str, file: str) -> None:
    models = registry()
    if name in models:
        raise InputError(f"A network is already called {name}.", hint="Give another --name, or remove that one first.")
    for model in models.values():
        if model.file.casefold() == file.casefold():
            raise InputError(
                f"{file} is the name of {model.name}'s file.",
                hint=f"Rename yours, or, if it is the same, `pgtools models fetch {model.name} --from {file}`.",
            )
