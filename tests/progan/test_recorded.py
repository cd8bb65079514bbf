from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pgtools.progan.recorded import WARM_UP, Recorded


def test_inputs_are_copied_to_the_same_places_at_every_call() -> None:
    seen: list[tuple[int, float]] = []

    def function(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        seen.append((inputs["x"].data_ptr(), inputs["x"].sum().item()))
        return inputs["x"] * inputs["weight"]

    recorded = Recorded(function, torch.device("cpu"))
    given = [torch.full((3,), float(value)) for value in (1, 2, 3)]
    found = [recorded({"x": x, "weight": torch.tensor(2.0)}) for x in given]
    assert [one.tolist() for one in found] == [[2.0] * 3, [4.0] * 3, [6.0] * 3]
    assert len({place for place, _ in seen}) == 1
    assert seen[0][0] != given[0].data_ptr()
    assert [total for _, total in seen] == [3, 6, 9]


class Cuda:
    """Stands for torch.cuda where there is none: notes on which device and stream each call would have run."""

    def __init__(self) -> None:
        self.devices, self.streams = [torch.device("cuda", 0)], ["main"]
        self.made: list[torch.device] = []
        self.notes: list[tuple[str, int | None, str]] = []

    def note(self, what: str) -> None:
        self.notes.append((what, self.devices[-1].index, self.streams[-1]))

    def Stream(self, device: torch.device) -> Any:
        self.made.append(device)
        return SimpleNamespace(name=f"aside {len(self.made)}", wait_stream=lambda other: None)

    def current_stream(self, device: torch.device) -> Any:
        return SimpleNamespace(name=self.streams[-1], wait_stream=lambda other: None)

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.note("replay"))

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.devices.append(device)
        yield
        self.devices.pop()

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.streams.append(stream.name)
        yield
        self.streams.pop()

    @contextlib.contextmanager
    def graph(self, graph: Any, *, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.note("record")
        with self.stream(stream):
            yield


def test_warm_up_and_recording_share_one_stream_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    for name in ("Stream", "current_stream", "CUDAGraph", "device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)

    def function(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        cuda.note("call")
        return inputs["x"] * 2

    recorded = Recorded(function, torch.device("cuda", 1))
    for _ in range(WARM_UP + 2):
        recorded({"x": torch.ones(1)})
    assert cuda.made == [torch.device("cuda", 1)]
    real = [("call", 1, "aside 1")]
    replay = [("replay", 1, "main")]
    assert cuda.notes == WARM_UP * real + [("record", 1, "main")] + real + replay + replay
    assert (cuda.devices[-1].index, cuda.streams[-1]) == (0, "main")


@pytest.mark.gpu
def test_a_replay_is_the_call_itself_on_any_device() -> None:
    # The last device: where there are two, it is not the current one.
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    weights = torch.nn.Parameter(torch.linspace(-1, 1, 64, device=device).reshape(8, 8))
    adam = torch.optim.Adam([weights], torch.tensor(0.01, device=device), fused=True, capturable=True)
    twin = torch.nn.Parameter(weights.detach().clone())
    twins_adam = torch.optim.Adam([twin], torch.tensor(0.01, device=device), fused=True, capturable=True)

    def step(inputs: Mapping[str, torch.Tensor], parameter: torch.Tensor, optimizer: torch.optim.Adam) -> torch.Tensor:
        optimizer.zero_grad()
        loss = (inputs["x"] @ parameter).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    recorded = Recorded(lambda inputs: step(inputs, weights, adam), device)
    for i in range(WARM_UP + 5):
        x = torch.full((4, 8), float(i + 1), device=device)
        torch.testing.assert_close(recorded({"x": x}), step({"x": x}, twin, twins_adam))
        torch.testing.assert_close(weights.detach(), twin.detach())
    assert torch.cuda.current_device() == 0


@pytest.mark.gpu
def test_three_warm_ups_reserve_the_memory_of_one() -> None:
    device = torch.device("cuda", torch.cuda.device_count() - 1)
    size = 64 << 20

    def function(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.ones(size, dtype=torch.uint8, device=device).sum() + inputs["x"]

    recorded, x = Recorded(function, device), torch.zeros((), dtype=torch.int64, device=device)
    torch.cuda.empty_cache()
    reserved = []
    for _ in range(WARM_UP):
        recorded({"x": x})
        reserved.append(torch.cuda.memory_reserved(device))
    assert len(set(reserved)) == 1
