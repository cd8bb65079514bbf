"""Standard error, floor and verdict against what they speak of: sets drawn again and again.

The sets are random fields, as independent as generated images are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.metrics.swd.scatter import GROUPS, deal
from pgtools.runtime.results import MetricResult
from tests.metrics.sets import ArraySource, fields

SETTINGS = SwdSettings(directions=64, repeats=1, replicates=300, neighbourhoods=64)


@dataclass(frozen=True)
class Redrawn:
    """Results (real sets, fake sets each) of sets that all come from one distribution."""

    results: list[list[MetricResult]]

    def told(self, table: str, part: str) -> np.ndarray:
        return np.array([[getattr(result, table)[part] for result in row] for row in self.results])

    def scatter(self, part: str) -> float:
        """The deviation over fake sets, the real one as it is."""
        return float(np.sqrt(self.told("values", part).var(axis=1, ddof=1).mean()))


def redraw(count: int, reals: int, fakes: int) -> Redrawn:
    results = []
    for r in range(reals):
        real = ArraySource(fields(count, 32, 1000 * (r + 1)))
        with Evaluator([SwdMeasure(SETTINGS)], real, Reading(), torch.device("cpu")) as evaluator:
            row = [evaluator.score(ArraySource(fields(count, 32, 1000 * (r + 1) + 1 + f)))[0] for f in range(fakes)]
        results.append(row)
    return Redrawn(results)


@pytest.fixture(scope="module")
def redrawn() -> Redrawn:
    return redraw(64, reals=6, fakes=8)


PARTS = ("32", "16", "average")


@pytest.mark.parametrize("part", PARTS)
def test_the_floor_is_the_distance_of_sets_of_one_distribution(redrawn: Redrawn, part: str):
    values = redrawn.told("values", part)
    # 48 distances of about 13 % scatter each, in sixes with a real set in common.
    assert redrawn.told("floor", part).mean() == pytest.approx(values.mean(), rel=0.08)


@pytest.mark.parametrize("part", PARTS)
def test_the_standard_error_is_the_scatter_of_repetitions(redrawn: Redrawn, part: str):
    # The deviation of 6 × 8 values is known to about 11 %; the error is a few hundredths too large at the floor.
    assert redrawn.told("spread", part).mean() == pytest.approx(redrawn.scatter(part), rel=0.3)


def test_sets_of_one_distribution_are_called_so(redrawn: Redrawn):
    verdicts = [text for row in redrawn.results for result in row for text in result.verdict.values()]
    # Nominally 1 of 100 is not.
    assert np.mean(["indistinguishable" in text for text in verdicts]) > 0.94


def test_a_blur_is_noticed_where_it_is(redrawn: Redrawn):
    real, fake = ArraySource(fields(64, 32, 1)), fields(64, 32, 2).astype(np.float32)
    soft = (fake + np.roll(fake, 1, 2) + np.roll(fake, 1, 3) + np.roll(fake, (1, 1), (2, 3))) / 4
    with Evaluator([SwdMeasure(SETTINGS)], real, Reading(), torch.device("cpu")) as evaluator:
        (result,) = evaluator.score(ArraySource(soft.astype(np.uint8)))
    assert result.verdict["32"].startswith("not like real: ")
    assert "indistinguishable" in result.verdict["16"]
    assert result.values["32"] > result.floor["32"] + 2 * result.floor_spread["32"]


def test_the_interval_holds_the_value_and_is_about_four_errors_wide(redrawn: Redrawn):
    for result in redrawn.results[0]:
        for part, (low, high) in result.interval.items():
            assert low < result.values[part] < high
            assert high - low == pytest.approx(4 * result.spread[part], rel=0.25)


def test_images_are_dealt_into_equal_groups_whatever_their_order():
    for images in (2, 63, 256, 1000):
        held = np.bincount(deal(images, seed=0))
        assert len(held) == min(images, GROUPS) and held.max() - held.min() <= 1
    assert not np.array_equal(deal(1000, seed=0), np.arange(1000) % GROUPS)


@pytest.mark.slow
@pytest.mark.parametrize("count", [64, 256])
def test_error_floor_and_verdict_at_length(count: int):
    found = redraw(count, reals=10, fakes=20)
    for part in PARTS:
        values = found.told("values", part)
        print(
            f"N {count}, {part}: mean {values.mean():.2f}, floor {found.told('floor', part).mean():.2f}; scatter "
            f"{found.scatter(part):.3f}, standard error {found.told('spread', part).mean():.3f}"
        )
        assert found.told("floor", part).mean() == pytest.approx(values.mean(), rel=0.05)
        assert found.told("spread", part).mean() == pytest.approx(found.scatter(part), rel=0.15)
