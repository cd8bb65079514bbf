"""How far an SWD would move with other images, and what a perfect generator would get: by resampling.

The distance along a line is ∫ |F − G|, F and G the shares of both sets below each point. Images are dealt into groups;
each has its own share at the points of a grid. How the share of the whole set moves when other images stand in for
these is a random sum of the groups' deviations, so that thousands of resamplings are one matrix product and nothing is
sorted again. One draw of the random weights serves all directions and levels, which so move together as they do.

Normalisation moves too: other images have another mean and deviation of every channel, which shifts and stretches the
line. To first order each group has its part in that, and it is in its deviation.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.metrics.swd.phases import timed
from pgtools.metrics.swd.projection import Normalised, project
from pgtools.runtime.seeds import stream
from pgtools.runtime.workers import cpu_count

Array = NDArray[np.float64]
DIRECTIONS = 64
GROUPS = 512
# Points of the grid are at these shares of both sets together: closer in the tails.
_TAILS = np.array([0.0003, 0.001, 0.003])
_SHARES = np.concatenate((_TAILS, np.linspace(0.008, 0.992, 122), 1 - _TAILS[::-1]))
_SAMPLE, _ROWS_FOR_PARTS = 1 << 15, 1 << 15


@dataclass(frozen=True)
class Replicates:
    """Distances of resampled sets, all × 1, float64 (R,) each.

    Attributes:
        fake: with other generated images, the real ones as they are.
        both: with other images in both sets.
        floor: of two sets of real images.
        measured: the distance itself, along the same directions and on the same grid.
    """

    fake: Array
    both: Array
    floor: Array
    measured: float


@dataclass(frozen=True)
class Images:
    """The descriptors of a set at a level, and how they belong to images.

    Attributes:
        descriptors: of all images, one after the other, equally many each.
        sums: of each image's descriptors by channel, and of their squares, float64 (N, 2, C).
    """

    descriptors: Normalised
    sums: Array


def draw_weights(replicates: int, groups: int, seed: int) -> tuple[Array, Array, Array]:
    """Return what the groups' deviations are summed with, float64 (replicates, groups), for three independent sets."""
    drawn = stream(seed, "swd", "scatter").standard_normal((3, replicates, groups))
    a, b, c = drawn / np.sqrt(groups * (groups - 1))
    return a, b, c


def deal(images: int, seed: int) -> NDArray[np.int64]:
    """Return the group of each image, int64 (images,): as many groups as images, at most 512, equally large."""
    groups = min(images, GROUPS)
    return stream(seed, "swd", "groups").permutation(images) % groups


def resample(
    real: Images,
    fake: Images,
    directions: Array,
    groups: NDArray[np.int64],
    weights: tuple[Array, Array, Array],
    device: torch.device,
) -> Replicates:
    """Return the distances of resampled sets at one level.

    Args:
        real: two images or more.
        fake: as many.
        directions: float64 (k, d); the first 64 are used.
        groups: of the images of each set, from `deal`.
        weights: from `draw_weights`.
        device: where descriptors are projected.
    """
    some = directions[:DIRECTIONS]
    sides = [_Side(images, some, groups, device) for images in (real, fake)]
    threads = cpu_count()

    def along(i: int) -> tuple[Array, Array, Array]:
        with timed("scatter", threads):
            edges = _grid(sides[0].lines[i], sides[1].lines[i])
            widths = (edges[2:] - edges[:-2]) / 2
            (f, moves_f), (g, moves_g) = (side.along(i, edges) for side in sides)
            return (f - g) * widths, moves_f * widths, moves_g * widths

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(along, range(len(some))))
    with timed("scatter"):
        gap, by_real, by_fake = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
        of_real, of_other, of_fake = weights[0] @ by_real, weights[1] @ by_real, weights[2] @ by_fake
        count = len(some)
        kept = _without_chance(gap, by_fake)
        others, floor = np.abs(kept - of_fake).sum(1), np.abs(of_real - of_other).sum(1)
        return Replicates(
            fake=_narrowed(others, _variance_by_chance(by_fake, kept, sets=1)) / count,
            both=np.abs(gap + of_real - of_fake).sum(1) / count,
            floor=_narrowed(floor, _variance_by_chance(by_real, np.zeros_like(gap), sets=2)) / count,
            measured=float(np.abs(gap).sum() / count),
        )


def _without_chance(gap: Array, moves: Array) -> Array:
    """Return the gap made smaller by what the choice of the generated images adds to it.

    Else that chance would count twice, in the gap and in what it is resampled with, and the error would be too large
    where the sets are alike.
    """
    by_chance = np.square(moves).sum() / (len(moves) * (len(moves) - 1))
    kept: Array = gap * np.sqrt(max(0.0, 1 - by_chance / max(float(np.square(gap).sum()), 1e-300)))
    return kept


def _variance_by_chance(moves: Array, gap: Array, *, sets: int) -> float:
    """Return what correlations that are there by chance add to the variance of Σ |gap + B|.

    B is Gaussian with the covariance C of the groups' moves. Beyond what is linear in B, two points with standard
    deviations σ, σ' add C²/2 · f''(gap) · f''(gap') with f(g) = E|g + σZ|, so f'' = 2φ(g/σ)/σ. Estimated from J groups,
    C² is too large by the variance of the estimate, the mean of the groups' products squared, divided by J.

    Args:
        moves: (J, M).
        gap: (M,).
        sets: how many independent sets B is of.
    """
    groups = len(moves)
    sigma = np.sqrt(sets * np.square(moves).sum(0) / (groups * (groups - 1)))
    scaled = np.divide(gap, sigma, out=np.full_like(gap, np.inf), where=sigma > 0)
    bend = np.divide(
        np.exp(-np.square(scaled) / 2) * np.sqrt(2 / np.pi), sigma, out=np.zeros_like(gap), where=sigma > 0
    )
    energy = np.square(moves) @ bend
    return float(sets**2 * np.square(energy).mean() / (2 * groups**3))


def _narrowed(replicates: Array, by_chance: float) -> Array:
    """Return replicates drawn towards their mean, so that they have so much less variance; by half at most."""
    mean, variance = replicates.mean(), replicates.var(ddof=1)
    kept = np.sqrt(max(1 - by_chance / variance, 0.25)) if variance > 0 else 1.0
    narrowed: Array = mean + (replicates - mean) * kept
    return narrowed


def _grid(a: NDArray[np.float32], b: NDArray[np.float32]) -> Array:
    """Return the points of the grid, between the lowest and the highest value of both lines, float64 (M + 2,)."""
    every = max(1, 2 * len(a) // _SAMPLE)
    points = np.quantile(np.concatenate((a[::every], b[::every])), _SHARES)
    ends = min(a.min(), b.min()), max(a.max(), b.max())
    return np.concatenate((ends[:1], points, ends[1:])).astype(np.float64)


class _Side:
    """One set: its lines, and its groups."""

    def __init__(self, images: Images, directions: Array, groups: NDArray[np.int64], device: torch.device) -> None:
        descriptors = images.descriptors
        self.lines = project(descriptors, directions, device).cpu().numpy()
        each = len(descriptors.rows) // len(groups)
        self.group, self.groups = np.repeat(groups, each), int(groups.max()) + 1
        self.sizes = np.bincount(groups, minlength=self.groups) / len(groups) * self.groups  # 1 where all are equal
        numbers = each * descriptors.rows.shape[1] // descriptors.channels
        sums = np.stack([np.bincount(groups, column) for column in images.sums.reshape(len(groups), -1).T], 1)
        in_group = np.bincount(groups)[:, None] * numbers
        mean, square = np.split(sums / in_group, 2, axis=1)  # (groups, C)
        m, s = descriptors.mean, descriptors.deviation
        self.shift = (mean - m) / s
        self.stretch = ((square - 2 * m * mean + m**2) / s**2 - 1) / 2
        self.reach = directions.reshape(len(directions), descriptors.channels, -1).sum(2)  # (k, C)
        self._rows = np.linspace(0, len(descriptors.rows) - 1, min(_ROWS_FOR_PARTS, len(descriptors.rows))).astype(int)
        few = descriptors.normalise(descriptors.rows[self._rows]).reshape(len(self._rows), descriptors.channels, -1)
        split = directions.reshape(len(directions), descriptors.channels, -1).astype(np.float32)
        self.by_channel = np.einsum("ncp,kcp->kcn", few, split, optimize=True)

    def along(self, i: int, edges: Array) -> tuple[Array, Array]:
        """Return the share below each inner edge (M,), and each group's deviation from it (groups, M)."""
        cells, line = len(edges) - 1, self.lines[i]
        cell = np.searchsorted(edges[1:-1], line)
        held = np.bincount(self.group * cells + cell, minlength=self.groups * cells).reshape(self.groups, cells)
        below = np.cumsum(held, axis=1)[:, :-1] / held.sum(1, keepdims=True)
        share = np.cumsum(held.sum(0))[:-1] / len(line)
        # Where many values are equal, edges coincide; there is no density to speak of, and no width to weigh it with.
        reach = edges[2:] - edges[:-2]
        per_reach = np.divide(1, reach, out=np.zeros_like(reach), where=reach > 0)
        total = held.sum(0)
        density = (total[1:] + total[:-1]) / len(line) * per_reach
        cell_of_few = cell[self._rows]
        moves = (below - share) + (self.shift @ self.reach[i])[:, None] * density
        for channel, part in enumerate(self.by_channel[i]):
            weighed = np.bincount(cell_of_few, weights=part, minlength=cells)
            leverage = (weighed[1:] + weighed[:-1]) / len(part) * per_reach
            moves += self.stretch[:, channel, None] * leverage
        return share, moves * self.sizes[:, None]
