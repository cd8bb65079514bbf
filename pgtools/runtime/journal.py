"""A journal of finished items in SQLite: what is in it is on disk, whatever happens next."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from pgtools.errors import InputError, OutputError


class Journal:
    """Key → outcome of finished items, for one job with fixed settings.

    Args:
        path: the SQLite file; made if it is not there.
        settings: plain values that decide the outcomes. A journal begun with others is refused, with their names.

    Raises:
        InputError: the file is no journal, or was begun with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            with self._database:
                self._database.execute("CREATE TABLE IF NOT EXISTS job (settings TEXT NOT NULL)")
                self._database.execute("CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, outcome TEXT NOT NULL)")
            self._check_settings(settings)
        except sqlite3.OperationalError as error:
            raise _unwritable(path, error) from None
        except sqlite3.DatabaseError as error:
            raise _damaged(path, error) from None

    def done(self) -> dict[str, dict[str, Any]]:
        """Return key → outcome of everything finished so far."""
        try:
            rows = list(self._database.execute("SELECT key, outcome FROM done"))
            return {key: json.loads(text) for key, text in rows}
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise _damaged(self._path, error) from None

    def record(self, outcomes: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Write outcomes, all or none; they are on disk when this returns. A key written again is replaced."""
        rows = [(key, json.dumps(outcome)) for key, outcome in outcomes]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO done VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise _unwritable(self._path, error) from None
        except sqlite3.DatabaseError as error:
            raise _damaged(self._path, error) from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def _check_settings(self, settings: dict[str, Any]) -> None:
        row = self._database.execute("SELECT settings FROM job").fetchone()
        if row is None:
            with self._database:
                self._database.execute("INSERT INTO job VALUES (?)", (json.dumps(settings),))
            return
        before = json.loads(row[0])
        now = json.loads(json.dumps(settings))
        changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        if changed:
            listed = "; ".join(f"{key} was {before.get(key)}, is {now.get(key)}" for key in changed)
            raise InputError(
                f"{self._path.parent} was begun with other settings: {listed}.",
                hint=f"Run with the settings of before, or delete {self._path.parent} and start again.",
            )


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged ({error}).", hint=f"Delete {path.parent} and start again.")


def _unwritable(path: Path, error: sqlite3.Error) -> OutputError:
    return OutputError(
        f"{path} cannot be written ({error}).", hint="Free some space, or end what else holds it, and run it again."
    )
