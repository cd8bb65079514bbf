"""Progress bars on stderr, silent when stderr is no terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


@contextlib.contextmanager
def bar(description: str, total: int, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs and yield `advance(n)`; `done` items count as finished already."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda count: progress.advance(task, count)


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield the items, advancing a bar by one after each."""
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
