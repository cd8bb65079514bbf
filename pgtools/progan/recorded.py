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
        device: where the inputs and the result are.
    """

    def __init__(self, function: Callable[[Mapping[str, Tensor]], Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._inputs: dict[str, Tensor] = {}
        self._calls = 0
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
        if self._device.type != "cuda":
            return self._function(self._inputs)
        if self._calls <= WARM_UP:
            return self._beside()
        if self._graph is None:
            self._record()
        self._replay()
        return self._result.clone()

    def _beside(self) -> Tensor:
        """A real call on a stream of its own, as the recording will be."""
        here = torch.cuda.current_stream(self._device)
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            result = self._function(self._inputs)
        here.wait_stream(aside)
        result.record_stream(here)
        return result

    def _record(self) -> None:
        """Recording computes nothing; the replay that follows does."""
        graph = torch.cuda.CUDAGraph()
        # Threads of the feed may call CUDA meanwhile; only this thread's calls are to be watched.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._result = self._function(self._inputs)
        self._graph = graph

    def _replay(self) -> None:
        if self._graph is not None:
            self._graph.replay()
