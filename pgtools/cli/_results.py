"""A metric's result as people read it: the figures, their spread, and what they were measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgtools.cli._output import print_json, print_table
from pgtools.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pgtools.runtime.results import MetricResult


def print_result(result: MetricResult, *, spread: str, as_json: bool) -> None:
    """Print a result on stdout.

    Args:
        result: what a metric gave.
        spread: what its spread is, the head of that column.
        as_json: print JSON for machines instead of a table for people.
    """
    if as_json:
        print_json(result.as_dict())
        return
    metric = CATALOGUE[result.metric]
    head = f"{metric.title} {metric.unit}".strip()
    told = ", ".join(
        f"{name} {_short(value)}" for name, value in result.protocol.items() if name != "version"
    )
    columns = ["", "value", f"± {spread}"] + (["floor"] if result.floor else [])
    rows = [[part, *(_number(found.get(part)) for found in _columns(result))] for part in result.values]
    print_table(columns, rows, title=f"{head}, {metric.direction} is better\n{told}")


def _columns(result: MetricResult) -> list[dict[str, float]]:
    return [result.values, result.spread] + ([result.floor] if result.floor else [])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)
