"""Metrics inside a training loop: batches in, figures out, in one process or in many (torch.distributed).

    swd = SlicedWasserstein(num_images=10_000, resolution=128)
    for reals in loader:
        swd.update(reals, real=True)
    for _ in range(rounds):
        swd.update(generator(latents), value_range=(-1, 1))
    print(swd.compute().values["average"])
    swd.reset()

Every image has a number, which decides its patches, pairs and splits: figures do not depend on batches, on their order,
or on which process saw which image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import Collector, Measure, Role, SetOfImages, budget_of
from pgtools.metrics.tensors import pixels, undisturbed, usual_device
from pgtools.runtime.distributed import Processes
from pgtools.runtime.results import Figures

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_KINDS: dict[Role, str] = {"real": "real", "fake": "generated"}


class Streaming:
    """Collects the images of a metric as they come, and measures once all are there.

    Under torch.distributed every process makes one, feeds it its own share, and calls `compute` and `reset` when the
    others do. What is kept of both sets shares one budget of memory, of which the processes on a machine
    ($LOCAL_WORLD_SIZE, else all) take equal parts: what the settings allow, else half of what is free.

    Args:
        measure: the metric with its settings.
        num_images: of generated images, over all processes; part of the protocol.
        resolution: their side in pixels.
        num_real: of real images, over all processes; as many if not given.
        device: where to compute; CUDA where there is one, else the CPU, if not given.
        group: the processes that share the images; torch.distributed's default group if not given.

    Attributes:
        measure: the metric with its settings.
        device: where it computes.

    Raises:
        InputError: the metric is not defined for such images or so few, or it needs equal counts.
        OutputError: what is kept has no room, in memory or on the disk.
    """

    def __init__(
        self,
        measure: Measure,
        *,
        num_images: int,
        resolution: int,
        num_real: int | None = None,
        device: torch.device | str | None = None,
        group: ProcessGroup | Processes | None = None,
    ) -> None:
        counts: dict[Role, int] = {"real": num_images if num_real is None else num_real, "fake": num_images}
        if min(counts.values()) < 1:
            raise InputError(f"{measure.metric.name} was told to expect {min(counts.values())} images.")
        if measure.needs_equal_counts and counts["real"] != num_images:
            raise InputError(f"{measure.metric.name} compares equal numbers: leave num_real out.")
        measure.check(counts["real"] if measure.takes_real else None, num_images)
        self.measure, self.device = measure, torch.device(device) if device is not None else usual_device()
        self._processes = group if isinstance(group, Processes) else Processes(group)
        self._figures: Figures | None = None
        self._sides: dict[Role, _Side] = {}
        budget = budget_of([measure], share=self._processes.here)
        try:
            for role in ("real", "fake") if measure.takes_real else ("fake",):
                images = SetOfImages(f"the {_KINDS[role]} images", role, counts[role], resolution)
                self._sides[role] = _Side(measure, images, self.device, self._processes, budget)
        except BaseException:
            self.close()
            raise

    def update(
        self,
        images: Tensor,
        *,
        real: bool = False,
        indices: Sequence[int] | Tensor | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        """Take a batch.

        Args:
            images: (N, 3, R, R), or (N, 1, R, R) for grey; uint8, or floats with a `value_range`.
            real: they are real images.
            indices: their numbers in the set. If not given: rank + processes × (images that this process has given
                of this set), which is what torch's DistributedSampler deals out. Numbers from the set's count on are
                left out, since samplers fill up the last batch.
            value_range: (lo, hi) of floats: lo becomes 0, hi 255, rounded half-to-even and clipped, as for a file.

        Raises:
            InputError: another shape or type, no finite numbers, floats without a range, an image given twice, or a
                set that was measured already.
        """
        role: Role = "real" if real else "fake"
        if role not in self._sides:
            raise InputError(
                f"{self.measure.metric.name} looks at generated images alone.", hint="Leave out real=True."
            )
        numbers = None if indices is None else [int(index) for index in indices]
        with undisturbed(self.device):
            side = self._sides[role]
            side.update(pixels(images, side.images.resolution, value_range).to(self.device), numbers)

    def missing(self) -> dict[Role, int]:
        """Return how many images of each set have not come yet, over all processes; all of them must ask."""
        return {role: side.check() for role, side in self._sides.items()}

    def compute(self) -> Figures:
        """Return the figures, the same on every process.

        Raises:
            InputError: images are missing or came twice, or what came gives no figure.
            ComputeError: another process failed; its own error says more.
        """
        if self._figures is not None:
            return self._figures
        if absent := {role: count for role, count in self.missing().items() if count}:
            told = " and ".join(
                f"{count} of {self._sides[role].images.count} {_KINDS[role]}" for role, count in absent.items()
            )
            raise InputError(
                f"{self.measure.metric.name} cannot be computed yet: {told} images are missing.",
                hint="Give all before compute(), or make it with a smaller number.",
            )
        with undisturbed(self.device):
            for side in self._sides.values():
                side.gather()
            self._figures = Figures(**self._processes.agreed(self._computed))
        return self._figures

    def reset(self, *, real: bool = False) -> None:
        """Forget the generated images, and with `real` the real ones too."""
        self._figures = None
        for role, side in self._sides.items():
            if role == "fake" or real:
                side.restart()

    def close(self) -> None:
        """Let go of what is held outside of memory."""
        for side in self._sides.values():
            side.collector.close()

    def _computed(self) -> dict[str, Any]:
        real = self._sides["real"].collector if "real" in self._sides else None
        return asdict(self.measure.compute(real, self._sides["fake"].collector, progress=False))


class _Side:
    """One set of images: its collector, and which numbers this process has given."""

    def __init__(
        self, measure: Measure, images: SetOfImages, device: torch.device, processes: Processes, budget: Budget
    ) -> None:
        self.images, self._processes, self._device, self._budget = images, processes, device, budget
        self._recipe = measure.recipe(images.role)
        self._begin()

    def _begin(self) -> None:
        self.collector: Collector = self._recipe.begin(self.images, self._device, self._budget)
        self._given, self._seen, self._gathered = np.zeros(self.images.count, np.int64), 0, False
        self._fault: Exception | None = None

    def restart(self) -> None:
        self.collector.close()
        self._begin()

    def update(self, images: Tensor, numbers: list[int] | None) -> None:
        if self._gathered:
            raise InputError(f"{self.images.name.capitalize()} were measured already.", hint=self._how_to_restart())
        if numbers is None:
            numbers = [self._processes.rank + self._processes.count * (self._seen + i) for i in range(len(images))]
        if len(numbers) != len(images):
            raise InputError(f"{len(images)} images came with {len(numbers)} indices.")
        kept = [i for i, number in enumerate(numbers) if number < self.images.count]
        wanted = [numbers[i] for i in kept]
        if any(number < 0 for number in wanted):
            raise InputError(f"Index {min(wanted)} is no number of an image; they count from 0.")
        twice = [number for number in wanted if self._given[number]]
        if twice or len(set(wanted)) < len(wanted):
            number = twice[0] if twice else next(n for n in wanted if wanted.count(n) > 1)
            raise InputError(f"Image {number} of {self.images.name} was given twice.", hint=self._how_to_restart())
        if wanted:
            self.collector.update(images if len(kept) == len(images) else images[kept], wanted)
        self._given[wanted] = 1
        self._seen += len(images)

    def check(self) -> int:
        """Return how many images are missing over all processes."""
        given = self._processes.total(self._given)
        if (given > 1).any():
            raise InputError(
                f"Image {int(np.argmax(given > 1))} of {self.images.name} was given by two processes.",
                hint="Pass indices= that differ, or leave them out.",
            )
        return int((given == 0).sum())

    def gather(self) -> None:
        """Bring what all processes hold into the collector of the first, and finish it.

        Raises:
            Exception: this failed, now or before, in any process; then all raise, and hold nothing of the set any more.
        """
        if self._fault is not None:
            raise self._fault
        if self._gathered:
            return
        self._gathered = True
        try:
            self._processes.gather(self.collector.parts, self.collector.absorb, self.collector.finish)
        except Exception as error:
            self._fault = error
            self.collector.close()
            raise
        if self._processes.rank > 0:
            self.collector.close()

    def _how_to_restart(self) -> str:
        return f"Call reset({'real=True' if self.images.role == 'real' else ''}) to begin anew."
