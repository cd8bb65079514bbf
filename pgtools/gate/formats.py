"""The ways in which a check is written, and which of them a file's name asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pgtools.errors import UsageError
from pgtools.gate.check import Check
from pgtools.gate.junit import as_junit
from pgtools.gate.tables import as_markdown, as_text
from pgtools.runtime.files import written_aside


def as_json(done: Check) -> str:
    """Return the check as indented JSON."""
    return json.dumps(done.as_dict(), indent=2) + "\n"


WRITERS: dict[str, Callable[[Check], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "junit": as_junit,
}
SUFFIXES = {".txt": "text", ".json": "json", ".md": "markdown", ".xml": "junit"}


def format_of(path: Path) -> str:
    """Return the format that a file's suffix stands for.

    Raises:
        UsageError: none of ours.
    """
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
        raise UsageError(f"--out is {path}; expected a name that ends in one of {known}.")
    return SUFFIXES[path.suffix.lower()]


def write_check(path: Path, done: Check) -> None:
    """Write the check in the format that the suffix stands for, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(WRITERS[format_of(path)](done), encoding="utf-8")
