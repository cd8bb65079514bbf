"""A Dask cluster that is there already: reached, asked for its size, handed to joblib, left as it was.

Imports dask; `workers.py` imports this file when a scheduler is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import joblib
from distributed import Client, KilledWorker
from distributed.versions import VersionMismatchWarning
from joblib._dask import DaskDistributedBackend

from pgtools import __version__
from pgtools.errors import ComputeError, InputError, UsageError

# A scheduler answers in milliseconds; a name server or a slow network may need a few seconds.
CONNECT_SECONDS = 8
# A cluster that starts its workers when there is work needs a moment for the first.
WORKER_SECONDS = 30
# Tasks given to the cluster before the first result, at least: a worker that joins later finds its work there.
AHEAD = 256
ADDRESS = re.compile(r"((tcp|tls|ucx|ucxx|ws|wss)://)?[^/\s]+:\d{1,5}")
# Told on stderr by dask's client, under the progress bar; what matters of it comes as an exception.
NOISY = ("distributed.client", "distributed.comm.core", "distributed.core")


@contextlib.contextmanager
def cluster_parallel(scheduler: str) -> Iterator[joblib.Parallel]:
    """Yield a `joblib.Parallel` that yields results of the cluster as they arrive.

    Leaving the context drops what the cluster has not begun; the cluster stays.

    Args:
        scheduler: address ("tcp://host:8786") or scheduler file.

    Raises:
        UsageError, InputError: `scheduler` is neither an address nor the file of a scheduler.
        ComputeError: nothing answers there, there is no worker, the scheduler goes away, or several workers die one
            after another at the same task.
    """
    with _connected(scheduler) as client:
        parallel = joblib.Parallel(
            n_jobs=-1,
            backend=_Backend(client=client),
            batch_size=1,
            pre_dispatch=max(2 * _size(client, scheduler), AHEAD),
            return_as="generator_unordered",
        )
        try:
            yield parallel
        except KilledWorker as error:
            raise ComputeError(
                f"{error.allowed_failures + 1} workers of {scheduler} died one after another at the same task.",
                hint="The logs of the workers say why: most often too little memory. Start them anew with more of it.",
            ) from None
        except (CancelledError, asyncio.CancelledError):
            raise ComputeError(
                f"The scheduler at {scheduler} went away, and the work with it.",
                hint="Start it again, and the same command.",
            ) from None


def cluster_size(scheduler: str, *, paths: Sequence[Path] = ()) -> int:
    """Return how many tasks the cluster does at once now: the sum of its workers' threads.

    Args:
        scheduler: address or scheduler file.
        paths: files and folders that every worker must see under the same names.

    Raises:
        UsageError, InputError, ComputeError: as `cluster_parallel`; there is no cluster, or no worker; or a worker does
            not see a path.
    """
    with _connected(scheduler) as client:
        size = _size(client, scheduler)
        for path in paths:
            for worker, sees in client.run(os.path.exists, str(path.absolute()), on_error="return").items():
                if sees is not True:
                    raise ComputeError(
                        f"The worker at {worker} does not see {path.absolute()}.",
                        hint="Photos, networks and outputs must lie on a file system that all workers see alike.",
                    )
        return size


class _Backend(DaskDistributedBackend):  # type: ignore[misc]
    """joblib's own backend, but for two faults of it."""

    def configure(self, n_jobs: int = 1, parallel: joblib.Parallel | None = None, **words: Any) -> int:
        """Return at least 2: of a cluster with one worker joblib would make no use and compute here."""
        return max(2, int(super().configure(n_jobs, parallel, **words)))

    def submit(self, func: Callable[..., Any], callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """Submit as joblib does, and tell it of a task that Dask gave up: otherwise it would wait for it forever."""
        # The name it has in joblib 1.5, where `submit` works too but warns.
        send = super().submit if "submit" in vars(DaskDistributedBackend) else super().apply_async
        future: Future[Any] = send(func, callback)

        def tell(done: Future[Any]) -> None:
            error = done.exception()
            if error is not None and callback is not None:
                callback(error)

        future.add_done_callback(tell)
        return future


@contextlib.contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    address = _address(scheduler)
    with _quiet():
        try:
            with warnings.catch_warnings():
                # Versions of libraries that are no part of the result; those of pgtools are compared by every task.
                warnings.simplefilter("ignore", VersionMismatchWarning)
                client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="pgtools")
        except (OSError, ValueError, RuntimeError, ImportError, asyncio.TimeoutError) as error:
            raise ComputeError(
                f"No Dask scheduler answers at {scheduler} ({_first_line(error)}).",
                hint="Start one by `dask scheduler`, and pass the address it prints.",
            ) from None
        try:
            yield client
        finally:
            client.close()


def _address(scheduler: str) -> str:
    """Return the address itself, or that in a scheduler file; Dask would wait for a missing file without end."""
    path = Path(scheduler)
    if path.is_file():
        try:
            return str(json.loads(path.read_text("utf-8"))["address"])
        except (OSError, ValueError, LookupError, TypeError):
            raise InputError(
                f"{scheduler} is not the file of a Dask scheduler.",
                hint="`dask scheduler --scheduler-file FILE` writes one.",
            ) from None
    if not ADDRESS.fullmatch(scheduler):
        raise UsageError(
            f"{scheduler} is neither the address of a Dask scheduler nor a scheduler file that is there.",
            hint="An address looks like tcp://host:8786.",
        )
    return scheduler


def _size(client: Client, scheduler: str) -> int:
    """Return the threads of all workers, once there are any and all have this version of pgtools."""
    try:
        size = int(_Backend(client=client, wait_for_workers_timeout=WORKER_SECONDS).effective_n_jobs(-1))
    except TimeoutError:
        raise ComputeError(
            f"The cluster at {scheduler} has had no worker for {WORKER_SECONDS} seconds.",
            hint=f"Start one by `dask worker {scheduler}`.",
        ) from None
    # A function of Python's own: a worker without pgtools would die of one of ours.
    versions = client.run(pkgutil.resolve_name, "pgtools:__version__", on_error="return")
    for worker, version in versions.items():
        if version != __version__:
            found = "cannot import pgtools" if isinstance(version, Exception) else f"has pgtools {version}"
            raise ComputeError(
                f"The worker at {worker} {found}; here it is {__version__}.",
                hint="Install the same version for every worker, and start the workers anew.",
            )
    return size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NOISY]
    former = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, former, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
