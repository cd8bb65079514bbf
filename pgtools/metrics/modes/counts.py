"""Counts of 1,000 classes in, figures out: pure, float64, and the same for any order of the images.

Convention: KL is KL(model ‖ data) in nats, Σ p·ln(p/q) over the classes, p the share of the generated images, q that
of the data; a class without generated images adds 0. Both figures are those of the images at hand: KL is no estimate
of the generator's own distance but lies above it, the more so the fewer images; `perfect` says by how much.

All scatter is computed, none of it drawn. A figure is a sum over the classes of a function of the class's count.
Counts of a multinomial are Poisson counts whose sum is known, so its variance is the sum of the Poisson variances less
what the knowledge of the sum explains: Σ Var g(c) − (Σ Cov(g(c), c))² / Σ Var c.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from pgtools.errors import InputError

MODES = 1000
# A binomial or Poisson count lies within so many standard deviations (and this much more) of its mean.
REACH, MORE = 12.0, 30

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
    return Pair(_deviation(_hit, expected), _deviation(_kl, expected) / count)


def standard_error(counts: Counts, count: int, data: Floats) -> Pair:
    """Return the standard deviations of the figures over other sets of `count` images of the same generator.

    Modes: from the generator's shares as Chao et al. (2014) estimate them, which give some likelihood to classes that
    have not occurred yet. KL: to first order the variance of ln(p/q) over the images, less what chance alone adds to
    that in so many images; to this comes the scatter of a perfect generator.

    Args:
        counts: of all generated images at hand, int64 (1000,), one set or several together.
        count: images of one set.
        data: shares of the data, float64 (1000,).
    """
    shares = shares_with_unseen(counts)
    hit = counts > 0
    total, seen = int(counts.sum()), counts[hit] / counts.sum()
    logs = np.log(seen / data[hit])
    chance = _binomial_mean(_kl_square, total, data) / total - perfect(total, data).kl ** 2
    spread = float(np.sum(seen * logs**2) - np.sum(seen * logs) ** 2)
    variance = max(spread - chance, 0.0) / count + perfect_scatter(count, data).kl ** 2
    return Pair(_deviation(_hit, count * shares[shares > 0]), math.sqrt(variance))


def shares_with_unseen(counts: Counts) -> Floats:
    """Return the classes' estimated shares, float64 (1000,), where rare classes leave some to those not seen.

    The share of unseen classes is estimated from how many classes were seen once and twice, and given to as many of
    them as that suggests, in equal parts; classes that were seen leave it the more the fewer they are.

    Source: Chao et al. 2014, Ecological Monographs 84, appendix G; the number of classes is known here to be 1,000.
    """
    total = int(counts.sum())
    once, twice = int(np.sum(counts == 1)), int(np.sum(counts == 2))
    plain: Floats = counts / total
    lower = once**2 / (2 * twice) if twice else once * (once - 1) / 2
    unseen = min(math.ceil((total - 1) / total * lower), int(np.sum(counts == 0)))
    if not unseen or total < 2:
        return plain
    missing = once / total * ((total - 1) * once / ((total - 1) * once + 2 * twice))
    leaving = plain * (1 - plain) ** total
    shares: Floats = plain - missing * leaving / leaving.sum()
    shares[np.flatnonzero(counts == 0)[:unseen]] = missing / unseen
    kept: Floats = np.maximum(shares, 0)
    kept /= kept.sum()
    return kept


def _hit(counts: Floats, expected: float) -> Floats:
    return (counts > 0).astype(np.float64)


def _kl(counts: Floats, expected: float) -> Floats:
    """What a class adds to KL, times the number of images: c·ln(c/λ), λ = n·q."""
    added: Floats = counts * np.log(np.maximum(counts, 1) / expected)
    return added


def _kl_square(counts: Floats, expected: float) -> Floats:
    added: Floats = counts * np.log(np.maximum(counts, 1) / expected) ** 2
    return added


def _binomial_mean(term: Term, count: int, data: Floats) -> float:
    """Return the expected sum of `term` over the classes where `count` images are drawn from `data`."""
    total = 0.0
    for share, classes in zip(*np.unique(data[data > 0], return_counts=True), strict=True):
        counts = _likely_counts(count * share, count)
        total += classes * float(scipy.stats.binom.pmf(counts, count, share) @ term(counts, count * share))
    return total


def _deviation(term: Term, expected: Floats) -> float:
    """Return the standard deviation of the sum of `term` over multinomial counts with these means (none is 0)."""
    own = shared = 0.0
    for mean, classes in zip(*np.unique(expected, return_counts=True), strict=True):
        counts = _likely_counts(mean, None)
        weights, values = scipy.stats.poisson.pmf(counts, mean), term(counts, mean)
        centred = values - weights @ values
        own += classes * float(weights @ centred**2)
        shared += classes * float(weights @ (centred * (counts - mean)))
    return math.sqrt(max(own - shared**2 / float(expected.sum()), 0.0))


def _likely_counts(mean: float, highest: int | None) -> Floats:
    """Return all counts that a class of this mean has with a likelihood worth counting."""
    reach = REACH * math.sqrt(mean) + MORE
    last = math.ceil(mean + reach)
    return np.arange(max(0, math.floor(mean - reach)), (last if highest is None else min(last, highest)) + 1.0)
