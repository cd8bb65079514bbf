"""Sets of images in, a `MetricResult` for every metric out: one pass over each set feeds all metrics."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgtools import __version__
from pgtools.errors import ComputeError, InputError, PgtoolsError
from pgtools.metrics.measure import Collector, Measure, Recipe, Role, SetOfImages, budget_of, shown_bar
from pgtools.runtime.results import MetricResult
from pgtools.stores.source import ImageSource, content_hash, image_hash
from pgtools.stores.views import choose


@dataclass(frozen=True)
class Reading:
    """Which images are read, and how.

    Attributes:
        num_images: of the generated set, and of the real one where a metric wants equal numbers; all if None.
        seed: names the choice where there are more images.
        batch: images read at once; no figure depends on it.
        memory: 10^9 bytes that what all metrics keep of both sets may take, the rest lies in temporary files; if None,
            what the metrics' settings say, else half of what is free. No figure depends on it.
    """

    num_images: int | None = None
    seed: int = 0
    batch: int = 32
    memory: float | None = None


class PartlyScoredError(ComputeError):
    """Some metrics of an evaluation gave no figure; the results of the others are here.

    Args:
        faults: name of the metric → what it raised.

    Attributes:
        faults: see there.
        results: of the other metrics, in the order of the measures.
    """

    def __init__(self, faults: dict[str, Exception], results: list[MetricResult]) -> None:
        told = [f"{name} failed: {_told(error)}" for name, error in faults.items()]
        hints = [error.hint for error in faults.values() if isinstance(error, PgtoolsError)]
        super().__init__(" ".join(told), hint=" ".join(dict.fromkeys(filter(None, hints))))
        self.faults, self.results = faults, results


class Evaluator:
    """Measures any number of generated sets; what is collected of the real one is kept from one to the next.

    Args:
        measures: the metrics with their settings; at least one, each metric once.
        real: the real images; not needed if no metric compares with them.
        reading: which images.
        device: where to compute.
        progress: show bars on stderr.

    Raises:
        InputError: a metric needs real images and there are none.
    """

    def __init__(
        self,
        measures: Sequence[Measure],
        real: ImageSource | None,
        reading: Reading,
        device: torch.device,
        *,
        progress: bool = False,
    ) -> None:
        self.measures, self.reading, self.device, self.progress = list(measures), reading, device, progress
        self.comparing = [measure for measure in self.measures if measure.takes_real]
        self.equal = any(measure.needs_equal_counts for measure in self.comparing)
        if self.comparing and real is None:
            raise InputError(f"{self.comparing[0].metric.name} compares with real images; none were given.")
        self.real = None
        if self.comparing and real is not None:
            wanted = reading.num_images if self.equal and reading.num_images else len(real)
            self.real = choose(real, wanted, reading.seed)
        self._budget = budget_of(self.measures, reading.memory)
        self._real: _Collected | None = None
        self._real_fingerprint = ""

    def score(self, fake: ImageSource) -> list[MetricResult]:
        """Return the figures of a generated set, in the order of the measures.

        Raises:
            InputError: the sets differ in size, or in count where a metric wants equal numbers with none named, or a
                metric is not defined for such images.
            OutputError: what is kept of them has no room, in memory or on the disk.
            PartlyScoredError: of several metrics some gave no figure; it holds the results of the others.
            Exception: what the only metric raised.
        """
        fake = self._chosen(fake)
        found: _Collected | None = None
        try:
            if self.real is not None and self._real is None:
                self._real = self._collect(self.real, "real", self.comparing)
            found = self._collect(fake, "fake", self.measures)
            return self._results(fake, found)
        finally:
            if found is not None:
                found.close()

    def check(self, fake: ImageSource) -> None:
        """Raise now what `score` would raise of the sets' sizes and counts, and of room; no image is read.

        Raises:
            InputError: see `score`.
            OutputError: see `score`.
        """
        fake = self._chosen(fake)
        sets: list[tuple[Role, ImageSource, list[Measure]]] = [("fake", fake, self.measures)]
        if self.real is not None:
            sets.append(("real", self.real, self.comparing))
        with contextlib.ExitStack() as all_at_once:
            for role, source, measures in sets:
                images = SetOfImages(source.name, role, len(source), source.resolution)
                for recipe in dict.fromkeys(measure.recipe(role) for measure in measures):
                    all_at_once.callback(recipe.begin(images, self.device, self._budget).close)

    def protocol(self, measure: Measure, fake: ImageSource) -> dict[str, Any]:
        """Return what the result of a generated set will say in `protocol`; no image is read."""
        fake = self._chosen(fake)
        counts = {"num_images": len(fake)}
        if self.real is not None and measure.takes_real and not measure.needs_equal_counts:
            counts["num_real"] = len(self.real)
        return {
            "version": measure.metric.version,
            **counts,
            "resolution": fake.resolution,
            **measure.protocol_of(len(fake)),
        }

    def fingerprints(self, fake: ImageSource) -> dict[Role, str]:
        """Return those that the results of a generated set will name; images are read where nothing tells them."""
        found: dict[Role, str] = {"fake": self._chosen(fake).fingerprint()}
        if self.real is not None:
            self._real_fingerprint = self._real_fingerprint or self.real.fingerprint()
            found["real"] = self._real_fingerprint
        return found

    def close(self) -> None:
        """Let go of what was collected of the real images."""
        if self._real is not None:
            self._real.close()
            self._real = None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _chosen(self, fake: ImageSource) -> ImageSource:
        """Return the images of `fake` that are measured, if all metrics are defined for so many."""
        wanted, real = self.reading.num_images or len(fake), self.real
        if real is not None and fake.resolution != real.resolution:
            _check_one_size(real)
            _check_one_size(fake)
            raise InputError(
                f"{real.name} has {real.resolution}² images, {fake.name} {fake.resolution}².",
                hint="Both sets must have one size: resize them in the same way before they are compared.",
            )
        if real is not None and self.equal and wanted != len(real):
            needing = next(measure.metric.name for measure in self.comparing if measure.needs_equal_counts)
            raise InputError(
                f"{real.name} has {len(real)} images, {fake.name} {len(fake)}; {needing} compares equal numbers.",
                hint=_equal_counts_hint(real, fake),
            )
        for measure in self.measures:
            measure.check(None if self.real is None else len(self.real), wanted)
        return choose(fake, wanted, self.reading.seed)

    def _collect(self, source: ImageSource, role: Role, measures: Sequence[Measure]) -> _Collected:
        recipes = list(dict.fromkeys(measure.recipe(role) for measure in measures))
        known = source.fingerprint() if any(recipe.by_content for recipe in recipes) else source.known_fingerprint()
        images = SetOfImages(source.name, role, len(source), source.resolution, known or "")
        collected = _Collected(source.name, known or "", {})
        try:
            for recipe in recipes:
                collected.by_recipe[recipe] = recipe.begin(images, self.device, self._budget)
            orders = [order for recipe in recipes if (order := recipe.reading_order(len(source))) is not None]
            hashes = None if known else _Hashes(len(source))
            self._feed(source, role, [*collected.by_recipe.values()], hashes, orders[0] if orders else None)
            collected.fingerprint = hashes.digest() if hashes else collected.fingerprint
        except BaseException:
            collected.close()
            raise
        return collected

    def _feed(
        self,
        source: ImageSource,
        role: Role,
        collectors: Sequence[Collector],
        hashes: _Hashes | None,
        order: Sequence[int] | None,
    ) -> None:
        hungry = [collector for collector in collectors if not collector.complete]
        if not hungry and hashes is None:
            return
        numbers = range(len(source)) if order is None else order
        with shown_bar(f"reading {role}", len(source), self.progress) as advance:
            for start in range(0, len(source), self.reading.batch):
                indices = numbers[start : start + self.reading.batch]
                pixels = source.read(indices)
                if hashes is not None:
                    hashes.update(pixels, indices)
                images: Tensor = torch.from_numpy(pixels).to(self.device)
                for collector in hungry:
                    collector.update(images, indices)
                advance(len(indices))
        for collector in hungry:
            collector.finish()

    def _results(self, fake: ImageSource, collected: _Collected) -> list[MetricResult]:
        if len(self.measures) == 1:
            return [self._result(self.measures[0], fake, collected)]
        results, faults = [], dict[str, Exception]()
        for measure in self.measures:
            try:
                results.append(self._result(measure, fake, collected))
            except Exception as error:  # raised below: hours may have gone into the others
                faults[measure.metric.name] = error
        if faults:
            raise PartlyScoredError(faults, results) from next(iter(faults.values()))
        return results

    def _result(self, measure: Measure, fake: ImageSource, collected: _Collected) -> MetricResult:
        real = self._real if measure.takes_real else None
        figures = measure.compute(
            real.by_recipe[measure.recipe("real")] if real else None,
            collected.by_recipe[measure.recipe("fake")],
            progress=self.progress,
        )
        data = {"real": real.named()} if real else {}
        return MetricResult(
            **asdict(figures),
            metric=measure.metric.name,
            direction=measure.metric.direction,
            protocol=self.protocol(measure, fake),
            data={**data, "fake": collected.named()},
            environment=environment(self.device),
        )


@dataclass
class _Collected:
    """What all metrics together keep of one set."""

    name: str
    fingerprint: str
    by_recipe: dict[Recipe, Collector]

    def named(self) -> dict[str, str]:
        return {"name": self.name, "fingerprint": self.fingerprint}

    def close(self) -> None:
        for collector in self.by_recipe.values():
            collector.close()


class _Hashes:
    """The fingerprint of a set, taken while its images stream by in any order."""

    def __init__(self, count: int) -> None:
        self._hashes = [hashlib.sha256().hexdigest()] * count

    def update(self, images: np.ndarray, indices: Sequence[int]) -> None:
        for index, image in zip(indices, images, strict=True):
            self._hashes[index] = image_hash(image)

    def digest(self) -> str:
        return content_hash(self._hashes)


def environment(device: torch.device) -> dict[str, str]:
    """Return what a result records of the machine: pgtools and torch versions, the device's name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"pgtools": __version__, "torch": torch.__version__, "device": name}


def _told(error: Exception) -> str:
    """Return what an error says, its kind too where it is none of pgtools' own; a sentence."""
    told = error.message if isinstance(error, PgtoolsError) else f"{type(error).__name__}: {error}"
    return told if told.endswith(".") else f"{told}."


def _check_one_size(source: ImageSource) -> None:
    """Raise InputError if the first images of a set differ among themselves: that fault comes before any other."""
    if source.known_fingerprint() is None:  # neither a store nor a generator, whose images have one size
        source.read(range(min(len(source), 64)))


def _equal_counts_hint(real: ImageSource, fake: ImageSource) -> str:
    """Return the next step where two sets are to be equal in number."""
    fewer = min(real, fake, key=len)
    if len(fewer) == 1:
        return f"{fewer.name} has a single image: name a set of more."
    return f"Pass --num-images {len(fewer)}."
