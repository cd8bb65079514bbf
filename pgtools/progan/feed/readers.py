"""Threads that read ahead, in portions: decoders release the interpreter lock, and no process is forked.

Whoever waits for a job reads its remaining portions himself, so no readers at all is only the slowest number of them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from pgtools.imaging.threads import opencv_alone
from pgtools.runtime.workers import threads_of_others

# What a thread that is stuck in a dead network disk is waited for; it keeps no process alive.
CLOSING_SECONDS = 5.0


class Job:
    """What has to be read for one minibatch.

    Args:
        portions: each reads some images; they are done in any order, by any thread.
    """

    def __init__(self, portions: Sequence[Callable[[], None]]) -> None:
        self.waiting = deque(enumerate(portions))
        self.left = len(portions)
        self.faults: dict[int, BaseException] = {}

    @property
    def done(self) -> bool:
        """Whether every portion was read, and none failed."""
        return not self.left and not self.faults


class Readers:
    """A pool of threads that read jobs in the order in which they were submitted.

    Args:
        count: number of threads; 0 leaves the reading to `finish`.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._wanted, self._read = threading.Condition(self._lock), threading.Condition(self._lock)
        self._jobs: deque[Job] = deque()
        self._closed = False
        # Threads of the kind that Python waits for at its end would read all that is left, or for ever.
        self._threads = [threading.Thread(target=self._work, name=f"reader-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Have a job read after those submitted before."""
        if job.left:
            with self._lock:
                self._jobs.append(job)
                self._wanted.notify(job.left)

    def finish(self, job: Job) -> None:
        """Return when all of a job is read; what no thread has begun is read here.

        Raises:
            Exception: what reading raised; of several faults that of the first portion, whoever read it.
        """
        while True:
            with self._lock:
                while job.left and not job.waiting:
                    self._read.wait()
                if not job.left:
                    break
                place, portion = job.waiting.popleft()
            self._do(job, place, portion)
        if job.faults:
            raise job.faults[min(job.faults)]

    def close(self) -> None:
        """Begin no further portion, and wait for those begun. Closing twice is fine."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
            self._wanted.notify_all()
        until = time.monotonic() + CLOSING_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        with opencv_alone(), threads_of_others():
            while (taken := self._take()) is not None:
                self._do(*taken)
                del taken  # a thread without work must hold no images

    def _take(self) -> tuple[Job, int, Callable[[], None]] | None:
        """Wait for a portion of the oldest job that has one; None when there will be no more."""
        with self._lock:
            while not self._closed:
                while self._jobs and not self._jobs[0].waiting:
                    self._jobs.popleft()
                if self._jobs:
                    return (self._jobs[0], *self._jobs[0].waiting.popleft())
                self._wanted.wait()
        return None

    def _do(self, job: Job, place: int, portion: Callable[[], None]) -> None:
        """Read a portion; whatever comes of it, the job learns that it is over, so that nobody waits for ever."""
        fault: BaseException | None = None
        try:
            portion()
        except Exception as error:
            fault = error
        except BaseException as error:  # Ctrl-C, where the trainer's thread reads: to be heard at once
            fault = error
            raise
        finally:
            with self._lock:
                job.left -= 1
                if fault is not None:
                    job.faults[place] = fault
                if not job.left:
                    self._read.notify_all()
