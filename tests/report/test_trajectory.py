"""Which moment of a metric's trajectory is called the best."""

from __future__ import annotations

from typing import Any

import pytest

from pgtools.report.trajectory import panels_of, trajectory
from pgtools.runtime.results import MetricResult


def scores(*values: float, **other: Any) -> list[tuple[float, MetricResult]]:
    words = {"metric": "swd", "direction": "lower", **other}
    return [
        (10.0 * i, MetricResult(values={"16": value, "average": 2 * value}, **words)) for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(("direction", "best"), [("lower", (20.0, 4.0, "ink")), ("higher", (0.0, 10.0, "ink"))])
def test_the_best_is_the_metrics_own_way_and_of_equals_the_first(
    direction: str, best: tuple[float, float, str]
) -> None:
    (panel,) = panels_of(scores(5, 3, 2, 2, 5, direction=direction), {})
    assert panel.best == best


def test_where_no_part_speaks_for_all_or_there_is_one_moment_nothing_is_marked() -> None:
    assert panels_of(scores(5), {})[0].best is None
    parts = [(float(i), MetricResult(metric="x", direction="lower", values={"a": 1.0, "b": 2.0})) for i in range(3)]
    assert panels_of(parts, {})[0].best is None


def test_the_mark_is_drawn_for_every_metric() -> None:
    several = scores(5, 3, 4) + scores(0.3, 0.2, 0.1, metric="msssim")
    svg = trajectory(panels_of(several, {}), kind="svg").decode()
    assert "the best, at 10 kimg" in svg
    assert "the best, at 20 kimg" in svg
    assert "the best" not in trajectory(panels_of(scores(5), {}), kind="svg").decode()
