"""Hashes of files whose publisher gives none: the first fetch records it, and later ones must agree.

They stand in hashes.json in the cache folder, name → {file, sha256, from, fetched}.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pgtools.errors import InputError
from pgtools.models.turns import turn_at
from pgtools.runtime.files import write_json

RECORD = "hashes.json"


def recorded_hash(folder: Path, name: str) -> str:
    """Return the SHA-256 that the first fetch of `name` found; empty if there was none.

    Raises:
        InputError: the record cannot be read.
    """
    return str(_read(folder).get(name, {}).get("sha256", ""))


def record_hash(folder: Path, name: str, digest: str, *, file: str, origin: str) -> None:
    """Keep the SHA-256 of a network's file, and when and from where it came."""
    with turn_at(folder / RECORD):
        facts = {"file": file, "sha256": digest, "from": origin, "fetched": datetime.now(timezone.utc).isoformat()}
        write_json(folder / RECORD, {**_read(folder), name: facts})


def forget_hash(folder: Path, name: str) -> None:
    """Take the record of a network out, if there is one."""
    if name not in _read(folder):
        return
    with turn_at(folder / RECORD):
        write_json(folder / RECORD, {key: value for key, value in _read(folder).items() if key != name})


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        known = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        # Counting it as empty would trust every next file as if it were the first.
        reason = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise InputError(
            f"{path} cannot be read ({reason}).", hint="Remove it to forget the recorded hashes."
        ) from None
    if not isinstance(known, dict) or not all(isinstance(entry, dict) for entry in known.values()):
        raise InputError(f"{path} is no table of hashes.", hint="Remove it to forget the recorded hashes.")
    return known
