"""The accepted figures, in one JSON file that a reviewer can read: per metric a result, per part a tolerance.

    {"format": "pgtools-baseline", "version": 2,
     "metrics": {"swd": {
         "result": {… as the metric command printed it …},
         "tolerance": {"32": {"relative": 0.05, "sigma": 3.0}, "average": {"alarms": 0.01}}}}}

A part may move by the largest of its terms: `relative` × |accepted value|, `absolute` in the metric's own unit,
`sigma` × √2 × the accepted result's standard error, or `alarms`, a rate that stands for such a sigma. A part without
a tolerance has the default. Version 1 held results without standard errors, and its sigma counted another spread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pgtools.errors import InputError, UsageError
from pgtools.gate.choice import by_metric
from pgtools.gate.power import Power, power
from pgtools.gate.tolerance import DEFAULT, TERMS, Rule, Tolerance
from pgtools.gate.words import last_part
from pgtools.runtime.files import write_json
from pgtools.runtime.results import MetricResult, result_from_dict

FORMAT = "pgtools-baseline"
VERSION = 2
# The first version of results whose spread is a standard error.
OLDEST_RESULT = 2
_MAKE = "Make a baseline with `pgtools gate accept RESULT.json --baseline FILE`."


@dataclass(frozen=True)
class Accepted:
    """One metric as it was accepted: the result, and part → tolerance (the default for parts not named)."""

    result: MetricResult
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)

    def tolerance_of(self, part: str) -> Tolerance:
        """Return the tolerance of one part."""
        return self.tolerance.get(part, DEFAULT)

    def allowed(self, part: str) -> float:
        """Return how far `part` may move, in the metric's unit."""
        return self.tolerance_of(part).allowed(self.result.values[part], self.result.spread.get(part))

    def power(self, part: str) -> Power:
        """Return what the gate of `part` can tell from chance."""
        return power(self.tolerance_of(part), self.result.values[part], self.result.spread.get(part))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; every part's tolerance is written out, so that it can be read and edited."""
        tolerance = {part: self.tolerance_of(part).as_dict() for part in self.result.values}
        return {"result": self.result.as_dict(), "tolerance": tolerance}


Baseline = Mapping[str, Accepted]


def accept(baseline: Baseline, results: Sequence[MetricResult], rules: Sequence[Rule] = ()) -> dict[str, Accepted]:
    """Return `baseline` with the given results in place of its own; all other metrics stay as they are.

    A metric that is replaced keeps its tolerances, except where a rule says otherwise. Of the names of the images only
    what their paths end in is kept, so that the file does not depend on where it was measured.

    Args:
        baseline: what was accepted before; may be empty.
        results: finite figures with finite standard errors, one a metric.
        rules: (metric or "", part or "", tolerance) as `parse_rule` gives them; "" matches all, the last
            match counts.

    Raises:
        UsageError: a rule matches nothing.
        InputError: a figure is not finite, two results are of one metric, or all that a part may move by is a multiple
            of a standard error that it does not have.
    """
    new = dict(baseline)
    for name, result in by_metric(results).items():
        _check_finite(result, where=name)
        kept = {p: t for p, t in baseline[name].tolerance.items() if p in result.values} if name in baseline else {}
        ruled = {p: t for metric, part, t in rules for p in result.values if metric in ("", name) and part in ("", p)}
        new[name] = Accepted(_anywhere(result), {**kept, **ruled})
        _check_errors(new[name])
    for metric, part, _ in rules:
        if not any(metric in ("", r.metric) and (not part or part in r.values) for r in results):
            raise UsageError(
                f"--tolerance names {'.'.join(filter(None, (metric, part)))}, which none of the results has.",
                hint="They have " + ", ".join(f"{r.metric} ({', '.join(r.values)})" for r in results) + ".",
            )
    return new


def read_baseline(path: Path) -> dict[str, Accepted]:
    """Return the baseline in a file.

    Raises:
        InputError: the file is missing or is no baseline, or a figure or tolerance in it is no finite number.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        if path.is_dir():
            raise InputError(f"{path} is a folder; expected the JSON file of a baseline.", hint=_MAKE) from None
        raise InputError(
            f"{path}: cannot be read ({error.strerror}).",
            hint=f"Make a baseline with `pgtools gate accept RESULT.json --baseline {path}`.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}).", hint=_MAKE) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{path} is not a baseline.", hint=_MAKE)
    if value.get("version") == 1:
        raise InputError(
            f"{path} is a baseline of version 1 (pgtools 0.1.0), whose results have no standard errors.",
            hint="Move it away, measure again with this pgtools, and accept the results with `pgtools gate accept`.",
        )
    if value.get("version") != VERSION:
        raise InputError(f"{path} has baseline version {value.get('version')}; this pgtools reads {VERSION}.")
    metrics = value.get("metrics")
    if not isinstance(metrics, dict):
        raise InputError(f"{path} is a damaged baseline: it has no metrics.")
    return {name: _accepted(name, entry, where=f"{path}: {name}") for name, entry in metrics.items()}


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write the baseline, metrics in alphabetical order, whole or not at all."""
    metrics = {name: baseline[name].as_dict() for name in sorted(baseline)}
    write_json(path, {"format": FORMAT, "version": VERSION, "metrics": metrics})


def _accepted(name: str, entry: Any, *, where: str) -> Accepted:
    if not isinstance(entry, dict) or not isinstance(entry.get("tolerance", {}), dict):
        raise InputError(f"{where} is damaged: expected a result and a tolerance a part.")
    result = result_from_dict(entry.get("result"), where=where, oldest=OLDEST_RESULT)
    if result.metric != name:
        raise InputError(f"{where} holds a result of {result.metric}.")
    _check_finite(result, where=where)
    tolerance = {}
    for part, terms in entry.get("tolerance", {}).items():
        try:
            tolerance[part] = Tolerance(**{kind: float(number) for kind, number in terms.items()})
        except (TypeError, ValueError, AttributeError):
            raise InputError(f"{where}: the tolerance of {part} is {terms!r}; expected {TERMS}.") from None
        if not tolerance[part].is_sound():
            raise InputError(f"{where}: the tolerance of {part} is {terms!r}; expected {TERMS}.")
    accepted = Accepted(result, tolerance)
    _check_errors(accepted)
    return accepted


def _anywhere(result: MetricResult) -> MetricResult:
    """Return the result with names that are the same wherever pgtools was called."""
    data = {
        role: {key: last_part(str(text)) if key == "name" else text for key, text in facts.items()}
        for role, facts in result.data.items()
    }
    return replace(result, data=data)


def _check_errors(accepted: Accepted) -> None:
    """Raise InputError where the gate would fail on any change at all, though its rule means to allow for noise."""
    result = accepted.result
    for part in result.values:
        tolerance = accepted.tolerance_of(part)
        if part not in result.spread and tolerance.sigmas() and not (tolerance.relative or tolerance.absolute):
            raise InputError(
                f"{result.metric}: {part} may move by {tolerance}, but has no standard error.",
                hint=f"Give it another tolerance, e.g. --tolerance {result.metric}.{part}=5%.",
            )


def _check_finite(result: MetricResult, *, where: str) -> None:
    for part, number in [*result.values.items(), *((f"standard error of {p}", s) for p, s in result.spread.items())]:
        if not math.isfinite(number):
            raise InputError(
                f"{where}: {part} is {number}, which nothing can be compared with.",
                hint="Measure it again on sound images.",
            )
    for part, error in result.spread.items():
        if error < 0:
            raise InputError(f"{where}: the standard error of {part} is {error}; expected 0 or more.")
