"""The Wasserstein distance of two lists of numbers: the mean gap between them once they are sorted.

On the CPU without sorting, to the same number. With F and G the counts of a and b up to a point, n times the distance
is ∫ |F − G|, and there every element stands with a weight of +1 or −1: by the sign of F − G just there. Elements are
thrown into many fine cells. Where F − G at a cell's edge is larger than what the cell holds, its sign is sure all over
the cell, and the sum of the cell's elements is all there is to know. The few cells around the zeros of F − G are
sorted. Three times as fast as sorting everything, and the sums are in float64.

On CUDA sorting is what the hardware does best.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.phases import timed
from pgtools.runtime.workers import cpu_count

Lines = NDArray[np.float32]
# Under so many values a line sorting is as fast.
_FEWEST = 1 << 11
_VALUES_A_CELL, _MOST_CELLS = 16, 1 << 16
_SAMPLE = 1 << 10
# What lies further out than all but this part of a sample is sorted: cells are for where the values are.
_TAIL = 1 / 250
_MOST_UNSURE = 0.5
# Values that a thread has in hands: NumPy's calls are to be few, as threads wait for each other around each.
_TOGETHER = 1 << 18


def mean_gaps(a: Tensor, b: Tensor) -> list[float]:
    """Return the Wasserstein distance of each pair of lines, one a row.

    Args:
        a: float32 (k, n), not sorted.
        b: the other lines, of the same shape and device.

    Raises:
        InputError: the shapes differ, or the lines are empty.
    """
    if a.shape != b.shape or a.ndim != 2 or not a.shape[1]:
        raise InputError(f"Lines of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected equal, not empty.")
    if a.device.type != "cpu":
        return sorted_gaps(a, b)
    lines, n = a.shape
    threads = min(cpu_count(), lines) or 1
    together = max(1, min(_TOGETHER // n, -(-lines // threads)))

    def gaps(start: int) -> list[float]:
        with timed("sort", threads):
            some = slice(start, start + together)
            if n < _FEWEST:
                return _gaps_by_sorting(a.numpy()[some], b.numpy()[some])
            if not hasattr(own, "scratch"):
                own.scratch = _Scratch(together, n)
            return _gaps_by_cells(a.numpy()[some], b.numpy()[some], own.scratch)

    own = threading.local()
    with ThreadPoolExecutor(threads) as pool:
        return list(itertools.chain.from_iterable(pool.map(gaps, range(0, lines, together))))


def sorted_gaps(a: Tensor, b: Tensor) -> list[float]:
    """Return what `mean_gaps` returns, by sorting with torch on any device."""
    with timed("sort"):
        # One line at a time: a sorted copy of all of them would not fit beside them.
        gaps = [(p.sort().values - q.sort().values).abs_().mean(dtype=torch.float64) for p, q in zip(a, b, strict=True)]
        return [float(gap) for gap in torch.stack(gaps).cpu()]


def _gaps_by_sorting(a: Lines, b: Lines) -> list[float]:
    return [float(np.abs(np.sort(p) - np.sort(q)).mean(dtype=np.float64)) for p, q in zip(a, b, strict=True)]


def _gaps_by_cells(a: Lines, b: Lines, scratch: _Scratch) -> list[float]:
    cells = _Cells(a, b, scratch)
    # Lines with a few values only, or that are hardly different, have all they hold around zeros of F − G.
    hard = cells.held[:, cells.unsure].sum() > _MOST_UNSURE * 2 * a.size
    if hard and len(a) == 1:
        return _gaps_by_sorting(a, b)
    if hard:
        return [gap for i in range(len(a)) for gap in _gaps_by_cells(a[i : i + 1], b[i : i + 1], scratch)]
    unsure, sure_part = cells.weigh()
    found: list[float] = ((sure_part + cells.unsure_part(unsure)) / a.shape[1]).tolist()
    return found


class _Scratch:
    """What one thread computes with again and again: memory that is asked for anew is slow to come."""

    def __init__(self, lines: int, n: int) -> None:
        size = 2 * lines * n
        self._place, self._weight = np.empty(size, np.float32), np.empty(size, np.float32)
        self._cell = np.empty(size, np.int64)

    def of(self, lines: int, n: int) -> tuple[Lines, NDArray[np.int64], Lines]:
        """Return room for place, cell and weight of each value of both lists, (2, lines, n)."""
        size, shape = 2 * lines * n, (2, lines, n)
        return self._place[:size].reshape(shape), self._cell[:size].reshape(shape), self._weight[:size].reshape(shape)


class _Cells:
    """Some lines of both lists, each in cells that are in order; the outer two hold what lies beyond all others.

    Attributes:
        lists: a and b, float32 (lines, n) each.
        cell: of each value, int64 (2, lines, n); those of each line and list count on from the one before.
        held: values in each cell, int64 (2, lines, cells).
        before: F − G where a cell begins, int64 (lines, cells).
        unsure: whether F − G may change its sign within the cell, bool (lines, cells).
    """

    def __init__(self, a: Lines, b: Lines, scratch: _Scratch) -> None:
        lines, n = a.shape
        self.lists = a, b
        place, self.cell, self.weight = scratch.of(lines, n)
        count = min(1 << (n // _VALUES_A_CELL).bit_length(), _MOST_CELLS)
        low, scale = _range(a, b, count)
        # In float32 each step keeps the order, so that whatever is in a cell lies below what is in the next.
        for values, into in zip(self.lists, place, strict=True):
            np.subtract(values, low, out=into)
        with np.errstate(over="ignore"):
            place *= scale
        place += 1
        np.clip(place, 0, count + 1, out=place)
        np.copyto(self.cell, place, casting="unsafe")
        cells = count + 2
        self.cell += np.arange(2 * lines).reshape(2, lines, 1) * cells
        # NumPy's would not let other threads run meanwhile.
        counted = torch.bincount(torch.from_numpy(self.cell).flatten(), minlength=2 * lines * cells)
        self.held = counted.numpy().reshape(2, lines, cells)
        steps = self.held[0] - self.held[1]
        self.before = np.cumsum(steps, axis=1) - steps
        self.unsure = (self.before < self.held[1]) & (-self.before < self.held[0])

    def weigh(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return which values are in unsure cells, int64 (m,), and what all others add to each line, (lines,).

        A value of a counts −1 where F − G is positive, one of b +1.
        """
        sign = np.where(self.before >= self.held[1], np.float32(-1), np.float32(1))
        sign[self.unsure] = 0
        np.stack((sign, -sign)).ravel().take(self.cell, out=self.weight, mode="clip")
        unsure = np.flatnonzero(self.weight == 0)
        for values, weight in zip(self.lists, self.weight, strict=True):
            weight *= values
        sums: NDArray[np.float64] = self.weight.sum(axis=(0, 2), dtype=np.float64)
        return unsure, sums

    def unsure_part(self, unsure: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the values in unsure cells add to each line, one by one in their order."""
        a, b = self.lists
        lines, n = a.shape
        # Where the values of each line of each list begin and end.
        marks = np.searchsorted(unsure, np.arange(2 * lines + 1) * n)
        keys = _keys(np.concatenate((a.ravel()[unsure[: marks[lines]]], b.ravel()[unsure[marks[lines] :] - a.size])))
        keys[marks[lines] :] |= 1
        by_list = np.split(keys, marks[1:-1])
        by_line = [np.sort(np.concatenate((by_list[i], by_list[lines + i]))) for i in range(lines)]
        values, steps = _values_and_steps(np.concatenate(by_line))
        held = self.held[:, self.unsure]
        own = held[0] - held[1]
        # What the sure cells in between did to F − G.
        skipped = self.before[self.unsure] - (np.cumsum(own) - own)
        after = np.cumsum(steps) + np.repeat(skipped, held.sum(0))
        added = values * (np.abs(after - steps) - np.abs(after))
        return np.array([part.sum() for part in np.split(added, np.cumsum([len(line) for line in by_line[:-1]]))])


def _range(a: Lines, b: Lines, count: int) -> tuple[Lines, Lines]:
    """Return where the inner cells of each line begin, and how many of them a unit holds, float32 (lines, 1)."""
    every = max(1, a.shape[1] // _SAMPLE)
    sample = np.sort(np.concatenate((a[:, ::every], b[:, ::every]), axis=1), axis=1)
    tail = int(sample.shape[1] * _TAIL)
    low, high = sample[:, tail, None], sample[:, -tail - 1, None]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = np.float32(count) / (high - low)
    # Where all are alike, one cell holds them, and they are sorted.
    return low, np.where(np.isfinite(scale), scale, np.float32(0))


def _keys(values: Lines) -> NDArray[np.int64]:
    """Return even integers in the order of the values.

    A float's bits, those of negative ones turned over, are in its order as integers. One bit more says whose the value
    is (1 for those of b), so that a vectorised sort does both, many times faster than an indirect one.
    """
    bits = values.view(np.int32)
    keys: NDArray[np.int64] = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 1
    return keys


def _values_and_steps(keys: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the values of keys, and what each adds to F − G: 1 if it is of a, else −1."""
    steps = 1 - 2 * (keys & 1)
    ordered = (keys >> 1).astype(np.int32)
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32).astype(np.float64), steps
