"""Counts of 1,000 classes in, figures out: pure, float64, and the same for any order of the images.

Convention: KL is KL(model ‖ data) in nats, Σ p·ln(p/q) over the classes, p the share of the generated images, q that
of the data; a class without generated images adds 0. Both figures are those of the images at hand: KL is no estimate
of the generator's own distance but lies above it, the more so the fewer images; `perfect` says by how much.

All scatter is computed, none of it drawn. A figure is a sum over the classes of a function of the class's count.
Counts of a multinomial are Poisson counts whose sum is known, so its variance is the sum of the Poisson variances less
what the knowledge of the sum explains: Σ Var g(c) − (Σ Cov(g(c), c))² / Σ Var c.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.metrics.modes.ratios import estimate_ratios

MODES = 1000
# A binomial or Poisson count lies within so many standard deviations (and this much more) of its mean.
REACH, MORE = 12.0, 30
# Means at which a class's variances are tabled; beyond the last they hardly change any more.
LEAST_MEAN = 1e-7
TABLED = np.geomspace(LEAST_MEAN, 2000, 240)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
# (counts (m,), their mean) -> what a class adds to the sum for each count, (m,)
Term = Callable[[Floats, float], Floats]


@dataclass(frozen=True)
class Pair:
    """Something told of both figures."""

    modes: float
    kl: float


def class_counts(classes: NDArray[np.integer]) -> Counts:
    """Return how often each class occurs, int64 (1000,).

    Raises:
        InputError: a class is not within 0 to 999.
    """
    if len(classes) and not 0 <= classes.min() <= classes.max() < MODES:
        raise InputError(f"There are classes from {classes.min()} to {classes.max()}; expected 0 to {MODES - 1}.")
    counts: Counts = np.bincount(classes, minlength=MODES).astype(np.int64)
    return counts


def uniform() -> Floats:
    """Return the share of each class where all are equally likely, float64 (1000,)."""
    return np.full(MODES, 1 / MODES)


def modes_hit(counts: Counts) -> int:
    """Return how many classes occur."""
    return int(np.count_nonzero(counts))


def kl_to_data(counts: Counts, data: Floats) -> float:
    """Return KL(model ‖ data) in nats.

    Args:
        counts: of the generated images, int64 (1000,), at least one.
        data: shares of the data, float64 (1000,), their sum 1.

    Raises:
        InputError: a class occurs that the data have none of, where KL is infinite.
    """
    hit = counts > 0
    if missing := np.flatnonzero(hit & (data <= 0)).tolist():
        raise InputError(
            f"The generated images have class {missing[0]:03d}, the data none of it: KL is infinite.",
            hint="Give more real images, or compare with the uniform distribution.",
        )
    shares = counts[hit] / counts.sum()
    return float(np.sum(shares * np.log(shares / data[hit])))


def perfect(count: int, data: Floats) -> Pair:
    """Return what `count` images drawn from the data themselves give on average, exactly (binomial counts)."""
    hit = float(np.sum(1 - (1 - data) ** count))
    return Pair(hit, _binomial_mean(_kl, count, data) / count)


def perfect_scatter(count: int, data: Floats) -> Pair:
    """Return the standard deviations of what `perfect` gives the means of."""
    expected = count * data[data > 0]
    return Pair(_deviation(_hit, expected, count), _deviation(_kl, expected, count) / count)


def standard_error(counts: Counts, count: int, data: Floats) -> Pair:
    """Return the standard deviations of the figures over other sets of `count` images of the same generator.

    They are those of a generator whose classes have the ratios that `estimate_ratios` finds.

    Args:
        counts: of all generated images at hand, int64 (1000,), one set or several together.
        count: images of one set.
        data: shares of the data, float64 (1000,).
    """
    found = estimate_ratios(counts, data)
    means = count * found.data[:, None] * found.ratios
    own = np.where(found.ratios > 0, np.log(np.maximum(found.ratios, 1e-300)) + 1, 0.0)
    # c·ln(c/nq) = (c·ln(c/λ) − c) + c·(ln r + 1): the first part depends on the mean alone, the second is a multiple.
    return Pair(
        _mixed_deviation(_hit, means, found.weights, count, np.zeros_like(own)),
        _mixed_deviation(_entropy, means, found.weights, count, own) / count,
    )


def _hit(counts: Floats, expected: float) -> Floats:
    return (counts > 0).astype(np.float64)


def _kl(counts: Floats, expected: float) -> Floats:
    """What a class adds to KL, times the number of images: c·ln(c/λ), λ = n·q."""
    added: Floats = counts * np.log(np.maximum(counts, 1) / expected)
    return added


def _entropy(counts: Floats, expected: float) -> Floats:
    added: Floats = _kl(counts, expected) - counts
    return added


def _binomial_mean(term: Term, count: int, data: Floats) -> float:
    """Return the expected sum of `term` over the classes where `count` images are drawn from `data`."""
    total = 0.0
    for share, classes in zip(*np.unique(data[data > 0], return_counts=True), strict=True):
        counts = _likely_counts(count * share, count)
        total += classes * float(scipy.stats.binom.pmf(counts, count, share) @ term(counts, count * share))
    return total


def _deviation(term: Term, expected: Floats, count: int) -> float:
    """Return the standard deviation of the sum of `term` over the counts of `count` images with these means."""
    means, classes = np.unique(expected, return_counts=True)
    rest, slope, variance = np.array([_split(term, mean, count) for mean in means]).T
    return _of_sum(rest, slope, variance, classes)


def _mixed_deviation(term: Term, means: Floats, classes: Floats, count: int, more: Floats) -> float:
    """Return the standard deviation of the sum of `term` + count · `more` over classes of these means.

    Args:
        term: for one class.
        means: (kinds, points).
        classes: how many have each mean, (kinds, points).
        count: images in all.
        more: (points,).
    """
    logs = np.log(np.clip(means, LEAST_MEAN, None))
    rest, slope, ratio = (np.interp(logs, np.log(TABLED), values) for values in _table(term, count))
    return _of_sum(np.where(means > 0, rest, 0.0), slope + more, means * ratio, classes)


@functools.lru_cache(maxsize=16)
def _table(term: Term, count: int) -> tuple[Floats, Floats, Floats]:
    """Return what `_split` tells at `TABLED`, the variance divided by the mean; all are smooth in ln(mean)."""
    rest, slope, variance = np.array([_split(term, mean, count) for mean in TABLED]).T
    return rest, slope, variance / TABLED


def _of_sum(rest: Floats, slope: Floats, variance: Floats, classes: Floats | Counts) -> float:
    """Return the standard deviation of a sum over classes, of counts whose sum is known, from what `_split` told."""
    own = np.sum(classes * (rest + variance * slope**2))
    shared = np.sum(classes * variance * slope)
    known = np.sum(classes * variance)
    return math.sqrt(max(float(own - shared**2 / known), 0.0)) if known else 0.0


def _split(term: Term, mean: float, count: int) -> tuple[float, float, float]:
    """Return a term's variance beside its regression on the class's count, the slope of that, the count's variance.

    The class's count is Poisson, but none above `count`.
    """
    counts = _likely_counts(mean, count)
    logs = counts * math.log(mean) - scipy.special.gammaln(counts + 1)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    values = term(counts, mean)
    values, counts = values - weights @ values, counts - weights @ counts
    variance = float(weights @ counts**2)
    slope = float(weights @ (values * counts)) / variance if variance else 0.0
    return float(weights @ (values - slope * counts) ** 2), slope, variance


def _likely_counts(mean: float, highest: int) -> Floats:
    """Return all counts, none above `highest`, that a class of this mean has with a likelihood worth counting."""
    reach = REACH * math.sqrt(mean) + MORE
    return np.arange(max(0, math.floor(min(mean, highest) - reach)), min(math.ceil(mean + reach), highest) + 1.0)
