"""A metric's result as people read it: the figures, their spread, and what they were measured with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

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
    head = f"{metric.title} in {metric.unit}" if metric.unit else metric.title
    told = ", ".join(f"{name} {_short(value)}" for name, value in result.protocol.items() if name != "version")
    click.echo(f"{head}, {metric.direction} is better\n{told}\n")
    columns = ["part", "value", f"± {spread}"] + (["floor"] if result.floor else [])
    tables = [result.values, result.spread] + ([result.floor] if result.floor else [])
    numbers = {part: [_number(table.get(part), metric.decimals) for table in tables] for part in result.values}
    print_table(columns, [[part, *row] for part, row in numbers.items()])


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _short(value: object) -> str:
    return value[:12] if isinstance(value, str) else str(value)
