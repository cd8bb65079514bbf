"""What every metric is made of: it collects something of each set of images, then compares what was collected.

A pass over a set feeds any number of collectors (`evaluate.py`); metrics that want the same of a set share one.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.metrics.catalogue import Metric
from pgtools.metrics.held import Budget
from pgtools.runtime.progress import bar
from pgtools.runtime.results import Figures

Role = Literal["real", "fake"]
# name → (numbers int64 (n,), rows (n, …)) of what a process collected.
Parts = dict[str, tuple[NDArray[np.int64], NDArray[Any]]]
# Of rows that leave a collector at once, so that nobody must hold what another holds a second time.
PIECE_BYTES = 1 << 26


@dataclass(frozen=True)
class SetOfImages:
    """What a collector is told of its set before the first image comes.

    Attributes:
        name: what messages call it.
        role: "real" or "fake".
        count: number of images.
        resolution: their side in pixels.
        fingerprint: of their content, or "" where nobody wants it before the images are read.
        channels: of each image; sources always have three.
    """

    name: str
    role: Role
    count: int
    resolution: int
    fingerprint: str = ""
    channels: int = 3


class Collector(ABC):
    """Takes the images of one set, batch by batch, in any order.

    Attributes:
        complete: nothing is to be fed; all is known already, e.g. from a cache.
    """

    complete: bool = False

    @abstractmethod
    def update(self, images: Tensor, indices: Sequence[int]) -> None:
        """Take some images.

        Args:
            images: uint8 (N, channels, R, R), on any device.
            indices: their numbers in the set, each once.
        """

    @abstractmethod
    def parts(self) -> Iterator[Parts]:
        """Yield what this process holds, piece by piece (see `in_pieces`), for another process to absorb in order."""

    @abstractmethod
    def absorb(self, parts: Parts) -> None:
        """Take a piece of what another process collected of the same set (see `parts`); before `finish`."""

    def finish(self) -> None:  # noqa: B027 - most have nothing to do
        """Learn that all images have come."""

    def close(self) -> None:  # noqa: B027 - most hold nothing but memory
        """Let go of what is held outside of memory."""


class Recipe(ABC):
    """What a metric wants to be collected: hashable, and metrics with equal recipes share the collector.

    Attributes:
        by_content: collectors ask for the set's fingerprint, e.g. to look into a cache.
    """

    by_content: ClassVar[bool] = False

    @abstractmethod
    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> Collector:
        """Return a collector for a set.

        Args:
            images: the set.
            device: where to compute.
            budget: the memory that all collectors of an evaluation share; one of its own if not given.

        Raises:
            InputError: the metric is not defined for such images, or for so few.
        """

    def reading_order(self, count: int) -> Sequence[int] | None:
        """Return the order in which images are best read, or None for any."""
        return None


class Measure(ABC):
    """A metric with its settings.

    Attributes:
        metric: its entry in the catalogue.
        takes_real: it compares two sets; else it looks at the generated images alone.
        needs_equal_counts: both sets must have one number of images.
    """

    metric: ClassVar[Metric]
    takes_real: ClassVar[bool] = False
    needs_equal_counts: ClassVar[bool] = False

    @property
    def memory(self) -> float | None:
        """10^9 bytes that the settings allow for what is kept of all images; None if they say nothing."""
        return None

    @abstractmethod
    def recipe(self, role: Role) -> Recipe:
        """Return what is to be collected of a set."""

    def check(self, real: int | None, fake: int) -> None:  # noqa: B027 - most take any number
        """Raise InputError if there are too few images, before any is read.

        Args:
            real: number of real images, or None where there are none.
            fake: number of generated ones.
        """

    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """Return what two figures must share to be comparable, besides metric version, count and resolution."""

    def protocol_of(self, count: int) -> dict[str, Any]:
        """Return the protocol for so many generated images, where settings left open what depends on their number."""
        return self.protocol()

    @abstractmethod
    def compute(self, real: Any, fake: Any, *, progress: bool) -> Figures:
        """Return the figures.

        Args:
            real: the finished collector of the real images, or None for a metric that takes none.
            fake: that of the generated images.
            progress: show a bar on stderr where this takes long.

        Raises:
            InputError: what was collected gives no figure.
        """


def in_pieces(numbers: NDArray[np.int64], row_bytes: int) -> Iterator[NDArray[np.int64]]:
    """Yield numbers of images, in order, so many at once that their rows take `PIECE_BYTES` at most, or one."""
    at_once = max(1, PIECE_BYTES // max(1, row_bytes))
    for start in range(0, len(numbers), at_once):
        yield numbers[start : start + at_once]


def budget_of(measures: Sequence[Measure], memory: float | None = None, *, share: int = 1) -> Budget:
    """Return the memory for what metrics keep together, of both sets.

    Args:
        measures: the metrics; the least that one of their settings allows counts.
        memory: 10^9 bytes, in place of what the settings say.
        share: of so many processes on this machine this is one.
    """
    allowed = [measure.memory for measure in measures if measure.memory is not None]
    return Budget(memory if memory is not None else min(allowed, default=None), share=share)


@contextlib.contextmanager
def shown_bar(description: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs if `shown`, and yield `advance(n)`."""
    if not shown:
        yield lambda _: None
        return
    with bar(description, total) as advance:
        yield advance
