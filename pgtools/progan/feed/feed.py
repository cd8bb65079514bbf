"""Minibatches of real images, read some minibatches ahead of the step that wants them.

    with Feed(source, plan(0, 1024, settings), seed=0, device=device, rows=np.arange, settings=FeedSettings()) as feed:
        images, labels = feed.next()

What comes depends on the source, the plan, the seed and the rows alone. Readers and memory decide when it is there:
next() blocks only if the images are not, and `waited` says for how long.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.progan.feed.kept import Kept, KeptLevels
from pgtools.progan.feed.order import Order
from pgtools.progan.feed.readers import Job, Readers
from pgtools.progan.feed.transfer import Arriving, Fetched, Transfer
from pgtools.progan.schedule import Wanted
from pgtools.runtime.workers import cpu_count
from pgtools.stores.source import ImageSource, LevelStore

# Images on their way, beside those of the levels that are kept; the next minibatch is always on its way.
AHEAD_BYTES = 256 << 20
# So many images ahead at most, and never more than an epoch: enough to bridge a slow disk's pauses, without readers
# that take the interpreter lock from the trainer's thread until a whole level is read.
AHEAD_IMAGES = 1 << 13
# Minibatches begun in one call, so that the first of a level is not kept waiting for the plan of the next thousand.
BEGUN_AT_ONCE = 8
# A portion is read by one thread: enough small images to be worth handing over, few enough to share a minibatch out.
PORTION_BYTES, PORTION_IMAGES = 1 << 16, 16
# On machines of many cores: readers take turns at the interpreter lock.
MOST_WORKERS = 8

NO_IMAGES = torch.empty((0, 3, 4, 4), dtype=torch.uint8, device="cpu")

Rows = Callable[[int], NDArray[np.int64]]


@dataclass(frozen=True)
class FeedSettings:
    """How a feed reads; none of it changes what comes, except that there are labels.

    Attributes:
        memory: 10^9 bytes of main memory for levels that are kept; half of what is free if None, nothing is kept at 0.
        workers: threads that read ahead; one a core, at most MOST_WORKERS, if None. At 0 the trainer's thread reads.
        labels: give the images' labels too.
        share: of so many processes on this machine this is one; they divide the memory among them.
    """

    memory: float | None = None
    workers: int | None = None
    labels: bool = False
    share: int = 1


@dataclass
class _Batch:
    """A minibatch ahead: which images, and where those are read to that no earlier minibatch brings.

    Attributes:
        kept: the level it is taken from; None if it is streamed.
        missing: numbers that this minibatch brings; all of them if it is streamed.
        staging: where they are read to; of no images if that is the kept level itself.
        arriving: the images on their way to the device.
    """

    wanted: Wanted
    numbers: NDArray[np.int64]
    kept: Kept | None
    missing: NDArray[np.int64]
    staging: Tensor
    job: Job
    arriving: Arriving | None = None


class Feed:
    """The minibatches of a plan, one after the other.

    Levels that fit are kept: their images are read once, when they are first wanted, and a level is let go when no
    minibatch ahead wants it. Others are read for each minibatch. The first minibatches of a new level are read while
    the last of the one before are taken.

    Args:
        source: where the images come from.
        wanted: the minibatches in the order in which they will be taken.
        seed: names the order of the images, see `Order`.
        device: where the images are wanted.
        rows: the places of a minibatch of so many images that this process takes; `np.arange` for all.
        settings: how to read.

    Attributes:
        waited: seconds that the caller has spent in next() so far.

    Raises:
        InputError: labels are wanted and the source has none.
    """

    def __init__(
        self,
        source: ImageSource,
        wanted: Iterator[Wanted],
        *,
        seed: int,
        device: torch.device,
        rows: Rows,
        settings: FeedSettings,
    ) -> None:
        self._source, self._wanted, self._rows = source, wanted, rows
        self._order = Order(len(source), seed)
        self._labels = _labels_of(source) if settings.labels else None
        self._transfer = Transfer(device)
        self._levels = KeptLevels(len(source), settings.memory, share=settings.share, transfer=self._transfer)
        self._ahead: deque[_Batch] = deque()
        self._bytes = 0
        self._readers = Readers(min(cpu_count(), MOST_WORKERS) if settings.workers is None else settings.workers)
        # Also when the feed is forgotten, and before the interpreter ends: a decoder must not outlive it.
        self._end = weakref.finalize(self, self._readers.close)
        self.waited = 0.0

    def next(self) -> Fetched:
        """Return the next minibatch of the plan.

        Raises:
            InputError: one of its images is damaged; every later call says so again.
            StopIteration: the plan is over.
            ValueError: the feed was closed.
        """
        if not self._end.alive:
            raise ValueError("This feed was closed.")
        began = time.perf_counter()
        try:
            self._begin_further()
            if not self._ahead:
                raise StopIteration
            self._readers.finish(self._ahead[0].job)
            fetched = self._transfer.arrive(self._taken())
            self._begin_further()
            if self._transfer.overlaps and self._ahead and self._ahead[0].job.done:
                self._ahead[0].arriving = self._sent(self._ahead[0])
            return fetched
        finally:
            self.waited += time.perf_counter() - began

    def close(self) -> None:
        """End the readers; what they have begun, a portion each, they read to its end."""
        self._end()
        self._ahead.clear()
        self._levels.only(())

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_further(self) -> None:
        """Begin to read what comes next, as far ahead as bytes and images allow."""
        most = min(AHEAD_IMAGES, len(self._source))
        for _ in range(BEGUN_AT_ONCE):
            if len(self._ahead) > 1:
                images = self._ahead[-1].wanted.shown - self._ahead[0].wanted.shown
                if images >= most or self._bytes >= AHEAD_BYTES:
                    return
            wanted = next(self._wanted, None)
            if wanted is None:
                return
            self._begin(wanted)

    def _begin(self, wanted: Wanted) -> None:
        numbers = self._order.numbers(wanted.shown, wanted.count)[self._rows(wanted.count)]
        kept = self._levels.of(wanted.level)
        missing = numbers if kept is None else kept.claim(numbers)
        if kept is not None and kept.direct is not None:
            staging, target, places = NO_IMAGES, kept.direct, missing
        else:
            staging = self._transfer.staging(len(missing), wanted.level)
            target, places = staging.numpy(), np.arange(len(missing))
        job = Job(self._portions(wanted.level, missing, target, places))
        self._ahead.append(_Batch(wanted, numbers, kept, missing, staging, job))
        self._bytes += staging.numel()
        self._readers.submit(job)

    def _portions(
        self, level: int, numbers: NDArray[np.int64], target: NDArray[np.uint8], places: NDArray[np.int64]
    ) -> list[Callable[[], None]]:
        """Return what reads the images `numbers` into `target[places]`, a thread's worth each."""
        side = level if isinstance(self._source, LevelStore) else self._source.resolution
        size = max(1, min(PORTION_IMAGES, PORTION_BYTES // (3 * side**2)))
        return [
            functools.partial(_read, self._source, level, numbers[i : i + size], target, places[i : i + size])
            for i in range(0, len(numbers), size)
        ]

    def _taken(self) -> Arriving:
        """Take the first minibatch off the queue, and let go of its level if it was the last to want it."""
        batch = self._ahead[0]
        arriving = batch.arriving or self._sent(batch)
        self._ahead.popleft()
        self._bytes -= batch.staging.numel()
        if not self._ahead or self._ahead[0].wanted.level != batch.wanted.level:
            self._levels.only({ahead.wanted.level for ahead in self._ahead})
        return arriving

    def _sent(self, batch: _Batch) -> Arriving:
        """Send a minibatch to the device: its images were all read, and all minibatches before it are sent."""
        return self._transfer.start(functools.partial(self._gathered, batch))

    def _gathered(self, batch: _Batch) -> Fetched:
        transfer, kept, numbers = self._transfer, batch.kept, batch.numbers
        if kept is None:
            images = transfer.send(batch.staging)
        elif kept.direct is None:
            if len(batch.missing):
                kept.images.index_copy_(0, transfer.send_numbers(batch.missing), transfer.send(batch.staging))
            images = kept.images.index_select(0, transfer.send_numbers(numbers))
        else:
            chosen = transfer.staging(len(numbers), batch.wanted.level)
            images = transfer.send(torch.index_select(kept.images, 0, torch.from_numpy(numbers), out=chosen))
        return Fetched(images, None if self._labels is None else transfer.send_numbers(self._labels[numbers]))


def _read(
    source: ImageSource,
    level: int,
    numbers: NDArray[np.int64],
    target: NDArray[np.uint8],
    places: NDArray[np.int64],
) -> None:
    target[places] = source.read(numbers.tolist(), level)


def _labels_of(source: ImageSource) -> NDArray[np.int64]:
    if source.labels is None:
        raise InputError(
            f"{source.name} has no labels; training with labels needs one for each image.",
            hint="Leave out --labels, or name a source whose images have classes.",
        )
    return source.labels
