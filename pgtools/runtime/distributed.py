"""Several processes of one job (torch.distributed): what each holds comes to the first, what it finds goes to all.

Without a process group there is one process, and nothing is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError

# Of rows that travel at once, so that nobody must hold what another holds a second time.
BYTES_AT_ONCE = 1 << 26

Parts = dict[str, tuple[NDArray[np.int64], NDArray[Any]]]


class Processes:
    """The processes of a group. Every process calls the same methods in the same order.

    Args:
        group: a torch.distributed group; the default group if not given, one process where there is none.

    Attributes:
        rank: of this process, from 0 up.
        count: number of processes.

    Raises:
        InputError: this process is not in the group.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self._joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank(group) if self._joined else 0
        self.count = dist.get_world_size(group) if self._joined else 1
        if self.rank < 0:
            raise InputError("This process is not in the group.", hint="Measure only in the processes of the group.")

    @classmethod
    def alone(cls) -> Processes:
        """Return this process as the only one, whatever group there is."""
        single = cls.__new__(cls)
        single._group, single._joined, single.rank, single.count = None, False, 0, 1
        return single

    def total(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sums over all processes, entry by entry, on every process."""
        if self.count == 1:
            return numbers
        sums = torch.from_numpy(numbers.copy()).to(self._device)
        dist.all_reduce(sums, group=self._group)
        found: NDArray[np.int64] = sums.cpu().numpy()
        return found

    def share(self, value: Any) -> Any:
        """Return what the first process gave, on every process: plain values, as JSON keeps them."""
        if self.count == 1:
            return value
        data = json.dumps(value).encode() if self.rank == 0 else b""
        size = torch.tensor([len(data)], dtype=torch.int64, device=self._device)
        dist.broadcast(size, self._peer(0), group=self._group)
        text = self._bytes(np.frombuffer(data, np.uint8)) if self.rank == 0 else self._room(int(size))
        dist.broadcast(text, self._peer(0), group=self._group)
        return json.loads(text.cpu().numpy().tobytes())

    def collect(self, parts: Callable[[], Parts], absorb: Callable[[Parts], None]) -> None:
        """Bring the rows of all processes to the first, in bounded pieces.

        Args:
            parts: gives the numbers and rows of this process by name; the first process is not asked.
            absorb: takes a piece of another's, all its names in each; called on the first process.

        Raises:
            Exception: what `absorb` raised; all has been received by then, so that nobody waits for ever.
        """
        if self.rank > 0:
            self._send(parts())
            return
        fault: Exception | None = None
        for source in range(1, self.count):
            for piece in self._received(source):
                if fault is not None:
                    continue
                try:
                    absorb(piece)
                except Exception as error:  # raised below, after the others have sent what they hold
                    fault = error
        if fault is not None:
            raise fault

    def _send(self, parts: Parts) -> None:
        described = [[name, str(rows.dtype), list(rows.shape)] for name, (_, rows) in parts.items()]
        header = np.frombuffer(json.dumps(described).encode(), np.uint8)
        self._give(np.array([len(header)], np.int64))
        self._give(header)
        for first, after in pieces(described):
            for numbers, rows in parts.values():
                self._give(np.ascontiguousarray(numbers[first:after], np.int64))
                self._give(np.ascontiguousarray(rows[first:after]))

    def _received(self, source: int) -> Any:
        """Yield the pieces that another process sends."""
        length = int(self._take(source, np.dtype(np.int64), (1,))[0])
        described = json.loads(self._take(source, np.dtype(np.uint8), (length,)).tobytes())
        for first, after in pieces(described):
            piece: Parts = {}
            for name, dtype, shape in described:
                count = max(0, min(after, shape[0]) - first)
                numbers = self._take(source, np.dtype(np.int64), (count,))
                piece[name] = numbers, self._take(source, np.dtype(dtype), (count, *shape[1:]))
            yield piece

    def _give(self, array: NDArray[Any]) -> None:
        if array.size:
            dist.send(self._bytes(array), self._peer(0), group=self._group)

    def _take(self, source: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        room = self._room(math.prod(shape) * dtype.itemsize)
        if len(room):
            dist.recv(room, self._peer(source), group=self._group)
        return room.cpu().numpy().view(dtype).reshape(shape)

    def _bytes(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array.reshape(-1).view(np.uint8).copy()).to(self._device)

    def _room(self, count: int) -> Tensor:
        return torch.empty(count, dtype=torch.uint8, device=self._device)

    def _peer(self, rank: int) -> int:
        """Return the number in the whole job of a process of the group."""
        return rank if self._group is None else dist.get_global_rank(self._group, rank)

    @property
    def _device(self) -> torch.device:
        """NCCL carries what lies on a GPU, gloo what lies in memory."""
        on_gpu = dist.get_backend(self._group) == "nccl"
        return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def pieces(described: list[list[Any]]) -> list[tuple[int, int]]:
    """Return (first row, row after the last) of each piece of named rows that travel together.

    Args:
        described: [name, dtype, shape] of each; those with fewer rows end in earlier pieces.
    """
    row = sum(math.prod(shape[1:]) * np.dtype(dtype).itemsize + 8 for _, dtype, shape in described)
    longest = max((shape[0] for _, _, shape in described), default=0)
    at_once = max(1, BYTES_AT_ONCE // max(row, 1))
    return [(first, min(first + at_once, longest)) for first in range(0, longest, at_once)]
