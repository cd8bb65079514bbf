"""Recovered modes of stacked MNIST: images in, 1,000 classes counted, modes and KL out.

Convention: images larger than 32² are lowered by 2×2 means first; each colour plane is a digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.metrics import catalogue
from pgtools.metrics.catalogue import Metric
from pgtools.metrics.measure import Measure, Role
from pgtools.metrics.modes import counts
from pgtools.metrics.modes.classifier import Classifier
from pgtools.metrics.modes.collect import Classes
from pgtools.metrics.modes.data import DataClasses
from pgtools.metrics.modes.settings import RecoveredModesSettings
from pgtools.runtime.results import Figures
from pgtools.runtime.seeds import stream

# 95 % of a normal distribution lie within so many standard deviations.
NORMAL_95 = 1.959964
HIT, KL = "modes", "kl"
UNIFORM = "uniform"


@dataclass(frozen=True)
class RecoveredModesMeasure(Measure):
    """How many of stacked MNIST's 1,000 modes a set hits, and KL(model ‖ data) in nats.

    Args:
        settings: see RecoveredModesSettings; the number of images is that of the set.
        classifier: names the digits.
        sets: as many equal sets are drawn from the images, each image in one at most; the figures are their mean.
        data: how often the classes occur among real images; equally often if not given.

    Raises:
        InputError: the classifier's accuracy is under the settings' least.
    """

    settings: RecoveredModesSettings
    classifier: Classifier
    sets: int = 1
    data: DataClasses | None = None

    metric: ClassVar[Metric] = catalogue.RECOVERED_MODES

    def __post_init__(self) -> None:
        if self.classifier.accuracy < self.settings.least_accuracy:
            raise InputError(
                f"The classifier names {self.classifier.accuracy:.2%} of its held-out digits right; "
                f"expected {self.settings.least_accuracy:.2%} or more.",
                hint="Train it longer (--epochs) or on more digits; --least-accuracy lowers the bar.",
            )

    def recipe(self, role: Role) -> Classes:
        """Return what is to be collected: the classes."""
        return Classes(self.classifier)

    def check(self, real: int | None, fake: int) -> None:
        """Raise InputError if there are fewer images than sets."""
        if fake < self.sets:
            raise InputError(f"There are {fake} images for {self.sets} sets.", hint="Pass fewer --repeats.")

    def protocol(self) -> dict[str, Any]:
        """Return what must agree: sets and how they are drawn, the classifier, the data's distribution."""
        return {
            "sets": self.sets,
            "seed": self.settings.seed,
            "data": self.data.sha256 if self.data else UNIFORM,
            "classifier": self.classifier.sha256,
            "classifier_accuracy": self.classifier.accuracy,
        }

    def compute(self, real: Any, fake: Any, *, progress: bool) -> Figures:
        """Return modes (higher is better) and KL (lower is better) of a finished `ClassSet`.

        Raises:
            InputError: the images are grey, fewer than the sets, or of a class that the data lack.
        """
        shares = self.data.shares if self.data else counts.uniform()
        known_from = self.data.total if self.data else None
        return figures_of(in_sets(fake.classes(), self.sets, self.settings.seed), shares, known_from)


def in_sets(classes: NDArray[np.int64], sets: int, seed: int) -> NDArray[np.int64]:
    """Return the classes as `sets` equal sets, (sets, N // sets), drawn at random; those left over are in none."""
    each = len(classes) // sets
    if sets == 1:
        return classes[None]
    # A store may be sorted by class.
    order = stream(seed, "recovered modes", "sets").permutation(len(classes))
    return classes[order[: sets * each]].reshape(sets, each)


def figures_of(classes: NDArray[np.int64], data: NDArray[np.float64], known_from: int | None = None) -> Figures:
    """Return the mean figures of several sets of classes.

    Args:
        classes: int64 (sets, N) from 0 to 999.
        data: shares of the data's classes, float64 (1000,).
        known_from: number of real images that these shares were counted from; None if they are exact.

    Raises:
        InputError: a class occurs that the data lack.
    """
    sets, each = classes.shape
    tables = [counts.class_counts(row) for row in classes]
    hits = np.array([counts.modes_hit(table) for table in tables], np.float64)
    distances = np.array([counts.kl_to_data(table, data) for table in tables])
    error = counts.standard_error(np.sum(tables, axis=0), each, data)
    values = {HIT: float(hits.mean()), KL: float(distances.mean())}
    spread = {HIT: error.modes / math.sqrt(sets), KL: error.kl / math.sqrt(sets)}
    floor, floor_spread = _floor(sets, each, data, known_from)
    over_sets = {HIT: float(hits.std(ddof=1)), KL: float(distances.std(ddof=1))} if sets > 1 else {}
    return Figures(
        values=values,
        spread=spread,
        interval={part: _interval(values[part], spread[part], high) for part, high in ((HIT, 1000.0), (KL, math.inf))},
        scatter={"over sets": over_sets} if over_sets else {},
        floor=floor,
        floor_spread=floor_spread,
        verdict=_verdict(values, spread, floor, floor_spread),
        directions={KL: "lower"},
    )


def _floor(
    sets: int, each: int, data: NDArray[np.float64], known_from: int | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Return what a perfect generator gets, and its scatter.

    Where the data's shares are counts of real images, their own scatter adds to KL, here to first order in 1/count.
    """
    mean, scatter = counts.perfect(each, data), counts.perfect_scatter(each, data)
    extra = variance = 0.0
    if known_from is not None:
        freedom = np.count_nonzero(data) - 1
        extra = freedom / (2 * known_from)
        variance = freedom / 2 * (1 / known_from**2 + 2 / (known_from * each * sets))
    deviation = math.sqrt(scatter.kl**2 / sets + variance)
    return {HIT: mean.modes, KL: mean.kl + extra}, {HIT: scatter.modes / math.sqrt(sets), KL: deviation}


def _interval(value: float, error: float, high: float) -> list[float]:
    return [max(value - NORMAL_95 * error, 0.0), min(value + NORMAL_95 * error, high)]


def _verdict(
    values: dict[str, float], spread: dict[str, float], floor: dict[str, float], floor_spread: dict[str, float]
) -> dict[str, str]:
    """Say of each part whether it is worse than a perfect generator's by more than both scatters explain."""
    said = {}
    for part, sign in ((HIT, 1), (KL, -1)):
        short = sign * (floor[part] - values[part])
        # Half a mode: where no scatter is left, a floor of 999.99 is 1,000.
        allowed = NORMAL_95 * math.hypot(spread[part], floor_spread[part]) + (0.5 if part == HIT else 0.0)
        said[part] = "indistinguishable from the data at this N" if short <= allowed else "worse than the data"
    if said[HIT] == "worse than the data":
        said[HIT] = f"{floor[HIT] - values[HIT]:.0f} modes fewer than the data give"
    return said
