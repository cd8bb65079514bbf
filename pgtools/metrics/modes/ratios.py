"""How unevenly a generator hits the classes, estimated from counts: pure, float64.

Convention: the ratio r = p/q of a class is its share of the generator's images over its share of the data; a perfect
generator has 1 everywhere, a dropped class 0. Counts of N images are taken as Poisson counts of mean N·q·r. How the
ratios are distributed over the classes is estimated with no assumed form: of all distributions on a fine grid the one
that makes the counts most likely. So what chance adds to the counts is not taken for unevenness, a class not seen
may still have some likelihood, and one that is seen only by chance passes for no rarer than those like it.

Source: Kiefer and Wolfowitz 1956; Wang 2007, J. R. Statist. Soc. B 69 (the steps by least squares).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# Grid: what was observed, rounded to such a step of √mean (a Poisson count's root scatters by 0.5).
STEP = 0.1
# Means below 1 that explain counts of 0, as √mean; only beside counts up to RARE do they matter.
SMALL, RARE = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), 3
# Plain steps first, then better ones until no likelihood is left to gain.
PLAIN_STEPS, STEPS, ENOUGH = 30, 40, 1e-6
# Of the condition that the weights' sum be 1, beside the squares, which are of the order 1 together.
SUM_COUNTS = 30.0


@dataclass(frozen=True)
class Ratios:
    """What the counts say of the classes' ratios.

    Classes of equal count and equal share of the data are one kind.

    Attributes:
        data: share of the data of a class of each kind, (kinds,).
        ratios: the grid, rising, (points,).
        weights: classes of each kind, spread over the grid as likely as they have that ratio, (kinds, points).
    """

    data: Floats
    ratios: Floats
    weights: Floats


def estimate_ratios(counts: Counts, data: Floats) -> Ratios:
    """Return the classes' estimated ratios.

    Args:
        counts: int64 (1000,), at least one image; 0 where the data have none.
        data: shares of the data, float64 (1000,).
    """
    total = counts.sum()
    kinds, classes = np.unique(np.stack([counts, data])[:, data > 0], axis=1, return_counts=True)
    found, shares = kinds
    ratios = _grid(found, total * shares)
    likelihood = _likelihood(found, total * shares[:, None] * ratios)
    posterior = likelihood * _most_likely(likelihood, classes / classes.sum())
    return Ratios(shares, ratios, posterior / posterior.sum(1, keepdims=True) * classes[:, None])


def _grid(found: Floats, expected: Floats) -> Floats:
    middle = float(expected.mean())
    roots = np.round(np.sqrt(found / expected * middle) / STEP) * STEP
    points = np.unique([*roots, *SMALL] if 0 < found[found > 0].min() <= RARE else roots)
    grid: Floats = points**2 / middle
    return grid


def _likelihood(found: Floats, means: Floats) -> Floats:
    """Return Poisson likelihoods, (kinds, points), the largest of a kind 1."""
    with np.errstate(divide="ignore"):
        logs = found[:, None] * np.log(means, where=means > 0, out=np.full_like(means, -1e9)) - means
    likelihood: Floats = np.exp(logs - logs.max(1, keepdims=True))
    return likelihood


def _most_likely(likelihood: Floats, often: Floats) -> Floats:
    """Return the weights of the points, their sum 1, that maximise Σ often · ln(likelihood @ weights)."""
    weights = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(PLAIN_STEPS):
        weights *= (often / (likelihood @ weights)) @ likelihood
    for _ in range(STEPS):
        relative = likelihood / (likelihood @ weights)[:, None]
        gradient = often @ relative
        if gradient.max() < 1 + ENOUGH:
            break
        better = _least_squares(relative, often)
        weights = _between(likelihood, often, weights, better if better is not None else weights * gradient)
    return weights


def _least_squares(relative: Floats, often: Floats) -> Floats | None:
    """Return where the likelihood's quadratic approximation is highest, None if that is not found."""
    root = np.sqrt(often)
    # The last row makes the sum 1.
    rows = np.concatenate([root[:, None] * relative, np.full((1, relative.shape[1]), SUM_COUNTS)])
    try:
        found, _ = scipy.optimize.nnls(rows, np.append(2 * root, SUM_COUNTS))
    except RuntimeError:
        return None
    better: Floats | None = found / found.sum() if found.sum() > 0 else None
    return better


def _between(likelihood: Floats, often: Floats, old: Floats, new: Floats) -> Floats:
    """Return the first of new, half-way, a quarter, … that is more likely than old; old if none is."""
    before = often @ np.log(likelihood @ old)
    for halvings in range(12):
        tried: Floats = old + (new - old) / 2**halvings
        mixed = likelihood @ tried
        if mixed.min() > 0 and often @ np.log(mixed) > before:
            return tried
    return old
