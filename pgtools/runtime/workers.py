"""Chunks over workers: in this process for one worker, over joblib's processes for more."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import joblib

A = TypeVar("A")
B = TypeVar("B")


def cpu_count() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_unordered(function: Callable[[A], B], items: Iterable[A], *, workers: int) -> Iterator[B]:
    """Yield `function(item)` for every item as results arrive; order is not kept when `workers` > 1."""
    if workers == 1:
        yield from map(function, items)
        return
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="2*n_jobs")
    yield from parallel(joblib.delayed(function)(item) for item in items)


def in_threads(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return `[function(item) for item in items]`, over this process's cores: decoders release the interpreter lock."""
    cores = min(cpu_count(), len(items) // 2)
    if cores < 2:
        return [function(item) for item in items]
    found: list[B] = [None] * len(items)  # type: ignore[list-item]

    def work(start: int) -> None:
        for place in range(start, len(items), cores):
            found[place] = function(items[place])

    with ThreadPoolExecutor(cores) as pool:  # one task a core: handing over a small image costs as much as reading it
        for done in [pool.submit(work, start) for start in range(cores)]:
            done.result()
    return found


def map_ahead(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yield `function(item)` for every item in order, computed in threads a few items ahead.

    No more than twice as many items as there are cores are in memory at once.
    """
    cores = cpu_count()
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
