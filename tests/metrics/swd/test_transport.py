"""The gap between two lists, found without sorting them, against sorting them in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.metrics.swd import transport
from pgtools.metrics.swd.transport import mean_gaps

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
LISTS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "tails without end": lambda rng, n: rng.standard_cauchy(n),
    "few values": lambda rng, n: rng.integers(-3, 4, n).astype(float),
    "two far heaps": lambda rng, n: rng.standard_normal(n) + 1e6 * rng.integers(0, 2, n),
    "one value": lambda _, n: np.full(n, 2.5),
    "half zeros of either sign": lambda rng, n: np.where(rng.random(n) < 0.5, -0.0, rng.standard_normal(n)),
}


def mean_gap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return mean_gaps(torch.from_numpy(a[None]), torch.from_numpy(b[None]))[0]


def sorted_gap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(np.sort(a.astype(np.float64)) - np.sort(b.astype(np.float64))).mean())


@pytest.mark.parametrize("name", LISTS)
@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 20_000),
    shift=st.sampled_from([0.0, 1e-4, 0.01, 3.0]),
    scale=st.sampled_from([1.0, 1.02, 0.5]),
    seed=st.integers(0, 10_000),
)
def test_it_is_the_mean_gap_of_the_sorted_lists(name: str, n: int, shift: float, scale: float, seed: int):
    rng = np.random.default_rng(seed)
    a, b = LISTS[name](rng, n).astype(np.float32), (scale * LISTS[name](rng, n) + shift).astype(np.float32)
    expected = sorted_gap(a, b)
    # The sums are in float64, the size of their terms is that of the values.
    tolerance = 1e-7 * expected + 1e-12 * float(np.abs(a).mean() + np.abs(b).mean())
    assert mean_gap(a, b) == pytest.approx(expected, abs=tolerance)
    assert mean_gap(b, a) == pytest.approx(expected, abs=tolerance)


def test_cells_are_used_where_there_are_many_values_and_the_unsure_ones_are_few():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 100_000)).astype(np.float32)
    expected = sorted_gap(a, b)
    cells = transport._Cells(a[None], b[None], transport._Scratch(1, 100_000))
    unsure = cells.held[:, cells.unsure].sum() / 200_000
    assert 0 < unsure < 0.4
    values, sure_part = cells.weigh()
    assert len(values) == unsure * 200_000
    assert (sure_part + cells.unsure_part(values)) / 100_000 == pytest.approx(expected, rel=1e-7)


def test_equal_lists_in_any_order_are_at_no_distance():
    rng = np.random.default_rng(0)
    for n in (1, 50, 100_000):
        a = rng.standard_normal(n).astype(np.float32)
        assert mean_gap(a, rng.permutation(a)) == 0


@settings(max_examples=20, deadline=None)
@given(
    names=st.lists(st.sampled_from(list(LISTS)), min_size=1, max_size=9),
    n=st.sampled_from([5, 3000, 9000]),
    seed=st.integers(0, 1000),
)
def test_each_row_is_a_line_of_its_own(names: list[str], n: int, seed: int):
    rng = np.random.default_rng(seed)
    a, b = (np.stack([LISTS[name](rng, n) for name in names]).astype(np.float32) for _ in range(2))
    found = mean_gaps(torch.from_numpy(a), torch.from_numpy(b))
    for gap, p, q in zip(found, a, b, strict=True):
        assert gap == pytest.approx(sorted_gap(p, q), abs=1e-7 * sorted_gap(p, q) + 1e-12 * float(np.abs(p).mean()))


@pytest.mark.parametrize("shapes", [((2, 5), (2, 4)), ((1, 0), (1, 0)), ((5,), (5,))])
def test_unequal_and_empty_lines_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]):
    with pytest.raises(InputError, match="expected equal, not empty"):
        mean_gaps(torch.ones(shapes[0]), torch.ones(shapes[1]))


@pytest.mark.gpu
def test_cuda_sorts_to_the_same_number():
    a, b = torch.randn(2, 5, 30_000, generator=torch.Generator().manual_seed(0)).unbind()
    assert mean_gaps(a.cuda(), b.cuda()) == pytest.approx(mean_gaps(a, b), rel=1e-6)
