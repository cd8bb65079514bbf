"""The kernel distance's standard error, and the limit that a perfect generator exceeds once in a hundred times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.metrics.inception.perfect import ALARM, moments, upper_limit
from pgtools.metrics.settings import KidSettings
from pgtools.runtime.seeds import stream

Array = NDArray[Any]
_ROWS = 4096
# Images that the kernel's moments are estimated from: their own error is then a few hundredths.
_KERNEL_ROWS = 4000
# Up to so many images of both sets together, labels are exchanged so many times: exact, where few images tell little
# of the kernel's moments.
_EXCHANGED, _EXCHANGES = 400, 1000


def kernel_error(fake: Array, real: Array, settings: KidSettings) -> float:
    """Return the standard error of a kernel distance over its generated images.

    The distance is the mean over subsets that overlap. With the kernel parted into k(y, y') = κ + g(y) + g(y') + rest,
    its variance over y is that of the linear terms, each weighted by the subsets it is in, plus that of the rests,
    each weighted by the subsets that hold both.

    Args:
        fake: features of the generated images, (N, d).
        real: of the real ones, (M, d).
        settings: those of the distance.
    """
    size, subsets = settings.subset_size, settings.subsets
    chosen = _subsets(len(fake), len(real), settings)
    of_fake, of_real = (_held_by(rows, count) for rows, count in zip(chosen, (len(fake), len(real)), strict=True))
    shared_fake = of_fake @ of_fake.T  # (S, S)
    picked = np.sort(stream(settings.seed, "kid", "errors").permutation(len(fake))[:_KERNEL_ROWS])
    own = moments(_kernel(fake[picked], fake[picked], settings))
    linear, rest = own.means, own.square
    mean_real = np.zeros((subsets, len(picked)))
    for start in range(0, len(real), _ROWS):
        columns = slice(start, start + _ROWS)
        mean_real += of_real[:, columns] @ _kernel(fake[picked], real[columns], settings).T / size
    covariance = np.atleast_2d(np.cov(linear - mean_real)) - rest / len(picked)
    first = 4 * (shared_fake * covariance).sum() / (subsets * size) ** 2
    pairs = (shared_fake * (shared_fake - 1)).sum() / (subsets * size * (size - 1)) ** 2
    return math.sqrt(max(first, 0) + 2 * rest * pairs)


def kernel_limit(fake: Array, real: Array, settings: KidSettings) -> tuple[float, float]:
    """Return the scatter of a perfect generator's kernel distance about 0, and what it exceeds once in a hundred times.

    The distance is Σ W_ij k(i, j) over pairs of both sets' images, W the weights that the subsets give. With few
    images, the limit is that of the images at hand with their labels exchanged; else that of a gamma distribution
    with the variance and the third cumulant that the real images' kernel and W make.

    Args:
        fake: features of the generated images, (N, d).
        real: of the real ones, (M, d).
        settings: those of the distance.
    """
    size, subsets = settings.subset_size, settings.subsets
    held = [
        _held_by(rows, len(s)) for rows, s in zip(_subsets(len(fake), len(real), settings), (fake, real), strict=True)
    ]
    sets, zeros = np.eye(subsets) / subsets, [np.zeros_like(each) for each in held]
    members = np.block([[held[0], zeros[1]], [zeros[0], held[1]]])  # (2 S, N + M)
    within, between = sets / (size * (size - 1)), -sets / size**2
    mixed = np.block([[within, between], [between, within]])
    own = (held[0].sum(0) / (subsets * size * (size - 1)), held[1].sum(0) / (subsets * size * (size - 1)))
    diagonal = np.concatenate(own)  # of W = members.T @ mixed @ members, which has no place in the sum
    steps = mixed @ (members @ members.T)
    squares = np.einsum("ij,ji->", steps, steps) - (diagonal**2).sum()
    twice = ((steps @ mixed @ members) * members).sum(0)
    triangles = np.einsum("ij,ji->", steps @ steps, steps) - 3 * (diagonal * twice).sum() + 2 * (diagonal**3).sum()
    some = np.sort(stream(settings.seed, "kid", "floor").permutation(len(real))[:_KERNEL_ROWS])
    kernel = moments(_kernel(real[some], real[some], settings))
    variance = 2 * kernel.square * float(squares)
    if len(fake) + len(real) > _EXCHANGED:
        return math.sqrt(variance), upper_limit(0.0, variance, 8 * kernel.triangle * float(triangles))
    weights = members.T @ mixed @ members - np.diag(diagonal)
    both = np.concatenate([fake, real])
    drawn = _exchanged(weights, _kernel(both, both, settings), settings.seed)
    return math.sqrt(variance), float(np.quantile(drawn, 1 - ALARM))


def _exchanged(weights: Array, kernel: Array, seed: int) -> Array:
    """Return the distances of the images with their labels exchanged, float64 (exchanges,)."""
    numbers, found = stream(seed, "kid", "exchanges"), np.empty(_EXCHANGES)
    for draw in range(_EXCHANGES):
        order = numbers.permutation(len(kernel))
        found[draw] = np.vdot(weights, kernel[np.ix_(order, order)])
    return found


def _subsets(fakes: int, reals: int, settings: KidSettings) -> tuple[list[Array], list[Array]]:
    """Return the rows of each subset of both sets, as torch-fidelity draws them."""
    numbers = np.random.RandomState(settings.seed)
    drawn = [
        [numbers.choice(count, settings.subset_size, replace=False) for count in (fakes, reals)]
        for _ in range(settings.subsets)
    ]
    return [pair[0] for pair in drawn], [pair[1] for pair in drawn]


def _held_by(rows: list[Array], count: int) -> Array:
    """Return which subset holds which image, float64 (subsets, count) of 0 and 1."""
    held = np.zeros((len(rows), count))
    for subset, its in zip(held, rows, strict=True):
        subset[its] = 1
    return held


def _kernel(a: Array, b: Array, settings: KidSettings) -> Array:
    gamma = 1 / a.shape[1] if settings.gamma is None else settings.gamma
    found: Array = ((a @ b.T).astype(np.float64) * gamma + settings.coef0) ** settings.degree
    return found
