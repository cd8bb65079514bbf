"""What a perfect generator would get, and the limit it passes once in a hundred times: of FID and KID.

Two sets of one kind differ by chance alone. To second order both distances are then quadratic in the difference of the
empirical distributions, hence known by a kernel k on pairs of images that averages to 0 over either of them. For KID it
is the metric's own, centred. For FID, with the features turned to the covariance's axes, of variances λ:

    k(x, y) = x·y + ½ Σ_ij (x_i x_j − δ_ij λ_i) (y_i y_j − δ_ij λ_i) / (λ_i + λ_j)

The sum over i, j takes 1 / (λ_i + λ_j) = ∫ exp(−t λ_i) exp(−t λ_j) dt, which leaves squares of products of matrices.
Mean, variance and third cumulant give a gamma distribution (Pearson III): right-skewed, as the distances are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.metrics.inception.scores import Statistics, feature_statistics, frechet_distance
from pgtools.runtime.seeds import stream

Array = NDArray[Any]
# A perfect generator is called different from the real images once in a hundred times, as by every metric.
ALARM = 0.01
# Normal deviate that one in a hundred exceeds.
_Z99 = 2.3263478740408408
# The Fréchet floor takes so many images a feature, on both sides: with fewer the second order is not enough.
ENOUGH = 2
# Images for the kernel's pairs, and for its diagonal.
_PAIRS, _SINGLES, _ROWS = 1000, 10_000, 2048
# Below this share of the largest variance, a direction is rounding.
_FLAT = 1e-9


@dataclass(frozen=True)
class Kernel:
    """Moments of a kernel centred over the images, so that its mean over either is 0.

    Attributes:
        means: mean of each image's kernel with the others, not centred, (n,).
        diagonal: k(x, x) of some images, (n,).
        square: mean of k(x, y)² over pairs.
        triangle: mean of k(x, y) k(y, z) k(z, x) over triples.
    """

    means: Array
    diagonal: Array
    square: float
    triangle: float


@dataclass(frozen=True)
class Axes:
    """The axes of a covariance that are not flat.

    Attributes:
        values: variances, all above 0, (r,).
        vectors: (d, r).
    """

    values: Array
    vectors: Array


@dataclass(frozen=True)
class FrechetFloor:
    """What a perfect generator's Fréchet distance is, and what it exceeds once in a hundred times.

    Attributes:
        mean: on average.
        spread: its standard deviation, other real images too.
        limit: once in a hundred times it is higher.
    """

    mean: float
    spread: float
    limit: float


def upper_limit(mean: float, variance: float, third: float) -> float:
    """Return what one of `1 / ALARM` draws exceeds, of a gamma distribution with these cumulants.

    Source: Wilson and Hilferty 1931.
    """
    spread = math.sqrt(max(variance, 0.0))
    skew = third / spread**3 if spread > 0 else 0.0
    if skew < 1e-6:
        return mean + _Z99 * spread
    return mean + spread * 2 / skew * (max(0.0, 1 + skew * _Z99 / 6 - skew**2 / 36) ** 3 - 1)


def moments(table: Array, diagonal: Array | None = None) -> Kernel:
    """Return the moments of a kernel.

    Args:
        table: k(x, y) of n ≥ 4 images, (n, n), centred or not.
        diagonal: k(x, x) of more images, centred; that of the table if not given.
    """
    count = len(table)
    off = table - np.diag(np.diag(table))
    means = off.sum(1) / (count - 1)
    # Two-way layout without diagonal: effects of rows and columns are taken out, then degrees of freedom told.
    effects = (means - means.mean()) * (count - 1) / (count - 2)
    rest = off - means.mean() - effects[:, None] - effects[None, :]
    np.fill_diagonal(rest, 0)
    pairs = max(count * (count - 3), 1)
    own = np.diag(table) - means.mean() - 2 * effects if diagonal is None else diagonal
    return Kernel(
        means,
        own,
        float((rest**2).sum() / pairs),
        max(0.0, float(np.einsum("ij,ji->", rest @ rest, rest) / (pairs * max(count - 4, 1)))),
    )


def axes_of(sigma: Array) -> Axes:
    """Return the axes of a covariance (d, d), those of rounding left out."""
    values, axes = np.linalg.eigh(sigma)
    kept = values > max(values.max(initial=0.0) * _FLAT, np.finfo(np.float64).tiny)
    return Axes(values[kept], axes[:, kept])


def frechet_kernel(real: Array, stats: Statistics, axes: Axes, seed: int) -> Kernel:
    """Return the moments of the Fréchet distance's kernel.

    Args:
        real: features of the real images, (M, d).
        stats: their statistics.
        axes: those of their covariance.
        seed: names the images looked at.
    """
    order = stream(seed, "fid", "kernel").permutation(len(real))
    mean, values = np.asarray(stats.mu, np.float64), axes.values
    some = (real[np.sort(order[:_PAIRS])] - mean) @ axes.vectors
    table = some @ some.T
    if not len(values):
        return moments(table)
    halves = 1 / (values[:, None] + values[None, :])
    for node in np.arange(-math.log(values.max()) - 9, -math.log(values.min()) + 3.5):
        # Trapezoids over the logarithm of t, one apart: exact to 4e-4, as the integrand is a gamma function's.
        table += 0.5 * math.exp(node) * ((some * np.exp(-math.exp(node) * values)) @ some.T) ** 2
    diagonal = []
    picked = np.sort(order[:_SINGLES])
    for start in range(0, len(picked), _ROWS):
        away = ((real[picked[start : start + _ROWS]] - mean) @ axes.vectors) ** 2
        # Centring takes Σ_ij δ_ij … = x_i² / 2 twice, and adds λ_i / 4 once.
        diagonal.append(away.sum(1) + 0.5 * ((away @ halves) * away).sum(1) - away.sum(1) / 2 + values.sum() / 4)
    return moments(table, np.concatenate(diagonal))


def frechet_floor(real: Array, axes: Axes, kernel: Kernel, images: int, seed: int) -> FrechetFloor | None:
    """Return what a perfect generator would get, or None where images are too few for their features.

    The kernel's mean is what the distance would be to second order. How much more it is, is measured once: on the real
    images, parted in two so that the smaller part is as large as the generated set where they reach.

    Args:
        real: features of the real images, (M, d).
        axes: those of their covariance.
        kernel: of `frechet_kernel`.
        images: N, of the generated images.
        seed: names the parts.
    """
    count, width = real.shape
    if not enough(images, count, width):
        return None
    first = min(images, count // 2)
    order = stream(seed, "fid", "floor").permutation(count)
    some, others = (real[np.sort(part)] for part in (order[:first], order[first:]))
    expected = second_order(some, others, axes)
    found = frechet_distance(feature_statistics(some), feature_statistics(others))
    higher = found / expected if expected > 0 else 1.0
    both = 1 / images + 1 / count
    each = float(kernel.diagonal.var(ddof=1))
    mean = float(kernel.diagonal.mean()) * both
    variance = (2 * kernel.square + each / len(kernel.diagonal)) * both**2 + each * (1 / images**3 + 1 / count**3)
    third = 8 * kernel.triangle * both**3
    third += float(((kernel.diagonal - kernel.diagonal.mean()) ** 3).mean()) * (1 / images**5 + 1 / count**5)
    limit = upper_limit(mean, variance, third)
    return FrechetFloor(higher * mean, higher * math.sqrt(variance), higher * limit)


def enough(images: int, count: int, width: int) -> bool:
    """Return whether a floor is told of `images` generated and `count` real images of `width` features."""
    return min(images, count // 2) >= ENOUGH * width


def second_order(first: Array, second: Array, axes: Axes) -> float:
    """Return the Fréchet distance of two sets to second order in their difference.

    Args:
        first: features, (N, d).
        second: features, (M, d).
        axes: of the covariance about which the distance is expanded.
    """
    shift = (first.mean(0, dtype=np.float64) - second.mean(0, dtype=np.float64)) @ axes.vectors
    apart = np.cov(first, rowvar=False) - np.cov(second, rowvar=False)
    turned = axes.vectors.T @ apart @ axes.vectors
    return float(shift @ shift + 0.5 * (turned**2 / (axes.values[:, None] + axes.values[None, :])).sum())
