"""Where a run's figures come from: settings, protocols, versions, and the commands that lead there again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pgtools import __version__
from pgtools.report.page import Row
from pgtools.report.run import Run
from pgtools.runtime.results import MetricResult

# Parts of a protocol that a command works out by itself.
_NO_OPTIONS = frozenset({"version", "resolution", "weights"})


def split_settings(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    """Return the settings that differ from the usual ones, and all others; none differs where nothing is usual."""
    differs = [name for name, value in settings.items() if name in usual and usual[name] != value]
    return (
        [Row(name, shown(settings[name]), shown(usual[name])) for name in differs],
        [Row(name, shown(value)) for name, value in settings.items() if name not in differs],
    )


def protocol(result: MetricResult) -> list[Row]:
    """Return what a figure depends on: its protocol, its data, and where it was computed."""
    rows = [Row(name, shown(value)) for name, value in result.protocol.items()]
    for role, table in result.data.items():
        rows += [Row(f"{role} {name}", shown(value)) for name, value in table.items()]
    return rows + [Row(name, shown(value)) for name, value in result.environment.items()]


def origins(run: Run) -> list[Row]:
    """Return the versions, the data and the newest snapshot of a run."""
    rows = [Row("trained by", f"pgtools {run.pgtools}")] if run.pgtools else []
    rows.append(Row("report by", f"pgtools {__version__}"))
    rows += [Row(f"data {name}", shown(value)) for name, value in run.data.items()]
    if run.snapshots:
        rows.append(Row("newest snapshot", run.snapshots[-1].name))
    if run.best:
        best = f"after {run.best.images:,} images: {run.best.metric}, {run.best.part} {run.best.value:.4g}"
        rows.append(Row("best snapshot", best))
    return rows


def commands(run: Run, results: Sequence[MetricResult], differing: Sequence[Row], preset: str) -> list[list[str]]:
    """Return how to get here again: training, images, each result, the page.

    A command is a list of words quoted for a shell; an option and its value are one word, which a page keeps together.
    Settings in `differing` are named, all others come from the preset.
    """
    folder = str(run.folder)
    found = []
    if name := run.data.get("name"):
        start = ["pgtools", "train", shlex.quote(str(name)), *option("out", folder)]
        options = [word for row in differing for word in option(row.name, run.settings[row.name])]
        found.append([*start, *(option("preset", preset) if preset else []), *options])
    found.append(["pgtools", "generate", shlex.quote(folder), "fakes", "--count 1000"])
    for result in results:
        sets = [shlex.quote(str(result.data[role].get("name"))) for role in sorted(result.data, reverse=True)]
        told = [name for name in result.protocol if name not in _NO_OPTIONS]
        if re.fullmatch("[a-z-]+", result.metric):
            options = [word for name in told for word in option(name, result.protocol[name])]
            found.append(["pgtools", result.metric, *sets, *options, "--json"])
    return [*found, ["pgtools", "report", shlex.quote(folder)]]


def option(name: str, value: Any) -> list[str]:
    """Return a setting as a word of a command; none where there is no value."""
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{words}" if value else f"--no-{words}"]
    return [] if value is None else [f"--{words} {shlex.quote(str(value))}"]


def shown(value: Any) -> str:
    """Return a value as people read it; of a hash the beginning."""
    if value is None or value == "":
        return "—"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{40,}", value):
        return f"{value[:16]}…"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
