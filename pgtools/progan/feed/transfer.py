"""From main memory to the device that trains: on a CUDA stream of its own, while the step before computes.

Only the thread that trains calls this. CUDA calls of other threads would spoil a graph that it records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Fetched(NamedTuple):
    """A minibatch, or this process's part of one.

    Attributes:
        images: uint8 (n, 3, level, level) on the training's device.
        labels: int64 (n,) there; None where labels were not asked for.
    """

    images: Tensor
    labels: Tensor | None


class Arriving(NamedTuple):
    """A minibatch on its way; on the CPU it is there at once, without an event."""

    fetched: Fetched
    arrived: torch.cuda.Event | None


class Transfer:
    """The way to one device.

    Args:
        device: where the images are wanted.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @property
    def overlaps(self) -> bool:
        """Whether what is sent early arrives while the device computes."""
        return self._stream is not None

    def staging(self, count: int, level: int) -> Tensor:
        """Return room for images in main memory, uint8 (count, 3, level, level), from which they can be sent."""
        pinned = self._stream is not None and count > 0
        return torch.empty((count, 3, level, level), dtype=torch.uint8, device="cpu", pin_memory=pinned)

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Return uint8 room on the device, for use in `start` alone."""
        with self._on_stream():
            return torch.empty(shape, dtype=torch.uint8, device=self.device)

    def free_on_device(self) -> int:
        """Return how many bytes are free on the GPU; 0 where images in main memory are at the device already."""
        return torch.cuda.mem_get_info(self.device)[0] if self._stream is not None else 0

    def send(self, images: Tensor) -> Tensor:
        """Return a copy on the device, or the tensor itself on the CPU; to be called in `start`."""
        # The allocator of pinned memory waits for the copy before it gives this memory to another.
        return images.to(self.device, non_blocking=True)

    def send_numbers(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return numbers as an int64 tensor on the device; to be called in `start`."""
        found = torch.from_numpy(numbers)
        return self.send(found if self._stream is None else found.pin_memory())

    def start(self, make: Callable[[], Fetched]) -> Arriving:
        """Run what sends a minibatch, one after the other on the stream of this transfer; it waits for no step."""
        with self._on_stream():
            fetched = make()
        if self._stream is None:
            return Arriving(fetched, None)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record(self._stream)
        return Arriving(fetched, arrived)

    def arrive(self, arriving: Arriving) -> Fetched:
        """Return the minibatch for use on the current stream, which waits for it there; the caller does not."""
        fetched, arrived = arriving
        if arrived is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(arrived)
            for tensor in fetched:
                if tensor is not None:  # its memory may go to a later minibatch only after the step that reads it
                    tensor.record_stream(current)
        return fetched

    def _on_stream(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
