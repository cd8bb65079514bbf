"""SWD as a measure: two descriptor sets in, figures with their uncertainty out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pgtools.metrics.catalogue import SWD
from pgtools.metrics.measure import Measure, Role, shown_bar
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.descriptors import Descriptors, DescriptorSet
from pgtools.metrics.swd.distance import Lines, distances
from pgtools.metrics.swd.draws import draw_directions
from pgtools.metrics.swd.projection import Normalised
from pgtools.metrics.swd.scatter import Array, Images, Replicates, deal, draw_weights, resample
from pgtools.runtime.results import Figures

AVERAGE = "average"
# A perfect generator is called distinguishable at a level once in a hundred times.
ALARM = 0.01
# Of so few images the scatter is told much too large, and nothing would ever be called unlike.
FEWEST = 16


@dataclass(frozen=True)
class SwdMeasure(Measure):
    """The sliced Wasserstein distance × 1000 at every level, and their average."""

    settings: SwdSettings

    metric = SWD
    takes_real = True
    needs_equal_counts = True

    @property
    def memory(self) -> float | None:
        """Of both sets together."""
        return self.settings.memory

    def recipe(self, role: Role) -> Descriptors:
        """Return the recipe of both sets."""
        return Descriptors(self.settings)

    def protocol(self) -> dict[str, Any]:
        """Return the settings that make the figure."""
        return self.settings.protocol()

    def compute(self, real: DescriptorSet, fake: DescriptorSet, *, progress: bool = False) -> Figures:
        """Return distances, standard errors, floors and verdicts of every level and of their average."""
        found: dict[str, Array] = {}  # level → (seeds, repeats)
        replicates: dict[str, Replicates] = {}
        settings, count = self.settings, real.images.count
        resampled = settings.replicates > 1 and count > 1
        groups = deal(count, settings.seed)
        lines = Lines(real.device)
        weights = draw_weights(settings.replicates, int(groups.max()) + 1, settings.seed) if resampled else None
        with shown_bar("comparing levels", len(real.levels) * settings.seeds, progress) as advance:
            for level in real.levels:
                rows = []
                for seed in range(settings.seeds):
                    own = replace(settings, seed=settings.seed + seed)
                    drawn = [draw_directions(level, r, own, real.images.channels) for r in range(settings.repeats)]
                    with _normalised(real, seed, level) as a, _normalised(fake, seed, level) as b:
                        gaps = distances(a.descriptors, b.descriptors, np.concatenate(drawn), lines)
                        rows.append(1000 * gaps.reshape(settings.repeats, -1).mean(1))
                        if weights is not None and seed == 0:
                            replicates[str(level)] = resample(a, b, drawn[0], groups, weights, real.device)
                    real.page_out()
                    fake.page_out()
                    advance(1)
                found[str(level)] = np.stack(rows)
        found[AVERAGE] = np.mean(list(found.values()), axis=0)
        if replicates:
            replicates[AVERAGE] = _average(list(replicates.values()))
        return _figures(found, replicates, count)


@contextlib.contextmanager
def _normalised(collected: DescriptorSet, seed: int, level: int) -> Iterator[Images]:
    drawn = collected.drawn[seed][level]
    rows = drawn.patches.array.reshape(-1, drawn.patches.array.shape[-1])
    yield Images(Normalised(rows, *collected.moments(seed, level)), drawn.sums)


def _average(levels: list[Replicates]) -> Replicates:
    names = ("fake", "both", "floor", "measured")
    return Replicates(**{name: np.mean([getattr(level, name) for level in levels], axis=0) for name in names})


def _figures(found: dict[str, Array], replicates: dict[str, Replicates], count: int) -> Figures:
    values = {part: float(each.mean()) for part, each in found.items()}
    scatter: dict[str, dict[str, float]] = {}
    if next(iter(found.values())).shape[1] > 1:
        scatter["over repeats"] = {part: float(each[0].std(ddof=1)) for part, each in found.items()}
    if next(iter(found.values())).shape[0] > 1:
        scatter["over seeds"] = {part: float(each.mean(1).std(ddof=1)) for part, each in found.items()}
    if replicates:
        scatter["other images in both sets"] = {p: 1000 * float(r.both.std(ddof=1)) for p, r in replicates.items()}
    return Figures(
        values=values,
        spread={part: 1000 * float(r.fake.std(ddof=1)) for part, r in replicates.items()},
        interval={part: _interval(values[part], 1000 * r.fake) for part, r in replicates.items()},
        scatter=scatter,
        floor={part: 1000 * float(r.floor.mean()) for part, r in replicates.items()},
        floor_spread={part: 1000 * float(r.floor.std(ddof=1)) for part, r in replicates.items()},
        verdict={part: _verdict(r, count) for part, r in replicates.items()},
    )


def _interval(value: float, resampled: Array) -> list[float]:
    """Return the 95 % interval of what the generator gets on average at this N.

    Resampled sets differ from the real one by their own chance too, on top of the measured one's: what they have in
    common is taken off.
    """
    low, high = np.quantile(resampled - resampled.mean(), (0.025, 0.975))
    return [max(0.0, value + float(low)), value + float(high)]


def _verdict(resampled: Replicates, count: int) -> str:
    if count < FEWEST:
        return f"too few images to tell: {FEWEST} are needed"
    limit = float(np.quantile(resampled.floor, 1 - ALARM))
    if resampled.measured <= limit:
        return "indistinguishable from real at this N"
    floor = float(resampled.floor.mean())
    return f"not like real: {resampled.measured / floor:.1f} × the floor" if floor > 0 else "not like real"
