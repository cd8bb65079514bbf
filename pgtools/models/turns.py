"""One process at a time at a file, the others waiting."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pgtools.errors import OutputError
from pgtools.runtime.files import path_lock

# Seconds between two tries; who holds the file may be downloading for an hour.
PAUSE = 0.2


@contextlib.contextmanager
def turn_at(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let no other process of pgtools write `path` meanwhile, and wait while one does.

    Args:
        path: the file.
        waiting: told once, when it takes more than a moment.
    """
    tries = 0
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(path_lock(path))
                break
            except OutputError:
                tries += 1
                if tries == 2:
                    waiting()
                time.sleep(PAUSE)
        yield
