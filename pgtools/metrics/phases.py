"""Seconds by phase, for the benchmark; costs nothing worth telling while nobody measures."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

_lock = threading.Lock()
_active: list[dict[str, float]] = []


@contextlib.contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Yield phase → seconds, which fills while the body runs."""
    seconds: dict[str, float] = {}
    with _lock:
        _active.append(seconds)
    try:
        yield seconds
    finally:
        with _lock:
            _active.remove(seconds)


@contextlib.contextmanager
def timed(phase: str, threads: int = 1) -> Iterator[None]:
    """Count the body's time to a phase; one of `threads` that run side by side counts its share."""
    if not _active:
        yield
        return
    began = time.perf_counter()
    try:
        yield
    finally:
        took = (time.perf_counter() - began) / threads
        with _lock:
            for seconds in _active:
                seconds[phase] = seconds.get(phase, 0.0) + took
