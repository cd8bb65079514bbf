"""Two processes measure together what `test_streaming.py` measures alone; run as a program with RANK set."""

from __future__ import annotations

import itertools
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist

from pgtools.errors import InputError, OutputError, PgtoolsError
from pgtools.metrics import measure as measures
from pgtools.metrics.catalogue import FID
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import Collector, Measure, Parts, Recipe, Role, SetOfImages, in_pieces
from pgtools.metrics.named import MultiScaleSsim, SlicedWasserstein
from pgtools.metrics.settings import MsssimSettings, SwdSettings
from pgtools.metrics.streaming import Streaming
from pgtools.runtime.results import Figures
from tests.metrics.sets import photographs

COUNT, SIDE = 13, 32
SWD = SwdSettings(neighbourhoods=8, repeats=2, directions=16, replicates=20)
# More pairs than half the images: some are held until all their partners have come.
SSIM = MsssimSettings(pairs=20)
Figure = Callable[[Streaming], None]


class Rows(Collector):
    """Keeps one row an image, its number and its mean colours; knows when it is done."""

    def __init__(self, images: SetOfImages, recipe: Means) -> None:
        self.rows, self.there = np.zeros((images.count, recipe.size)), np.zeros(images.count, bool)
        self.finished = self.closed = False

    def update(self, images: torch.Tensor, indices: Sequence[int]) -> None:
        assert images.dtype == torch.uint8 and images.shape[1] == 3
        assert not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")
        self.rows[list(indices)] = images.double().mean((1, 2, 3))[:, None].numpy()
        self.there[list(indices)] = True

    def parts(self) -> Iterator[Parts]:
        for numbers in in_pieces(np.flatnonzero(self.there), self.rows[:1].nbytes):
            # Of odd lengths: what comes behind lies at no round number of bytes.
            odd = {"odd": (numbers[:0], np.zeros((0, 3), np.int16)), "byte": (numbers[:1], np.ones(1, np.uint8))}
            yield {**odd, "rows": (numbers, self.rows[numbers]), "numbers": (numbers, numbers.astype(np.float32))}

    def absorb(self, parts: Parts) -> None:
        numbers, rows = parts["rows"]
        assert parts["odd"][1].shape == (0, 3) and parts["byte"][1].tolist() == [1]
        assert not self.there[numbers].any()
        np.testing.assert_array_equal(*parts["numbers"])
        self.rows[numbers], self.there[numbers] = rows, True

    def finish(self) -> None:
        assert self.there.all()
        self.finished = True

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class Means(Recipe):
    """Rows of so many numbers."""

    size: int = 5

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> Collector:
        if images.count < 2:
            raise InputError(f"{images.name} are fewer than 2.")
        return Rows(images, self)


@dataclass(frozen=True)
class Features(Measure):
    """A figure that changes if an image is missing, comes twice or has another number."""

    metric: ClassVar = FID
    takes_real: ClassVar[bool] = True
    fault: str = ""

    def recipe(self, role: Role) -> Recipe:
        return Means()

    def protocol(self) -> dict[str, Any]:
        return {}

    def compute(self, real: Any, fake: Any, *, progress: bool) -> Figures:
        if self.fault == "input":
            raise InputError("no figure", hint="none")
        if self.fault:
            raise ZeroDivisionError(self.fault)
        assert real.finished and fake.finished and not real.closed
        values = [float((rows * np.sin(1.0 + np.arange(len(rows)))[:, None]).sum()) for rows in (real.rows, fake.rows)]
        return Figures({"real": values[0], "fake": values[1]}, verdict={"real": "so so"}, interval={"real": [0.1, 1e9]})


def reals() -> torch.Tensor:
    return torch.from_numpy(photographs(COUNT, SIDE, 1))


def fakes(seed: int = 2) -> torch.Tensor:
    return torch.from_numpy(photographs(COUNT, SIDE, seed))


def metrics() -> dict[str, Callable[[], Streaming]]:
    return {
        "swd": lambda: SlicedWasserstein(num_images=COUNT, resolution=SIDE, settings=SWD, device="cpu"),
        "msssim": lambda: MultiScaleSsim(num_images=COUNT, resolution=SIDE, settings=SSIM, device="cpu"),
        "features": lambda: Streaming(Features(), num_images=COUNT, resolution=SIDE, device="cpu"),
    }


def dealt(stream: Streaming, images: torch.Tensor, rank: int, *, real: bool = False) -> None:
    """As a DistributedSampler deals: 0, 2, 4, … and 1, 3, 5, …, the last filled up from the beginning."""
    own = torch.cat([images, images[:1]])[rank::2]
    for batch in own.split(2 + rank):
        stream.update(batch, real=real)


def first_alone(stream: Streaming, images: torch.Tensor, rank: int, *, real: bool = False) -> None:
    """The other process has no images."""
    if rank == 0:
        stream.update(images, real=real, indices=range(COUNT))


def second_mostly(stream: Streaming, images: torch.Tensor, rank: int, *, real: bool = False) -> None:
    """The first process has two images, the second all others, backwards."""
    numbers = [5, 11] if rank == 0 else [i for i in reversed(range(COUNT)) if i not in (5, 11)]
    for start in range(0, len(numbers), 3):
        stream.update(images[numbers[start : start + 3]], real=real, indices=numbers[start : start + 3])


SPLITS = {"dealt": dealt, "first alone": first_alone, "second mostly": second_mostly}


def together(rank: int) -> dict[str, Any]:
    """Return name → figures or error of everything that two processes measure."""
    found: dict[str, Any] = {}
    for name, make in metrics().items():
        for split, feed in SPLITS.items():
            stream = make()
            if stream.measure.takes_real:
                feed(stream, reals(), rank, real=True)
            feed(stream, fakes(), rank)
            found[f"{name}, {split}"] = asdict(stream.compute())
            if split == "dealt":
                stream.reset()
                feed(stream, fakes(3), rank)
                found[f"{name}, again"] = asdict(stream.compute())
            stream.close()
    found["missing"] = fault_of(lambda: half_fed(rank).compute())
    found["twice"] = fault_of(lambda: fed_twice().compute())
    for fault in ("input", "boom"):
        found[fault] = fault_of(lambda fault=fault: full(Features(fault), rank).compute())
    for where in BREAKS:
        found |= broken(where, rank)
    return found


# A method, the set and the process where it fails.
BREAKS = {f"{name} {role} {rank}": (name, role, rank) for name, rank in (("parts", 1), ("absorb", 0), ("finish", 0))
          for role in ("real", "fake")}  # fmt: skip


def broken(where: str, rank: int) -> dict[str, Any]:
    """Return what computing says twice where a process fails on the way, and the figures after a fresh start."""
    name, role, place = BREAKS[where]
    stream = full(Features(), rank)
    if rank == place:
        collector = stream._sides[role].collector
        working, calls = getattr(collector, name), []

        def failing(*args: Any) -> Any:
            calls.append(args)
            if name == "absorb" and len(calls) < 2:
                return working(*args)
            if name == "parts":
                return itertools.chain(itertools.islice(working(), 1), raising())
            raise OutputError("disk full", hint="free some")

        setattr(collector, name, failing)
    first, second = fault_of(stream.compute), fault_of(stream.compute)
    stream.reset(real=True)
    dealt(stream, reals(), rank, real=True)
    dealt(stream, fakes(), rank)
    return {f"{where}, broken": [first, second], f"{where}, again": asdict(stream.compute())}


def raising() -> Iterator[Parts]:
    raise ZeroDivisionError("no rows")
    yield {}


def half_fed(rank: int) -> Streaming:
    stream = metrics()["features"]()
    dealt(stream, reals(), rank, real=True)
    stream.update(fakes()[: 3 + rank])  # numbers 0, 2, 4 and 1, 3, 5, 7
    return stream


def fed_twice() -> Streaming:
    stream = metrics()["features"]()
    stream.update(fakes()[:2], indices=[3, 4])
    return stream


def full(measure: Measure, rank: int) -> Streaming:
    stream = Streaming(measure, num_images=COUNT, resolution=SIDE, device="cpu")
    dealt(stream, reals(), rank, real=True)
    dealt(stream, fakes(), rank)
    return stream


def fault_of(call: Callable[[], object]) -> list[str]:
    try:
        call()
    except PgtoolsError as error:
        return [type(error).__name__, error.message, error.hint]
    except ZeroDivisionError as error:
        return ["ZeroDivisionError", str(error), ""]
    return []


def main() -> None:
    """Measure as one of two processes; write what came out to the file named."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    measures.PIECE_BYTES = 100  # every row travels alone, or two
    dist.init_process_group("gloo")
    try:
        found = together(dist.get_rank())
        Path(sys.argv[1], f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
