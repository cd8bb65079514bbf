"""Progress bars on stderr, silent when stderr is no terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

T = TypeVar("T")


@contextlib.contextmanager
def bar(description: str, total: int, *, done: int = 0, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs and yield `advance(n)`; `done` items count as finished already."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda count: progress.advance(task, count)


@contextlib.contextmanager
def byte_bar(description: str, total: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar of bytes while the body runs and yield `at(position, total)`; a position may also go back."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda position, of: progress.update(task, completed=position, total=of)


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield the items, advancing a bar by one after each."""
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
