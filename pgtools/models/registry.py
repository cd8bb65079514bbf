"""The registry of networks: what the package knows, and what the user adds to it or says otherwise."""

from __future__ import annotations

import difflib
import json
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs

from pgtools.errors import InputError, UsageError
from pgtools.models.entry import Model, parse_entry
from pgtools.runtime.files import written_aside

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A file of another hash is another file: what the package says of these is not mixed with what the user says.
_OF_THE_FILE = ("sha256", "sha256_prefix", "sha256_also", "bytes")


def user_registry() -> Path:
    """Return the user's own registry, there or not: $PGTOOLS_MODELS, else models.toml in their configuration folder."""
    given = os.environ.get("PGTOOLS_MODELS")
    if given:
        return Path(given)
    return Path(platformdirs.user_config_dir("pgtools", appauthor=False)) / "models.toml"


def registry() -> dict[str, Model]:
    """Return name → network: the package's, then the user's own.

    A table of the user's with a name of the package's says some of its fields otherwise, e.g. `url` for a mirror.

    Raises:
        InputError: the user's registry is no TOML, or an entry is wrong; the message names file, entry and field.
    """
    known = tomllib.loads(files("pgtools.models").joinpath("registry.toml").read_text("utf-8"))
    models = {name: parse_entry(name, table, "registry.toml", own=False) for name, table in known.items()}
    path = user_registry()
    for name, table in _read_own(path).items():
        models[name] = _own_entry(name, table, known.get(name), path)
    _check_files(models, path)
    return models


def model_named(name: str) -> Model:
    """Return one network of the registry.

    Raises:
        UsageError: there is none of that name; the message lists what there is.
    """
    models = registry()
    if name not in models:
        close = difflib.get_close_matches(name, models, n=1)
        hint = f"Did you mean {close[0]}?" if close else "`pgtools models add FILE --name NAME` adds one of yours."
        raise UsageError(f"No network is called {name!r}; there are {', '.join(models)}.", hint=hint)
    return models[name]


def add_entry(model: Model) -> None:
    """Write an entry at the end of the user's registry, whose other lines stay as they are, and a link to it a link.

    Raises:
        InputError: what would come out is no valid registry; nothing is written.
    """
    path = user_registry()
    text = path.read_text("utf-8") if path.exists() else ""
    text += ("\n" if text and not text.endswith("\n") else "") + _block(model)
    parse_entry(model.name, _parse(text, path)[model.name], str(path), own=True)
    with written_aside(path.resolve()) as aside:
        aside.write_text(text, encoding="utf-8")


def drop_entry(model: Model) -> bool:
    """Take out of the user's registry what `add_entry` wrote.

    Returns:
        False if it is not there as it was written, or has had fields added to it; nothing is changed then.
    """
    path = user_registry()
    text = path.read_text("utf-8") if path.exists() else ""
    before, block, after = text.partition(_block(model))
    others = {name: table for name, table in _parse(text, path).items() if name != model.name}
    # Any line left of the entry would belong to the one before it.
    if not block or not _says(before + after, others):
        return False
    with written_aside(path.resolve()) as aside:
        aside.write_text(before + after, encoding="utf-8")
    return True


def _says(text: str, tables: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == tables
    except tomllib.TOMLDecodeError:
        return False


def _own_entry(name: str, table: Any, known: dict[str, Any] | None, path: Path) -> Model:
    if isinstance(table, dict) and ("embedded" in table or (known or {}).get("embedded")):
        raise InputError(
            f"{path}, [{name}]: only pgtools' own networks come with pgtools.", hint="Give yours a name of its own."
        )
    if known is not None and isinstance(table, dict):
        other_file = any(key in table for key in _OF_THE_FILE)
        table = {**{key: value for key, value in known.items() if not (other_file and key in _OF_THE_FILE)}, **table}
    return parse_entry(name, table, str(path), own=True)


def _check_files(models: dict[str, Model], path: Path) -> None:
    """No two networks share a file: fetching one would damage the other. Some systems know no capital letters."""
    owners: dict[str, str] = {}
    for name, model in models.items():
        other = owners.setdefault(model.file.casefold(), name)
        if other != name:
            raise InputError(f"{path}, [{name}]: file is {model.file!r}, which is the file of {other}.")


def _read_own(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}).") from None
    return _parse(text, path)


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}.", hint="Mend it, or move it away.") from None


def _block(model: Model) -> str:
    """The entry as TOML. A JSON string is one of TOML too, as long as no letter of it is a control character."""
    keys = ("task", "architecture", "scale", "file", "url", "bytes", "sha256", "licence", "source", "note")
    values = {key: getattr(model, key) for key in keys}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value]
    return "\n".join([f"[{json.dumps(model.name)}]", *lines, ""])
