"""A function of tensors that a GPU records once and replays: one launch in place of thousands.

At low resolutions a step's kernels are shorter than the time it takes to start them. What is replayed computes the
same kernels on the same addresses, so everything the function reads must lie in the buffers given here, or be changed
in place. No GPU was at hand when this was written: it is off unless `--cuda-graphs` is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# What PyTorch asks for before a recording: libraries and memory pools settle in the first calls.
WARM_UP = 3


class Recorded:
    """Calls a function with inputs copied to fixed places; on CUDA, records the call after WARM_UP real ones.

    On a CPU every call is a real one, on the same fixed places.

    Args:
        function: fixed inputs -> result; it must not look at their values on the CPU, and always do the same.
        device: where the inputs and the result are; it need not be the current one.
    """

    def __init__(self, function: Callable[[Mapping[str, Tensor]], Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._inputs: dict[str, Tensor] = {}
        self._calls = 0
        # Warm-up and recording share it: memory is reserved for each stream, and libraries settle for each.
        self._aside: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result = torch.empty(0)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the function's result for these inputs.

        Args:
            inputs: the same names, shapes and dtypes at each call.
        """
        if not self._inputs:
            self._inputs = {name: value.clone() for name, value in inputs.items()}
        for name, value in inputs.items():
            self._inputs[name].copy_(value, non_blocking=True)
        self._calls += 1
        if self._aside is None:
            return self._function(self._inputs)
        with torch.cuda.device(self._device):  # a recording and what it waits for belong to the current device
            if self._calls <= WARM_UP:
                return self._warmed_up(self._aside)
            if self._graph is None:
                self._graph = self._record(self._aside)
            self._graph.replay()
            return self._result.clone()

    def _warmed_up(self, aside: torch.cuda.Stream) -> Tensor:
        """A real call on the stream that the recording will be made on."""
        here = torch.cuda.current_stream(self._device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            result = self._function(self._inputs)
        here.wait_stream(aside)
        result.record_stream(here)
        return result

    def _record(self, aside: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        """Recording computes nothing; the replay that follows does."""
        graph = torch.cuda.CUDAGraph()
        # Threads of the feed may call CUDA meanwhile; only this thread's calls are to be watched.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            self._result = self._function(self._inputs)
        return graph
