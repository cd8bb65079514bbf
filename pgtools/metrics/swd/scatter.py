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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.metrics.phases import timed
from pgtools.metrics.swd.projection import Normalised, project
from pgtools.runtime.seeds import stream
from pgtools.runtime.workers import cpu_count

Array = NDArray[np.float64]
DIRECTIONS = 64
GROUPS = 512
# Points of the grid are at these shares of both sets together: closer in the tails.
_TAILS = np.array([0.0003, 0.001, 0.003])
_SHARES = np.concatenate((_TAILS, np.linspace(0.008, 0.992, 122), 1 - _TAILS[::-1]))
_STEPS = 1 << 14
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

    def along(i: int) -> tuple[NDArray[Any], ...]:
        with timed("scatter", threads):
            grid = _Grid(sides[0].lines[i], sides[1].lines[i])
            # What a point stands for in the mean of all directions' integrals.
            widths = (grid.edges[2:] - grid.edges[:-2]) / 2 / len(some)
            (f, moves_f), (g, moves_g) = (side.along(i, grid) for side in sides)
            moves = ((moved * widths).astype(np.float32) for moved in (moves_f, moves_g))
            return (f - g) * widths, *moves

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(along, range(len(some))))
    with timed("scatter"):
        gap, by_real, by_fake = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
        return _replicates(gap, by_real, by_fake, weights)


def _replicates(
    gap: Array, by_real: NDArray[np.float32], by_fake: NDArray[np.float32], weights: tuple[Array, Array, Array]
) -> Replicates:
    """Return the distances of resampled sets.

    Args:
        gap: between both shares at all points of all directions, times what a point stands for, float64 (M,).
        by_real: how each group of real images moves its share there, (groups, M).
        by_fake: the same of the generated images.
        weights: what the groups' moves are summed with.
    """
    a, b, c = (weight.astype(np.float32) for weight in weights)
    of_real, of_other, of_fake = a @ by_real, b @ by_real, c @ by_fake
    kept = _without_chance(gap, by_fake)
    others, floor = _absolute(kept - of_fake), _absolute(of_real - of_other)
    return Replicates(
        fake=_narrowed(others, _variance_by_chance(by_fake, kept, sets=1)),
        both=_absolute(gap + of_real - of_fake),
        floor=_narrowed(floor, _variance_by_chance(by_real, np.zeros_like(gap), sets=2)),
        measured=float(np.abs(gap).sum()),
    )


def _absolute(moved: NDArray[Any]) -> Array:
    sums: Array = np.abs(moved).sum(1, dtype=np.float64)
    return sums


def _without_chance(gap: Array, moves: NDArray[np.float32]) -> Array:
    """Return the gap made smaller by what the choice of the generated images adds to it.

    Else that chance would count twice, in the gap and in what it is resampled with, and the error would be too large
    where the sets are alike.
    """
    by_chance = np.square(moves).sum(dtype=np.float64) / (len(moves) * (len(moves) - 1))
    kept: Array = gap * np.sqrt(max(0.0, 1 - by_chance / max(float(np.square(gap).sum()), 1e-300)))
    return kept


def _variance_by_chance(moves: NDArray[np.float32], gap: Array, *, sets: int) -> float:
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
    sigma = np.sqrt(sets * np.square(moves).sum(0, dtype=np.float64) / (groups * (groups - 1)))
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


class _Grid:
    """Points along a line, closer where there are more values, and which two of them a value lies between.

    Attributes:
        edges: the points, with the lowest and the highest value of both lines around them, float64 (M + 2,).
    """

    def __init__(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
        every = max(1, 2 * len(a) // _SAMPLE)
        points = np.quantile(np.concatenate((a[::every], b[::every])), _SHARES)
        self._low, span = points[0], points[-1] - points[0]
        self._scale = _STEPS / span if span > 0 else 0.0
        # On a fine even grid a value's step is found by arithmetic, the points around it by a look into a table.
        steps = np.rint((points - self._low) * self._scale)
        self._between = np.searchsorted(steps, np.arange(-1, _STEPS + 1), side="right")
        inner = self._low + steps / self._scale if span > 0 else points
        ends = min(a.min(), b.min(), inner[0]), max(a.max(), b.max(), inner[-1])
        self.edges = np.concatenate((ends[:1], inner, ends[1:])).astype(np.float64)

    def between(self, line: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return which inner edges lie below each value: their number, int64 (n,)."""
        step = (line - np.float32(self._low)) * np.float32(self._scale)
        step += 1
        np.clip(step, 0, _STEPS + 1, out=step)
        found: NDArray[np.int64] = self._between.take(step.astype(np.int64), mode="clip")
        return found


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

    def along(self, i: int, grid: _Grid) -> tuple[Array, Array]:
        """Return the share below each inner edge (M,), and each group's deviation from it (groups, M)."""
        edges, line = grid.edges, self.lines[i]
        cells, cell = len(edges) - 1, grid.between(line)
        counted = torch.bincount(torch.from_numpy(self.group * cells + cell), minlength=self.groups * cells)
        held = counted.numpy().reshape(self.groups, cells)
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
