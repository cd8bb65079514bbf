"""How far a figure would scatter if as many other images were generated, the real images and the seed as they are.

Each metric has the way that fits it, checked against the scatter of fresh draws (tests/metrics/inception):

- Inception Score: bootstrap of the images of each split.
- FID: its first-order change with a generated image, the quadratic Kantorovich potential (I − T), T the optimal
  transport map from the generated Gaussian to the real one. A bootstrap of 2048² covariances would take minutes.
- KID: variance of the average of overlapping subsets' U-statistics, by Hoeffding's decomposition.
- Precision: the binomial. Recall and F1: the scatter over random halves of the generated images. A half varies about
  the whole just as the whole does about other wholes; a bootstrap's repeated images would shrink every ball.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.metrics.inception.manifold import Cover, Membership, Neighbours
from pgtools.metrics.inception.scores import Statistics
from pgtools.metrics.settings import InceptionSettings, KidSettings
from pgtools.runtime.seeds import stream

Array = NDArray[Any]
# Neighbours listed of each generated image. Of so many, fewer than three fall into a half once in 10^7 times.
WIDE = 32
# Standard errors to either side that hold 95 of 100 normal draws.
Z95 = 1.959963984540054
_ROWS = 4096
# Images that the kernel's moments are estimated from: their own error is then a few hundredths.
_KERNEL_ROWS = 4000


@dataclass(frozen=True)
class Error:
    """A standard error, and the 95 % interval.

    Attributes:
        spread: the standard error.
        low: end of the interval.
        high: the other end.
    """

    spread: float
    low: float
    high: float


def normal_error(value: float, spread: float) -> Error:
    """Return the interval of a figure that scatters normally."""
    return Error(spread, value - Z95 * spread, value + Z95 * spread)


def drawn_error(value: float, draws: Array) -> Error:
    """Return standard error and interval from draws of a figure.

    Draws repeat images or leave some out, which moves their mean off the figure; they are shifted back onto it.
    """
    low, high = np.quantile(draws, (0.025, 0.975)) - draws.mean() + value
    return Error(float(draws.std(ddof=1)), float(low), float(high))


def inception_score_draws(logits: Array, settings: InceptionSettings) -> Array:
    """Return bootstrapped Inception Scores, float64 (bootstrap,): each split's images are drawn anew with repetition.

    Args:
        logits: float32 (N, classes), N ≥ splits.
        settings: splits, shuffle, seed, and how many draws.
    """
    count, scores = len(logits), np.zeros(settings.bootstrap)
    order = np.random.RandomState(settings.seed).permutation(count) if settings.shuffle else np.arange(count)
    for split in range(settings.splits):
        rows = order[split * count // settings.splits : (split + 1) * count // settings.splits]
        log_p = torch.from_numpy(logits[rows]).double().log_softmax(dim=1).numpy()
        p = np.exp(log_p)
        numbers = stream(settings.seed, "inception-score", "bootstrap", split)
        shares = numbers.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), settings.bootstrap) / len(rows)
        q = shares @ p  # (bootstrap, classes)
        entropies = -(q * np.log(q, out=np.zeros_like(q), where=q > 0)).sum(1)
        scores += np.exp(shares @ (p * log_p).sum(1) + entropies)
    return scores / settings.splits


def root(sigma: Array) -> Array:
    """Return the symmetric square root of a covariance (d, d)."""
    values, vectors = np.linalg.eigh(sigma)
    found: Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return found


def frechet_error(features: Array, own: Statistics, real: Statistics, real_root: Array) -> float:
    """Return the standard error of a Fréchet distance over its generated images.

    Where images are fewer than features, the map is known on their span only (pseudo-inverse); the error still holds.
    It is never far too small, and up to a fifth too large where the sets are nearly equal.

    Args:
        features: of the generated images, (N, d), N ≥ 2.
        own: their statistics.
        real: those of the real images.
        real_root: `root` of the real covariance.
    """
    values, vectors = np.linalg.eigh(real_root @ own.sigma @ real_root)
    kept = values > values.max(initial=0) * 1e-10
    # T = B Bᵀ = Σ1^½ (Σ1^½ Σ2 Σ1^½)^−½ Σ1^½
    b = (real_root @ vectors[:, kept]) * values[kept] ** -0.25
    mean, shift = own.mu.astype(np.float64), own.mu.astype(np.float64) - real.mu
    changes = np.empty(len(features))
    for start in range(0, len(features), _ROWS):
        away = features[start : start + _ROWS] - mean
        changes[start : start + _ROWS] = 2 * away @ shift + (away**2).sum(1) - ((away @ b) ** 2).sum(1)
    return float(changes.std(ddof=1) / math.sqrt(len(features)))


def frechet_floor(real: Array, real_stats: Statistics, images: int, seed: int) -> float | None:
    """Return the Fréchet distance that a perfect generator would get on average from so many images.

    Two halves of the real images are compared; the distance between sets of N and M images of one kind goes as
    1/N + 1/M. That holds from about as many images as features on, so None is returned for fewer.

    Args:
        real: features of the real images, (M, d).
        real_stats: their statistics.
        images: N, of the generated images.
        seed: names the halves.
    """
    count, width = real.shape
    if min(count // 2, images) < width:
        return None
    order = stream(seed, "fid", "floor").permutation(count)
    first, second = (real[np.sort(half)].astype(np.float64) for half in (order[: count // 2], order[count // 2 :]))
    sigmas = [np.cov(half, rowvar=False) for half in (first, second)]
    side = root(sigmas[0])
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(side @ sigmas[1] @ side), 0)).sum()
    shift = first.mean(0) - second.mean(0)
    halves = shift @ shift + np.trace(sigmas[0]) + np.trace(sigmas[1]) - 2 * crossed
    return float(halves * (1 / images + 1 / count) / (1 / len(first) + 1 / len(second)))


def kernel_errors(fake: Array, real: Array, settings: KidSettings) -> tuple[float, float]:
    """Return the standard error of a kernel distance over its generated images, and a perfect generator's scatter.

    The distance is the mean over subsets that overlap. With the kernel parted into k(y, y') = κ + g(y) + g(y') + rest,
    its variance over y is that of the linear terms, each weighted by the subsets it is in, plus that of the rests,
    each weighted by the subsets that hold both. For a perfect generator, only rests are left: of generated
    images, of real ones, and between them.

    Args:
        fake: features of the generated images, (N, d).
        real: of the real ones, (M, d).
        settings: those of the distance.
    """
    size, subsets = settings.subset_size, settings.subsets
    chosen = _subsets(len(fake), len(real), settings)
    of_fake, of_real = (_held_by(rows, count) for rows, count in zip(chosen, (len(fake), len(real)), strict=True))
    shared_fake, shared_real = of_fake @ of_fake.T, of_real @ of_real.T  # (S, S)
    picked = np.sort(stream(settings.seed, "kid", "errors").permutation(len(fake))[:_KERNEL_ROWS])
    linear, rest = _moments(_kernel(fake[picked], fake[picked], settings))
    mean_real = np.zeros((subsets, len(picked)))
    for start in range(0, len(real), _ROWS):
        columns = slice(start, start + _ROWS)
        mean_real += of_real[:, columns] @ _kernel(fake[picked], real[columns], settings).T / size
    covariance = np.atleast_2d(np.cov(linear - mean_real)) - rest / len(picked)
    first = 4 * (shared_fake * covariance).sum() / (subsets * size) ** 2
    pairs = (shared_fake * (shared_fake - 1)).sum() / (subsets * size * (size - 1)) ** 2
    some = np.sort(stream(settings.seed, "kid", "floor").permutation(len(real))[:_KERNEL_ROWS])
    _, rest_real = _moments(_kernel(real[some], real[some], settings))
    pairs_real = (shared_real * (shared_real - 1)).sum() / (subsets * size * (size - 1)) ** 2
    crossed = (shared_fake * shared_real).sum() / (subsets * size**2) ** 2
    perfect = rest_real * (2 * pairs + 2 * pairs_real + 4 * crossed)
    return math.sqrt(max(first, 0) + 2 * rest * pairs), math.sqrt(perfect)


def recall_draws(found: Membership, neighbourhood: int, count: int, seed: int) -> tuple[Array, Array]:
    """Return precision and recall of random halves of the generated images, float64 (count,) each.

    Args:
        found: of the whole sets, with neighbours and cover.
        neighbourhood: which neighbour a ball reaches to.
        count: of the draws.
        seed: names the halves.
    """
    neighbours, cover = found.neighbours, found.cover
    if neighbours is None or cover is None:
        raise ValueError("membership was found without the lists that draws take")
    precision, recall = np.empty(count), np.empty(count)
    images = len(found.fake_inside)
    for draw in range(count):
        half = np.zeros(images, bool)
        half[stream(seed, "precision-recall", "halves", draw).permutation(images)[: images // 2]] = True
        precision[draw] = found.fake_inside[half].mean()
        recall[draw] = _reached(neighbours, cover, half, neighbourhood) / len(found.real_inside)
    return precision, recall


def binomial_error(inside: Array) -> Error:
    """Return standard error and interval of a share, not 0 for shares of 0 and 1 (Agresti and Coull 1998)."""
    count = len(inside) + Z95**2
    middle = (inside.sum() + Z95**2 / 2) / count
    spread = math.sqrt(middle * (1 - middle) / count)
    return Error(spread, max(0.0, middle - Z95 * spread), min(1.0, middle + Z95 * spread))


def _reached(neighbours: Neighbours, cover: Cover, half: Array, neighbourhood: int) -> int:
    """Return how many real images are in a ball of the half, whose balls reach to neighbours of the half."""
    before = np.zeros((len(half), neighbours.indices.shape[1] + 1), np.uint8)  # neighbours of the half so far
    np.cumsum(half[neighbours.indices], axis=1, out=before[:, 1:])
    covered = half[cover.fake] & (before[cover.fake, cover.nearer] < neighbourhood)
    return len(np.unique(cover.real[covered]))


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


def _moments(kernel: Array) -> tuple[Array, float]:
    """Return the mean kernel of each image with the others, (n,), and the variance of what means do not explain."""
    count = len(kernel)
    off = kernel - np.diag(np.diag(kernel))
    means = off.sum(1) / (count - 1)
    # Two-way layout without diagonal: effects of rows and columns are taken out, then degrees of freedom told.
    effects = (means - means.mean()) * (count - 1) / (count - 2)
    rest = off - means.mean() - effects[:, None] - effects[None, :]
    np.fill_diagonal(rest, 0)
    return means, float((rest**2).sum() / max(count * (count - 3), 1))
