"""Chunks over workers: in this process for one, over joblib's processes or threads for more, over a Dask cluster."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import platform
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock, local
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar
from uuid import uuid4

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pgtools import __version__
from pgtools.errors import ComputeError, UsageError

A = TypeVar("A")
B = TypeVar("B")
Kind = Literal["processes", "threads"]
BACKENDS = {"processes": "loky", "threads": "threading"}


def cpu_count() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_unordered(
    function: Callable[[A], B],
    items: Iterable[A],
    *,
    workers: int,
    kind: Kind = "processes",
    scheduler: str | None = None,
) -> Iterator[B]:
    """Yield `function(item)` for every item, once each, as results arrive; order is kept only by one worker.

    Items are taken from `items` a few ahead of the results. Closing the iterator, or an interrupt, drops what has not
    begun; what has begun elsewhere may still run to its end.

    Args:
        function: pickled, unless it stays in this process; a worker process keeps it, with what it loads, from item
            to item. Several threads may call it at once: those of `kind="threads"`, or those of one Dask worker.
        items: what `function` takes; pickled as `function` is.
        workers: how many at once; 1 computes in this thread. A cluster has as many as it has.
        kind: processes; or threads, where the work is done outside the interpreter lock and shares one GPU.
        scheduler: address ("tcp://host:8786") or scheduler file of a Dask cluster that computes instead of this
            machine. A worker that dies has its items computed again by another, so `function` may run twice on an
            item, at the same time even: it should write files aside and rename them.

    Raises:
        UsageError: `scheduler` is no address, or dask is not installed.
        InputError: `scheduler` is a file of another kind.
        ComputeError: a worker process was killed; or no cluster answers, it has no worker, it goes away, or workers die
            one after another at the same item; a worker has another version of pgtools.
        Exception: whatever `function` raises, as it is.
    """
    if scheduler is not None:
        with _cluster().cluster_parallel(scheduler) as parallel:
            yield from _results(parallel, _Sent(function), items)
    elif workers == 1:
        yield from map(function, items)
    else:
        # A process whose memory has grown is replaced, which nobody needs to be warned of; made an error, the warning
        # would end the thread that hands out the work.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        parallel = joblib.Parallel(
            n_jobs=workers, backend=BACKENDS[kind], return_as="generator_unordered", pre_dispatch="2*n_jobs"
        )
        shared = function if kind == "threads" else _Sent(function)
        yield from _results(parallel, shared, items)


def cluster_size(scheduler: str, *, paths: Sequence[Path] = ()) -> int:
    """Return how many items the Dask cluster computes at once now; ask before work that prepares the map.

    Args:
        scheduler: see `map_unordered`.
        paths: files and folders that every worker must see under the same names.

    Raises:
        UsageError, InputError, ComputeError: there is no such cluster, it has no worker, or one of another version of
            pgtools or that does not see a path.
    """
    return int(_cluster().cluster_size(scheduler, paths=paths))


def _cluster() -> ModuleType:
    try:
        return importlib.import_module("pgtools.runtime.cluster")
    except ModuleNotFoundError as error:
        if error.name not in ("dask", "distributed"):
            raise
        raise UsageError("A cluster needs dask, which is not installed.", hint="pip install 'pgtools[dask]'") from None


def _results(parallel: joblib.Parallel, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    results = parallel(joblib.delayed(function)(item) for item in items)
    try:
        # A close must not go straight through to joblib, which would warn of it.
        for result in results:  # noqa: UP028
            yield result
    except TerminatedWorkerError:
        raise ComputeError(
            "A worker process was killed, most often because memory ran out.",
            hint="Pass fewer --workers. What was done stays done: the same command goes on.",
        ) from None
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning)
            results.close()


class _Sent(Generic[A, B]):
    """A function on its way to other processes: pickled once here, unpickled and loaded once there.

    A worker of Dask dies of what it cannot unpickle; bytes it can, and what is wrong with them becomes an error.
    """

    def __init__(self, function: Callable[[A], B]) -> None:
        self.pickled: bytes = pickle.dumps(function)
        self.token = uuid4().hex
        self.version = __version__
        self.__name__ = getattr(function, "__name__", type(function).__name__)  # what a dashboard shows

    def __call__(self, item: A) -> B:
        return self._function()(item)

    def _function(self) -> Callable[[A], B]:
        if self.version != __version__:
            raise ComputeError(
                f"{platform.node()} has pgtools {__version__} and is sent work by {self.version}.",
                hint="Install the same version on every machine.",
            )
        with _keeping:
            if self.token not in _kept:
                _kept.clear()
                _kept[self.token] = pickle.loads(self.pickled)  # noqa: S301 - what dumps made above
            return _kept[self.token]


# The newest only: its networks, and the memory they hold on a GPU, end with the next.
_kept: dict[str, Callable[[Any], Any]] = {}
_keeping = Lock()


_this_thread = local()


@contextlib.contextmanager
def threads_of_others() -> Iterator[None]:
    """Let `in_threads` compute in the calling thread while inside, because that is one of many at the same work."""
    before = getattr(_this_thread, "alone", False)
    _this_thread.alone = True
    try:
        yield
    finally:
        _this_thread.alone = before


def in_threads(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return `[function(item) for item in items]`, over this process's cores: decoders release the interpreter lock."""
    cores = 1 if getattr(_this_thread, "alone", False) else min(cpu_count(), len(items) // 2)
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
