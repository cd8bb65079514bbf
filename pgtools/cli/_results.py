"""A metric's result as people read it: the figures, their uncertainty, and what they were measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from pgtools.cli._output import print_json, print_table
from pgtools.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pgtools.runtime.results import MetricResult

_SHORT = 12


def print_result(result: MetricResult, *, as_json: bool) -> None:
    """Print a result on stdout: as JSON for machines, or as a table for people."""
    if as_json:
        print_json(result.as_dict())
    else:
        print_tables(result)


def print_tables(result: MetricResult) -> None:
    """Print a result for people: what was measured and how, the figures, then what else is known of them."""
    metric = CATALOGUE[result.metric]
    head = f"{metric.title} in {metric.unit}" if metric.unit else metric.title
    told = ", ".join(f"{name} {_short(value)}" for name, value in result.protocol.items() if name != "version")
    click.echo(f"{head}, {_direction(result)}\n{told}\n")
    columns, rows = result_table(result)
    print_table(columns, rows)
    for name, table in result.scatter.items():
        click.echo(f"± {name}: " + ", ".join(_named(part, number, metric.decimals) for part, number in table.items()))
    if reason := _why_no_error(result):
        click.echo(reason)


def result_table(result: MetricResult) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of a result's figures, one row a part; what no part has, has no column."""
    decimals = CATALOGUE[result.metric].decimals
    tables: dict[str, Mapping[str, str]] = {
        "value": {part: f"{value:.{decimals}f}" for part, value in result.values.items()},
        "± standard error": {part: f"{value:.{decimals}f}" for part, value in result.spread.items()},
        "95 % interval": {
            part: f"{low:.{decimals}f}…{high:.{decimals}f}" for part, (low, high) in result.interval.items()
        },
        "floor": {part: f"{value:.{decimals}f}" for part, value in result.floor.items()},
        "verdict": result.verdict,
    }
    shown = {name: table for name, table in tables.items() if table}
    return ["part", *shown], [[part, *(table.get(part, "-") for table in shown.values())] for part in result.values]


def _why_no_error(result: MetricResult) -> str:
    """Return why a result has no standard error, if it is for want of images."""
    if result.spread:
        return ""
    if result.protocol.get("num_images") == 1:
        return "1 image is too few for a standard error."
    return "1 pair is too few for a standard error." if result.protocol.get("pairs") == 1 else ""


def _direction(result: MetricResult) -> str:
    others = "".join(f" ({part}: {direction})" for part, direction in result.directions.items())
    return f"{result.direction} is better{others}"


def _named(part: str, number: float, decimals: int) -> str:
    return f"{number:.{decimals}f}" if part == "value" else f"{part} {number:.{decimals}f}"


def _short(value: object) -> str:
    return value[:_SHORT] if isinstance(value, str) else str(value)
