"""Results go to stdout: text for people, `--json` for machines. All else goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from pgtools.errors import OutputError


def print_json(value: Any) -> None:
    """Print a value as indented JSON on stdout."""
    click.echo(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print a line for the person watching, on stderr."""
    click.echo(text, err=True)


def at_a_terminal() -> bool:
    """Return whether someone is there to be asked: stdin and stderr are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm_replacing(paths: Sequence[Path], *, overwrite: bool, yes: bool) -> None:
    """Ask before stores that exist are replaced, where someone is there to answer.

    Raises:
        OutputError: the answer was no.
    """
    there = [path for path in paths if path.exists()]
    if not overwrite or yes or not there or not at_a_terminal():
        return
    from pgtools.stores.jobs.convert import described

    if not click.confirm(f"Replace {' and '.join(map(described, there))}?", default=False, err=True):
        raise OutputError("Nothing was changed.", hint="Name another output, or answer y.")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Print rows as a table on stdout; every column after the first is flushed right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout)
    # A pipe or a file has no width to fit into. Cells hold names from files: brackets in them are no markup.
    Console(file=sys.stdout, width=None if console.is_terminal else 200, markup=False).print(table)
