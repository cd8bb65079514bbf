"""What moved between an accepted baseline and new results, and which way. Pure: figures in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pgtools.errors import InputError
from pgtools.gate.baseline import Accepted, Baseline
from pgtools.gate.choice import by_metric
from pgtools.gate.power import Power
from pgtools.gate.words import SHORT, last_part, number, printable, shown
from pgtools.runtime.results import Direction, MetricResult

Verdict = Literal["better", "same", "worse", "missing", "new"]
FAILURES = frozenset({"worse", "missing"})
# What of the environment may move a figure a little, beyond the metric's own version.
TOLD = ("device", "torch", "pgtools")
_REAL = "real images"
# Settings that choose among the real images: where one differs, other images of the same set were taken.
_CHOICE = frozenset({"num_images", "num_real", "seed"})


@dataclass(frozen=True)
class Move:
    """One figure beside its accepted value.

    Attributes:
        metric, part, direction: which figure, and which way is better.
        accepted: the baseline's value; None when the verdict is "new".
        value: the new value; None when the verdict is "missing".
        change: value - accepted, in the metric's unit; None where either is.
        allowed: the largest change that counts as "same"; None when the verdict is "new".
        verdict: "worse" and "missing" fail the gate; "new" is a figure the baseline does not hold.
        power: what the gate of this figure can tell from chance; empty when the verdict is "new".
    """

    metric: str
    part: str
    direction: Direction
    accepted: float | None
    value: float | None
    change: float | None
    allowed: float | None
    verdict: Verdict
    power: Power = field(default_factory=Power)

    @property
    def name(self) -> str:
        """What people call the figure: "swd 32", or "fid" where the metric has one number."""
        return self.metric if self.part == "value" else f"{self.metric} {self.part}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, which has no NaN or infinity: they become null."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}
        return {**plain, "power": self.power.as_dict()}


def compare(baseline: Baseline, results: Sequence[MetricResult]) -> list[Move]:
    """Return the move of every figure: the baseline's in its order, then those only the results have.

    A change up to and including the allowed one is "same"; a value that is not finite is "worse".

    Raises:
        InputError: two results are of one metric, or a result was not measured as the accepted one was;
            the message names every field that differs.
    """
    found = by_metric(results)
    _check_comparable(baseline, found)
    moves = []
    for name, accepted in baseline.items():
        moves += _moves(accepted, found.pop(name, None))
    return moves + [_new(result, part) for result in found.values() for part in result.values]


def failures(moves: Sequence[Move]) -> list[Move]:
    """Return the moves that fail the gate."""
    return [move for move in moves if move.verdict in FAILURES]


def differences(accepted: MetricResult, result: MetricResult) -> list[str]:
    """Return the fields that make two results of one metric incomparable, as "name: accepted → new".

    These are the directions, the protocol, which roles of data went in, and the fingerprint of the real images when
    there is another set beside them: what is measured may change, what it is measured against may not. A hash is told
    by its first digits. Where another number or seed took other images of a set of the same name, only that is told.
    """
    parts = [part for part in accepted.values if part in result.values]
    old, new = _identity(accepted, parts), _identity(result, parts)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    same_set = last_part(_real_name(accepted)) == last_part(_real_name(result))
    if _CHOICE.intersection(names) and same_set and _REAL in old and _REAL in new:
        names = [name for name in names if name != _REAL]
    return [f"{name}: {_told(accepted, old, name)} → {_told(result, new, name)}" for name in names]


def changes(old: Accepted, new: Accepted) -> list[str]:
    """Return what differs between two accepted results of one metric, a line each.

    `differences`; where there are none, the figures with the verdict that a check by the old tolerance would give;
    tolerances.
    """
    unlike = differences(old.result, new.result)
    moves = [] if unlike else compare({old.result.metric: old}, [new.result])
    figures = [
        f"{move.part}: {number(move.accepted)} → {number(move.value)} ({move.verdict})"
        for move in moves
        if move.accepted != move.value
    ]
    shared = [part for part in old.result.values if part in new.result.values]
    pairs = [(part, str(old.tolerance_of(part)), str(new.tolerance_of(part))) for part in shared]
    moved = [f"tolerance of {part}: {before} → {after}" for part, before, after in pairs if before != after]
    return [printable(text) for text in unlike + figures + moved]


def environment_notes(baseline: Baseline, results: Sequence[MetricResult]) -> list[str]:
    """Return what of the machine differs from the accepted results', a line for metrics that share it.

    It is told and not compared: pgtools states how little a figure depends on it.
    """
    metrics: dict[str, list[str]] = {}
    for result in results:
        if result.metric not in baseline:
            continue
        old, new = baseline[result.metric].result.environment, result.environment
        moved = [
            f"{k} {old.get(k, '(not told)')} → {new.get(k, '(not told)')}" for k in TOLD if old.get(k) != new.get(k)
        ]
        if moved:
            metrics.setdefault(", ".join(moved), []).append(result.metric)
    return [f"{', '.join(names)}: measured elsewhere ({text})" for text, names in metrics.items()]


def _identity(result: MetricResult, parts: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"direction": result.direction, "data": " + ".join(sorted(result.data))}
    fields |= {f"direction of {part}": result.directions[part] for part in parts if part in result.directions}
    fields |= _flat(result.protocol)
    if "real" in result.data and len(result.data) > 1:
        fields[_REAL] = result.data["real"].get("fingerprint")
    return fields


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a table without tables in it: {"a": {"b": 1}} → {"a.b": 1}, so that a field is named to the last."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) and value else {f"{above}{name}": value}
    return flat


def _told(result: MetricResult, fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        return "(not given)"
    if name == _REAL:
        return f"{last_part(_real_name(result))} ({str(fields[name])[:SHORT]})"
    return shown(fields[name])


def _real_name(result: MetricResult) -> str:
    return str(result.data.get("real", {}).get("name", "(not named)"))


def _check_comparable(baseline: Baseline, found: Mapping[str, MetricResult]) -> None:
    metrics: dict[str, list[str]] = {}
    for name in sorted(baseline.keys() & found.keys()):
        if fault := ", ".join(differences(baseline[name].result, found[name])):
            metrics.setdefault(fault, []).append(name)
    if metrics:
        faults = "; ".join(f"{', '.join(names)}: {fault}" for fault, names in metrics.items())
        raise InputError(
            f"These results and the baseline were not measured alike: {printable(faults)}.",
            hint="Measure again with the baseline's settings, or accept these results as the new baseline.",
        )


def _moves(accepted: Accepted, result: MetricResult | None) -> list[Move]:
    before = accepted.result
    after = result.values if result else {}
    moves = []
    for part, old in before.values.items():
        new, allowed, direction = after.get(part), accepted.allowed(part), before.direction_of(part)
        change = None if new is None else new - old
        verdict = _verdict(change, allowed, direction)
        power = accepted.power(part)
        moves.append(Move(before.metric, part, direction, old, new, change, allowed, verdict, power))
    return moves + [_new(result, part) for part in after if part not in before.values and result]


def _new(result: MetricResult, part: str) -> Move:
    return Move(result.metric, part, result.direction_of(part), None, result.values[part], None, None, "new")


def _verdict(change: float | None, allowed: float, direction: str) -> Verdict:
    if change is None:
        return "missing"
    if not math.isfinite(change):
        return "worse"
    # A change that equals the allowed one up to the last bits of a subtraction is allowed.
    if abs(change) <= allowed or math.isclose(abs(change), allowed, rel_tol=1e-9):
        return "same"
    return "better" if (change < 0) == (direction == "lower") else "worse"
