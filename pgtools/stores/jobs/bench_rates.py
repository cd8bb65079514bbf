"""Images per second: on one core, on all, through worker processes; and the plain folder that sets the measure."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pgtools.runtime.workers import cpu_count, in_threads


class PillowFolder(Dataset[torch.Tensor]):
    """A folder of PNGs read as everybody does it: `np.asarray(Image.open(file))`, no more."""

    def __init__(self, path: Path) -> None:
        self.files = sorted(path.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        """Return one image, uint8 (H, W, 3), as a tensor."""
        return torch.from_numpy(self.read(index).copy())  # Pillow's array cannot be written to

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return one image, uint8 (H, W, 3)."""
        with Image.open(self.files[index]) as image:
            return np.asarray(image)

    def read_many(self, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return several images, read in as many threads as there are cores."""
        return in_threads(self.read, indices)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let this thread, those it starts and OpenCV use one core only."""
    threads = cv2.getNumThreads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    cv2.setNumThreads(1)
    if cores:
        os.sched_setaffinity(0, {max(cores)})  # the first core serves most interrupts
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        if cores:
            os.sched_setaffinity(0, cores)


def rate(read: Callable[[Any], object], what: Sequence[Any], seconds: float) -> float:
    """Return images per second of `read(one)` over `what`, in full passes until `seconds` have gone by.

    An element of `what` counts as many images as it has elements, or one.
    """
    count = sum(len(one) if isinstance(one, Sequence) else 1 for one in what)
    read(what[0])
    done, begun = 0, time.perf_counter()
    while True:
        for one in what:
            read(one)
        done += count
        if (spent := time.perf_counter() - begun) >= seconds:
            return done / spent


class _Endless:
    """The batches again and again, so that the workers are started once."""

    def __init__(self, batches: Sequence[list[int]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield from self._batches


def loader_rate(dataset: Dataset[Any], batches: Sequence[list[int]], seconds: float) -> float:
    """Return images per second through a DataLoader with one worker process a core, once all of them are busy."""
    workers = cpu_count()
    loader = iter(DataLoader(dataset, batch_sampler=_Endless(batches), num_workers=workers, collate_fn=_stacked))
    for _ in range(4 * workers):
        next(loader)
    done, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        done += len(next(loader))
    return done / spent


def _stacked(items: Sequence[Any]) -> torch.Tensor:
    return torch.stack([item[0] if isinstance(item, tuple) else item for item in items])
