"""Images and settings in, a `MetricResult` with all that made it out: for every metric."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pgtools import __version__
from pgtools.errors import InputError
from pgtools.metrics import catalogue, msssim, swd
from pgtools.metrics.catalogue import Metric
from pgtools.metrics.pyramid import pyramid_levels
from pgtools.metrics.settings import InceptionSettings, MsssimSettings, SwdSettings
from pgtools.runtime.files import sha256_of
from pgtools.runtime.progress import bar
from pgtools.runtime.results import MetricResult
from pgtools.stores.source import ImageSource
from pgtools.stores.views import Subset, choose

AVERAGE = "average"


class SwdAgainst:
    """Measures any number of sets against the same real one, whose descriptors are kept if memory allows.

    Memory: a level takes 2 · N · neighbourhoods · 3·size² · 4 bytes for both sets (2.5 GB at the paper's
    16,384 images), and about as much again while it is sorted. `settings.memory` says how many levels are
    held at once; with all of them, each set is read once and the real descriptors stay for the next score.

    Args:
        real: the real images.
        settings: see SwdSettings.
        device: where to compute.
        progress: show bars on stderr.
    """

    def __init__(
        self, real: ImageSource, settings: SwdSettings, device: torch.device, *, progress: bool = False
    ) -> None:
        self.whole, self.settings, self.device, self.progress = real, settings, device, progress
        self.real = choose(real, settings.num_images or len(real), settings.seed)
        self.levels = pyramid_levels(real.resolution)
        self._fingerprint = self.real.fingerprint()
        self._kept: dict[int, Tensor] = {}

    def score(self, fake: ImageSource, *, floor: bool = False) -> MetricResult:
        """Return the distance of `fake`, with the floor beside it if asked for.

        The floor is the distance of other real images, as many: what a perfect generator would get.

        Raises:
            InputError: the sets differ in size, or in count with no number set, or the floor lacks images.
        """
        fake = self._matching(fake)
        others = self._other_reals() if floor else None
        distances = self._distances(fake)
        return MetricResult(
            metric=catalogue.SWD.name,
            direction=catalogue.SWD.direction,
            values={part: float(np.mean(found)) for part, found in distances.items()},
            spread={part: float(np.std(found, ddof=1)) for part, found in distances.items() if len(found) > 1},
            floor={part: float(np.mean(found)) for part, found in self._distances(others).items()} if others else {},
            protocol=_protocol(catalogue.SWD, fake) | self.settings.protocol(),
            data={
                "real": {"name": self.real.name, "fingerprint": self._fingerprint},
                "fake": {"name": fake.name, "fingerprint": fake.fingerprint()},
            },
            environment=_environment(self.device),
        )

    def _matching(self, fake: ImageSource) -> ImageSource:
        if fake.resolution != self.real.resolution:
            raise InputError(
                f"{self.real.name} has {self.real.resolution}² images, {fake.name} {fake.resolution}².",
                hint="Both sets must have one size: resize them in the same way before they are compared.",
            )
        if self.settings.num_images is None and len(fake) != len(self.real):
            raise InputError(
                f"{self.real.name} has {len(self.real)} images, {fake.name} {len(fake)}; SWD compares equal numbers.",
                hint=f"Pass --num-images {min(len(fake), len(self.real))}.",
            )
        return choose(fake, len(self.real), self.settings.seed)

    def _other_reals(self) -> ImageSource:
        count = len(self.real)
        if len(self.whole) < 2 * count:
            raise InputError(
                f"{self.whole.name} has {len(self.whole)} images; the floor of {count} takes {2 * count}: "
                "as many again that were not compared.",
                hint=f"Pass --num-images {len(self.whole) // 2} or fewer, or leave out --floor.",
            )
        used = self.real.indices if isinstance(self.real, Subset) else np.arange(0)
        rest = np.setdiff1d(np.arange(len(self.whole)), used)
        return choose(Subset(self.whole, rest.tolist()), count, self.settings.seed)

    def _distances(self, other: ImageSource) -> dict[str, list[float]]:
        """Return part → the distance × 1000 of every repeat, in as many passes as memory asks."""
        found: dict[int, list[float]] = {}
        for levels in self._passes():
            reals = self._describe_real(levels)
            others = self._describe(other, levels, "fake")
            with _bar("comparing", len(levels), self.progress) as advance:
                for level in levels:
                    found[level] = swd.compare(reals[level], others[level], level, self.settings, self.device)
                    advance(1)
        parts = {str(level): found[level] for level in self.levels}
        return parts | {AVERAGE: np.mean(list(parts.values()), axis=0).tolist()}

    def _passes(self) -> list[tuple[int, ...]]:
        numbers = len(self.real) * self.settings.neighbourhoods * swd.CHANNELS * self.settings.size**2
        at_once = max(1, int(self.settings.memory * 1e9 / (2 * 4 * numbers)))
        return [self.levels[start : start + at_once] for start in range(0, len(self.levels), at_once)]

    def _describe_real(self, levels: Sequence[int]) -> dict[int, Tensor]:
        if len(levels) < len(self.levels):
            return self._describe(self.real, levels, "real")
        self._kept = self._kept or self._describe(self.real, levels, "real")
        return self._kept

    def _describe(self, source: ImageSource, levels: Sequence[int], role: str) -> dict[int, Tensor]:
        with _bar(f"reading {role}", len(source), self.progress) as advance:
            return swd.describe(source, levels, self.settings, role=role, device=self.device, advance=advance)


def score_msssim(
    images: ImageSource, settings: MsssimSettings, device: torch.device, *, progress: bool = False
) -> MetricResult:
    """Return the mean MS-SSIM over random pairs of one set; the spread is the mean's standard error.

    Raises:
        InputError: fewer than two images, or images under 16².
    """
    chosen = choose(images, settings.num_images or len(images), settings.seed)
    wanted = settings.pairs or min(len(chosen) // 2, msssim.MOST_PAIRS)
    pairs = msssim.draw_pairs(len(chosen), wanted, settings.seed)
    with _bar("measuring pairs", len(pairs), progress) as advance:
        scores = msssim.score_pairs(chosen, pairs, batch=settings.batch, device=device, advance=advance)
    return MetricResult(
        metric=catalogue.MSSSIM.name,
        direction=catalogue.MSSSIM.direction,
        values={"value": float(scores.mean())},
        spread={"value": msssim.standard_error(scores, pairs)} if len(pairs) > 1 else {},
        protocol=_protocol(catalogue.MSSSIM, chosen) | {"pairs": len(pairs), "seed": settings.seed},
        data=_fake(chosen),
        environment=_environment(device),
    )


def score_inception(
    images: ImageSource,
    settings: InceptionSettings,
    weights: Path,
    device: torch.device,
    *,
    progress: bool = False,
) -> MetricResult:
    """Return the Inception Score; the spread is its standard deviation over the splits.

    Args:
        images: the images.
        settings: see InceptionSettings.
        weights: the network's file, see `inception.load_network`.
        device: where the network runs.
        progress: show a bar on stderr.

    Raises:
        InputError: fewer images than splits, or a file that is no such network.
    """
    from pgtools.metrics import (
        inception,
    )  # torch-fidelity takes seconds to import, and training has no use for it

    chosen = choose(images, settings.num_images or len(images), settings.seed)
    network = inception.load_network(weights, device)
    inception.check_count(len(chosen), settings.splits)
    with _bar("reading images", len(chosen), progress) as advance:
        logits = inception.read_logits(chosen, network, batch=settings.batch, device=device, advance=advance)
    mean, deviation = inception.inception_score(logits, settings)
    return MetricResult(
        metric=catalogue.INCEPTION_SCORE.name,
        direction=catalogue.INCEPTION_SCORE.direction,
        values={"value": mean},
        spread={"value": deviation},
        protocol=_protocol(catalogue.INCEPTION_SCORE, chosen) | settings.protocol() | {"weights": sha256_of(weights)},
        data=_fake(chosen),
        environment=_environment(device),
    )


def _protocol(metric: Metric, images: ImageSource) -> dict[str, object]:
    return {"version": metric.version, "num_images": len(images), "resolution": images.resolution}


def _fake(images: ImageSource) -> dict[str, dict[str, str]]:
    return {"fake": {"name": images.name, "fingerprint": images.fingerprint()}}


def _environment(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"pgtools": __version__, "torch": torch.__version__, "device": name}


@contextlib.contextmanager
def _bar(description: str, total: int, shown: bool) -> Iterator[Callable[[int], None]]:
    if not shown:
        yield lambda _: None
        return
    with bar(description, total) as advance:
        yield advance
