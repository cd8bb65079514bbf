"""Chunks over workers: in this process for one worker, over joblib's processes for more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
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
