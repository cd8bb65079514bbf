"""Which images make pairs, and how sure the mean over them is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.seeds import stream

MOST_PAIRS = 10_000


def usual_pairs(images: int) -> int:
    """Return how many pairs are measured if nobody says: no image twice, and no more than the paper's."""
    return min(images // 2, MOST_PAIRS)


def draw_pairs(images: int, pairs: int, seed: int) -> NDArray[np.int64]:
    """Return index pairs, int64 (pairs, 2).

    The images are shuffled by the seed and paired (0, 1), (2, 3), …; when they are used up, they are shuffled
    again. So the first images // 2 pairs share no image, and no pair is of an image with itself.

    Raises:
        InputError: fewer than two images, or than one pair.
    """
    if images < 2:
        raise InputError(f"Found {images} image; a pair takes two.")
    if pairs < 1:
        raise InputError(f"{pairs} pairs of images; expected 1 or more.")
    shuffles = -(-pairs // (images // 2))
    numbers = stream(seed, "msssim", "pairs")
    drawn = [numbers.permutation(images)[: images // 2 * 2].reshape(-1, 2) for _ in range(shuffles)]
    return np.concatenate(drawn)[:pairs]


def standard_error(scores: NDArray[np.float64], pairs: NDArray[np.int64]) -> float:
    """Return the standard error of the mean score, for images that may stand in several pairs.

    Two pairs with an image in common are not independent: their products of deviations count too. Without
    shared images this is the usual standard error, s / √P, below which it is never put.

    Args:
        scores: float64 (P,), two or more.
        pairs: int64 (P, 2), what they are scores of.

    Source: Aronow, Samii and Assenova 2015, "Cluster-robust variance estimation for dyadic data".
    """
    deviations = scores - scores.mean()
    by_image = np.bincount(pairs.ravel(), weights=deviations.repeat(2))
    own = np.square(deviations).sum()
    # The square of an image's sum holds every product of its pairs; a pair's own square is in two of them.
    shared = np.square(by_image).sum() - own
    return float(np.sqrt(max(own, shared) / (len(scores) * (len(scores) - 1))))
