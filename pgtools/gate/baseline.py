"""The accepted figures, in one JSON file that a reviewer can read: per metric a result, per part a tolerance.

    {"format": "pgtools-baseline", "version": 1,
     "metrics": {"swd": {
         "result": {… as the metric command printed it …},
         "tolerance": {"32": {"relative": 0.05, "sigma": 3.0}, "average": {"absolute": 0.2}}}}}

A part may move by the largest of its terms: `relative` × |accepted value|, `absolute` in the metric's own
unit, `sigma` × the spread of the accepted result. A part without a tolerance has the default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgtools.errors import InputError, UsageError
from pgtools.runtime.files import write_json
from pgtools.runtime.results import MetricResult, result_from_dict

FORMAT = "pgtools-baseline"
VERSION = 1


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may move before it counts as moved: the largest of its terms, 0 without any.

    Attributes:
        relative: fraction of the accepted value's magnitude, 0 or more.
        absolute: in the metric's own unit, 0 or more.
        sigma: multiple of the accepted result's spread, 0 or more; adds nothing where there is no spread.
    """

    relative: float = 0.0
    absolute: float = 0.0
    sigma: float = 0.0

    def allowed(self, value: float, spread: float) -> float:
        """Return the largest change that still counts as the same, in the metric's unit.

        Only the accepted figure and its spread enter, so that a noisier result does not loosen its own gate.
        """
        return max(self.relative * abs(value), self.absolute, self.sigma * spread)

    def as_dict(self) -> dict[str, float]:
        """Return the terms that are set; `{"absolute": 0.0}` when none is."""
        terms = {"relative": self.relative, "absolute": self.absolute, "sigma": self.sigma}
        return {name: value for name, value in terms.items() if value} or {"absolute": 0.0}

    def __str__(self) -> str:
        terms = [f"{self.relative * 100:g}%"] if self.relative else []
        terms += [f"{self.absolute:g}"] if self.absolute else []
        terms += [f"{self.sigma:g}sigma"] if self.sigma else []
        return ",".join(terms) or "0"


# A twentieth is what one sees in a table; three spreads is what chance seldom does.
DEFAULT = Tolerance(relative=0.05, sigma=3.0)


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
        spread = self.result.spread.get(part, 0.0)
        return self.tolerance_of(part).allowed(self.result.values[part], spread)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; every part's tolerance is written out, so that it can be read and edited."""
        tolerance = {part: self.tolerance_of(part).as_dict() for part in self.result.values}
        return {"result": self.result.as_dict(), "tolerance": tolerance}


Baseline = Mapping[str, Accepted]


def by_metric(results: Sequence[MetricResult]) -> dict[str, MetricResult]:
    """Return metric → result.

    Raises:
        InputError: two results are of one metric.
    """
    found: dict[str, MetricResult] = {}
    for result in results:
        if result.metric in found:
            raise InputError(
                f"Two of the results are of {result.metric}; a baseline holds one a metric.",
                hint="Keep figures of different protocols in different baseline files.",
            )
        found[result.metric] = result
    return found


def accept(
    baseline: Baseline, results: Sequence[MetricResult], rules: Sequence[tuple[str, str, Tolerance]] = ()
) -> dict[str, Accepted]:
    """Return `baseline` with the given results in place of its own; all other metrics stay as they are.

    A metric that is replaced keeps its tolerances, except where a rule says otherwise.

    Args:
        baseline: what was accepted before; may be empty.
        results: finite figures with finite spreads, one a metric.
        rules: (metric or "", part or "", tolerance) as `parse_rule` gives them; "" matches all, the last
            match counts.

    Raises:
        InputError: a figure is not finite, two results are of one metric, or a rule matches nothing.
    """
    new = dict(baseline)
    for name, result in by_metric(results).items():
        _check_finite(result, where=name)
        kept = {p: t for p, t in baseline[name].tolerance.items() if p in result.values} if name in baseline else {}
        ruled = {p: t for metric, part, t in rules for p in result.values if metric in ("", name) and part in ("", p)}
        new[name] = Accepted(result, {**kept, **ruled})
    for metric, part, _ in rules:
        if not any(metric in ("", r.metric) and (not part or part in r.values) for r in results):
            raise InputError(
                f"--tolerance names {'.'.join(filter(None, (metric, part)))}, which none of the results has.",
                hint="They have " + ", ".join(f"{r.metric} ({', '.join(r.values)})" for r in results) + ".",
            )
    return new


def parse_rule(text: str) -> tuple[str, str, Tolerance]:
    """Return (metric, part, tolerance) of `[METRIC[.PART]=]TERM[,TERM…]`, "" for what is left out.

    A term is relative (`5%`), absolute in the metric's unit (`0.3`), or in spreads (`3sigma`).

    Raises:
        UsageError: the text is no such rule.
    """
    target, _, terms = text.rpartition("=")
    metric, _, part = target.partition(".")
    found: dict[str, float] = {}
    for term in terms.split(","):
        kind = "relative" if term.endswith("%") else "sigma" if term.endswith("sigma") else "absolute"
        try:
            number = float(term.removesuffix("%").removesuffix("sigma"))
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf or kind in found:
            raise UsageError(
                f"--tolerance is {text!r}; expected [METRIC[.PART]=]TERM[,TERM…].",
                hint="A term is 5% (relative), 0.3 (absolute) or 3sigma (spreads), one of each kind at most.",
            )
        found[kind] = number / 100 if kind == "relative" else number
    return metric, part, Tolerance(**found)


def read_baseline(path: Path) -> dict[str, Accepted]:
    """Return the baseline in a file.

    Raises:
        InputError: the file is missing or is no baseline, or a figure or tolerance in it is no finite number.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}).",
            hint=f"Make a baseline with `pgtools gate accept RESULT.json --baseline {path}`.",
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}).") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{path} is not a baseline.", hint="Make one with `pgtools gate accept`.")
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
    result = result_from_dict(entry.get("result"), where=where)
    if result.metric != name:
        raise InputError(f"{where} holds a result of {result.metric}.")
    _check_finite(result, where=where)
    tolerance = {}
    for part, terms in entry.get("tolerance", {}).items():
        try:
            tolerance[part] = Tolerance(**{kind: float(number) for kind, number in terms.items()})
        except (TypeError, ValueError, AttributeError):
            raise InputError(f"{where}: the tolerance of {part} is {terms!r}; expected {_TERMS}.") from None
        if not all(0 <= number < math.inf for number in terms.values()):
            raise InputError(f"{where}: the tolerance of {part} is {terms!r}; expected {_TERMS}.")
    return Accepted(result, tolerance)


_TERMS = "relative, absolute or sigma, each 0 or more"


def _check_finite(result: MetricResult, *, where: str) -> None:
    for part, number in [*result.values.items(), *((f"spread of {p}", s) for p, s in result.spread.items())]:
        if not math.isfinite(number):
            raise InputError(
                f"{where}: {part} is {number}, which nothing can be compared with.",
                hint="Measure it again on sound images.",
            )
