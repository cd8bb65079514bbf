"""Which images make pairs, and how sure the mean over them is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.seeds import stream

MOST_PAIRS = 10_000
# Scores of two or three images have no mean whose scatter they could show.
FEWEST_IMAGES = 4
# Two equations are one if their determinant is smaller than this beside their terms.
SINGULAR = 1e-9
Floats = NDArray[np.float64]


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
        raise InputError(f"Found {images} image; a pair takes two.", hint="Name a set of more images.")
    if pairs < 1:
        raise InputError(f"{pairs} pairs of images; expected 1 or more.")
    shuffles = -(-pairs // (images // 2))
    numbers = stream(seed, "msssim", "pairs")
    drawn = [numbers.permutation(images)[: images // 2 * 2].reshape(-1, 2) for _ in range(shuffles)]
    return np.concatenate(drawn)[:pairs]


def standard_error(scores: NDArray[np.float64], pairs: NDArray[np.int64]) -> float | None:
    """Return the standard error of the mean score over other images, for images that may stand in several pairs.

    A score is taken apart as mean + image's part + image's part + pair's part, all uncorrelated, which holds of any
    symmetric score (Hoeffding 1948). The variances of both kinds of parts follow from two sums of squares, of the
    scores' deviations and of each image's sum of them, whose expectations are known for the pairs at hand; so that of
    the mean is right on average however few the images are, but for variances found below 0, which count as 0.
    Without shared images it is the usual standard error, s / √P.

    Args:
        scores: float64 (P,).
        pairs: int64 (P, 2), what they are scores of.

    Returns:
        None where nothing can be said: of one pair, and of fewer than four images that share pairs.
    """
    if len(scores) < 2:
        return None
    deviations = scores - scores.mean()
    squares = float(np.square(deviations).sum())
    images, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    if len(images) == pairs.size:
        return float(np.sqrt(squares / (len(scores) * (len(scores) - 1))))
    if len(images) < FEWEST_IMAGES:
        return None
    sums = np.bincount(places.ravel(), weights=deviations.repeat(2))
    expected, wanted = _expectations(places)
    parts = _parts(expected, np.array([squares, float(np.square(sums).sum())]))
    return float(np.sqrt(wanted @ parts))


def _expectations(pairs: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return what images' and pairs' variances, one column each, add to sums of squares and to the mean's variance.

    Returns:
        (2, 2): a row for the sum of squares of the deviations, and for that of the images' sums of them. (2,): of the
        mean.
    """
    count = len(pairs)
    different, times = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
    degrees = np.bincount(pairs.ravel()).astype(np.float64)
    # Of each image: the squares of how often its pairs occur, and its partners' degrees.
    repeats = np.bincount(different.ravel(), weights=np.square(times).repeat(2).astype(np.float64))
    partners = np.bincount(pairs.ravel(), weights=degrees[pairs[:, ::-1]].ravel())
    mean = np.array([np.square(degrees).sum(), np.square(times).sum()]) / count**2
    of_scores = count * (np.array([2.0, 1.0]) - mean)
    alone = np.array([np.sum(degrees**2 + repeats), repeats.sum()])
    with_mean = np.array([degrees @ (degrees**2 + partners), degrees @ repeats]) / count
    of_images = alone - 2 * with_mean + np.square(degrees).sum() * mean
    return np.stack([of_scores, of_images]), mean


def _parts(expected: Floats, found: Floats) -> Floats:
    """Return the variances of images' and of pairs' parts, none below 0, from two sums of squares.

    Where the pairs cannot tell the two apart, the images are blamed, which gives the larger error.
    """
    if abs(np.linalg.det(expected)) > SINGULAR * expected[0].max() * expected[1].max():
        parts: Floats = np.linalg.solve(expected, found).astype(np.float64)
        if parts[0] < 0:
            return np.array([0.0, found[0] / expected[0, 1]])
        if parts[1] >= 0:
            return parts
    return np.array([found[0] / expected[0, 0], 0.0])
