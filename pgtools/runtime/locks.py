"""A lock that an object may keep and still travel to other processes."""

from __future__ import annotations

import os
import threading
from types import TracebackType


class ProcessLock:
    """A lock between the threads of one process; `with` holds it.

    It is a fresh one wherever it is unpickled, and in a forked child, whatever a thread of the parent held.
    """

    def __init__(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[ProcessLock], tuple[()]]:
        return ProcessLock, ()
