"""How far a figure would scatter if as many other images were generated, the real images and the seed as they are.

Each metric has the way that fits it, checked against the scatter of fresh draws (tests/metrics/inception):

- Inception Score: bootstrap of the images of each split.
- FID: its first-order change with a generated image, the quadratic Kantorovich potential (I − T), T the optimal
  transport map from the generated Gaussian to the real one. A bootstrap of 2048² covariances would take minutes.
- KID: variance of the average of overlapping subsets' U-statistics, by Hoeffding's decomposition (`kernels`).
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
from pgtools.metrics.settings import InceptionSettings
from pgtools.runtime.seeds import stream

Array = NDArray[Any]
# Neighbours listed of each generated image. Of so many, fewer than three fall into a half once in 10^7 times.
WIDE = 32
# Standard errors to either side that hold 95 of 100 normal draws.
Z95 = 1.959963984540054
_ROWS = 4096


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

    Where images are fewer than features, the map is known on their span only (pseudo-inverse). The error is not too
    small; where the sets are nearly equal, the map's own error adds to it, and it is up to twice too large with 1 to 2
    images a feature, 1.7 times with 2 to 8, and right within a fifth from 16 on.

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
    # Neighbours of the half so far. They can be thousands: --neighbourhood has no upper limit.
    before = np.zeros((len(half), neighbours.indices.shape[1] + 1), np.int32)
    np.cumsum(half[neighbours.indices], axis=1, out=before[:, 1:])
    covered = half[cover.fake] & (before[cover.fake, cover.nearer] < neighbourhood)
    return len(np.unique(cover.real[covered]))
