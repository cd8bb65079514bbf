"""Several processes of one job (torch.distributed): what each holds comes to the first, what it finds goes to all.

Without a process group there is one process, and nothing is sent. Whatever fails in a process, all carry out the same
communication to its end, and then all raise: none is left waiting.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from pgtools import errors
from pgtools.errors import ComputeError, InputError, PgtoolsError

T = TypeVar("T")
Parts = dict[str, tuple[NDArray[np.int64], NDArray[Any]]]
Described = dict[str, Any]
_NOTHING = np.zeros(0, np.uint8)


class Processes:
    """The processes of a group. Every process calls the same methods in the same order.

    Args:
        group: a torch.distributed group; the default group if not given, one process where there is none.

    Attributes:
        rank: of this process, from 0 up.
        count: number of processes.
        here: of them on this machine, as far as is known: torchrun's $LOCAL_WORLD_SIZE, else all.

    Raises:
        InputError: this process is not in the group.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self._joined = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank(group) if self._joined else 0
        self.count = dist.get_world_size(group) if self._joined else 1
        self.here = _on_this_machine(self.count)
        if self.rank < 0:
            raise InputError("This process is not in the group.", hint="Measure only in the processes of the group.")

    @classmethod
    def alone(cls) -> Processes:
        """Return this process as the only one, whatever group there is."""
        single = cls.__new__(cls)
        single._group, single._joined, single.rank, single.count, single.here = None, False, 0, 1, 1
        return single

    def total(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sums over all processes, entry by entry, on every process."""
        if self.count == 1:
            return numbers
        sums = torch.from_numpy(numbers.copy()).to(self._device)
        dist.all_reduce(sums, group=self._group)
        found: NDArray[np.int64] = sums.cpu().numpy()
        return found

    def mean(self, numbers: Tensor) -> Tensor:
        """Return the means over all processes, entry by entry, on every process; the tensor lies where it lay."""
        if self.count == 1:
            return numbers
        sums = numbers.to(self._device, copy=True)
        dist.all_reduce(sums, group=self._group)
        return (sums / self.count).to(numbers.device)

    def agreed(self, work: Callable[[], T]) -> T:
        """Return what `work` gives on the first process, on every process; the others do not call it.

        Args:
            work: gives plain values, as JSON keeps them.

        Raises:
            Exception: what `work` raised: on the first process itself; on the others the same if it is pgtools' own
                kind of error, else a ComputeError that names it.
        """
        if self.count == 1:
            return work()
        own: Exception | None = None
        text = b""
        if self.rank == 0:
            try:
                text = json.dumps({"value": work()}).encode()
            except Exception as error:  # raised below, when the others know
                own, text = error, json.dumps({"fault": _described(error, self.rank)}).encode()
        outcome = json.loads(self._spread(text))
        if own is not None:
            raise own
        if "fault" in outcome:
            raise _error_of(outcome["fault"])
        value: T = outcome["value"]
        return value

    def gather(
        self, parts: Callable[[], Iterable[Parts]], absorb: Callable[[Parts], None], finish: Callable[[], None]
    ) -> None:
        """Bring the rows of all processes to the first, piece by piece.

        Args:
            parts: gives the pieces of this process, in order: name → (numbers, rows); the first process is not asked.
            absorb: takes a piece of another's; called on the first process.
            finish: called on the first process when all is there.

        Raises:
            Exception: on every process if one of the three failed on any: there what it raised, elsewhere see
                `agreed`. All has been sent and received by then.
        """
        own: Exception | None = None
        fault: Exception | None = None
        if self.rank > 0:
            own = self._send(parts)
        for source in range(1, self.count if self.rank == 0 else 1):
            found = self._receive(source, absorb if fault is None else None)
            fault = found if fault is None else fault

        def outcome() -> None:
            if fault is not None:
                raise fault
            finish()

        try:
            self.agreed(outcome)
        except PgtoolsError:
            if own is not None:
                raise own from None
            raise

    def _send(self, parts: Callable[[], Iterable[Parts]]) -> Exception | None:
        """Send the pieces of this process, and return the error that ended them early, else None."""
        fault: Exception | None = None
        for header, payload, error in _messages(parts, self.rank):
            self._give(header, payload)
            fault = error
        return fault

    def _receive(self, source: int, absorb: Callable[[Parts], None] | None) -> Exception | None:
        """Receive all that a process sends, and return what went wrong there or in `absorb`, else None."""
        fault: Exception | None = None
        while True:
            header, payload = self._take(source)
            if "end" in header:
                return fault
            if "fault" in header:
                return _error_of(header["fault"]) if fault is None else fault
            if fault is None and absorb is not None:
                try:
                    absorb(_unpacked(header, payload))
                except Exception as error:  # raised when all has been received
                    fault = error

    def _spread(self, text: bytes) -> bytes:
        """Return the text of the first process, on every process."""
        size = torch.tensor([len(text)], dtype=torch.int64, device=self._device)
        dist.broadcast(size, self._peer(0), group=self._group)
        row = self._bytes(np.frombuffer(text, np.uint8)) if self.rank == 0 else self._room(int(size))
        dist.broadcast(row, self._peer(0), group=self._group)
        return row.cpu().numpy().tobytes()

    def _give(self, header: Described, payload: NDArray[np.uint8]) -> None:
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        for row in (np.array([len(text), len(payload)], np.int64).view(np.uint8), text, payload):
            if row.size:
                dist.send(self._bytes(row), self._peer(0), group=self._group)

    def _take(self, source: int) -> tuple[Described, NDArray[np.uint8]]:
        lengths = self._received(source, 16).view(np.int64).tolist()
        header, payload = (self._received(source, length) for length in lengths)
        return json.loads(header.tobytes()), payload

    def _received(self, source: int, count: int) -> NDArray[np.uint8]:
        room = self._room(count)
        if count:
            dist.recv(room, self._peer(source), group=self._group)
        return room.cpu().numpy()

    def _bytes(self, row: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(row.copy()).to(self._device)

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


def _messages(
    parts: Callable[[], Iterable[Parts]], rank: int
) -> Iterator[tuple[Described, NDArray[np.uint8], Exception | None]]:
    """Yield each piece, its description and one row of bytes; at last the end, or the error that making one raised."""
    try:
        for piece in parts():
            yield *_packed(piece), None
    except Exception as error:  # of making pieces: what the receiver of this generator raises does not come here
        yield {"fault": _described(error, rank)}, _NOTHING, error
        return
    yield {"end": True}, _NOTHING, None


def _packed(piece: Parts) -> tuple[Described, NDArray[np.uint8]]:
    described = [[name, str(rows.dtype), list(rows.shape)] for name, (_, rows) in piece.items()]
    arrays = [array for numbers, rows in piece.values() for array in (np.asarray(numbers, np.int64), rows)]
    flat = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
    return {"parts": described}, np.concatenate([_NOTHING, *flat])


def _unpacked(header: Described, payload: NDArray[np.uint8]) -> Parts:
    piece: Parts = {}
    place = 0

    def taken(dtype: Any, shape: list[int]) -> NDArray[Any]:
        nonlocal place
        start, place = place, place + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        # Copied: a view at any byte would not be aligned.
        found: NDArray[Any] = payload[start:place].copy().view(dtype).reshape(shape)
        return found

    for name, dtype, shape in header["parts"]:
        numbers = taken(np.int64, shape[:1])
        piece[name] = numbers, taken(dtype, shape)
    return piece


def _described(error: Exception, rank: int) -> list[str]:
    """Return kind, message and hint of an error for other processes."""
    kind = type(error).__name__
    if isinstance(error, PgtoolsError) and getattr(errors, kind, None) is type(error):
        return [kind, error.message, error.hint]
    told = error.message if isinstance(error, PgtoolsError) else f"{kind}: {error}"
    return [ComputeError.__name__, f"Process {rank} failed ({told}).", "Its own error says more."]


def _error_of(described: list[str]) -> PgtoolsError:
    kind, message, hint = described
    error: PgtoolsError = getattr(errors, kind)(message, hint=hint)
    return error


def _on_this_machine(count: int) -> int:
    told = os.environ.get("LOCAL_WORLD_SIZE", "")
    return min(count, max(1, int(told))) if told.isdecimal() else count
