"""MS-SSIM as a measure: scores of random pairs in, their mean with its uncertainty out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.metrics.catalogue import MSSSIM
from pgtools.metrics.measure import Measure, Role
from pgtools.metrics.msssim.collect import PairScores, RandomPairs
from pgtools.metrics.msssim.pairs import standard_error, usual_pairs
from pgtools.metrics.settings import MsssimSettings
from pgtools.runtime.results import Figures

VALUE = "value"
# Of a normal distribution, 95 of 100 lie within so many standard deviations.
_NINETY_FIVE = 1.959964


@dataclass(frozen=True)
class MsssimMeasure(Measure):
    """The mean MS-SSIM over random pairs of generated images."""

    settings: MsssimSettings

    metric = MSSSIM

    def recipe(self, role: Role) -> RandomPairs:
        """Return the recipe of the set."""
        return RandomPairs(self.settings.pairs, self.settings.seed)

    def protocol(self) -> dict[str, Any]:
        """Return pairs (None: see `usual_pairs`) and seed."""
        return self.settings.protocol()

    def protocol_of(self, count: int) -> dict[str, Any]:
        """Return pairs and seed, the number of pairs as it is for so many images."""
        return {**self.protocol(), "pairs": self.settings.pairs or usual_pairs(count)}

    def compute(self, real: None, fake: PairScores, *, progress: bool = False) -> Figures:
        """Return the mean, its standard error and interval, and the scatter of the pairs."""
        return figures(fake.scores, standard_error(fake.scores, fake.pairs))


def figures(scores: NDArray[np.float64], error: float | None) -> Figures:
    """Return the figures of scores, float64 (P,), whose mean has that standard error; None if it cannot be known."""
    mean = float(scores.mean())
    if error is None:
        return Figures(values={VALUE: mean})
    return Figures(
        values={VALUE: mean},
        spread={VALUE: error},
        interval={VALUE: [mean - _NINETY_FIVE * error, mean + _NINETY_FIVE * error]},
        scatter={"over pairs": {VALUE: float(scores.std(ddof=1))}},
    )
