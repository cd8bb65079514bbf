"""What moved between an accepted baseline and new results, and which way. Pure: figures in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pgtools.errors import InputError
from pgtools.gate.baseline import Accepted, Baseline, by_metric
from pgtools.runtime.results import MetricResult

Verdict = Literal["better", "same", "worse", "missing", "new"]
FAILURES = frozenset({"worse", "missing"})


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
    """

    metric: str
    part: str
    direction: str
    accepted: float | None
    value: float | None
    change: float | None
    allowed: float | None
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, which has no NaN or infinity: they become null."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


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
    return moves + [
        Move(name, part, result.direction, None, value, None, None, "new")
        for name, result in found.items()
        for part, value in result.values.items()
    ]


def failures(moves: Sequence[Move]) -> list[Move]:
    """Return the moves that fail the gate."""
    return [move for move in moves if move.verdict in FAILURES]


def differences(accepted: MetricResult, result: MetricResult) -> list[str]:
    """Return the fields that make two results of one metric incomparable, as "name: accepted → new".

    These are the direction, the protocol, which roles of data went in, and the fingerprint of the real images
    when there is another set beside them: what is measured may change, what it is measured against may not.
    """
    old, new = _identity(accepted), _identity(result)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return [f"{name}: {_shown(old, name)} → {_shown(new, name)}" for name in names]


def changes(old: Accepted, new: Accepted) -> list[str]:
    """Return what else than figures differs between two accepted results: `differences`, and tolerances."""
    shared = [part for part in old.result.values if part in new.result.values]
    pairs = [(part, str(old.tolerance_of(part)), str(new.tolerance_of(part))) for part in shared]
    moved = [f"tolerance of {part}: {before} → {after}" for part, before, after in pairs if before != after]
    return differences(old.result, new.result) + moved


def _identity(result: MetricResult) -> dict[str, Any]:
    fields = {"direction": result.direction, "data": " + ".join(sorted(result.data)), **result.protocol}
    if "real" in result.data and len(result.data) > 1:
        fields["real images"] = result.data["real"].get("fingerprint")
    return fields


def _shown(fields: Mapping[str, Any], name: str) -> str:
    return repr(fields[name]) if name in fields else "(not given)"


def _check_comparable(baseline: Baseline, found: Mapping[str, MetricResult]) -> None:
    faults = []
    for name in baseline.keys() & found.keys():
        faults += [f"{name}: {text}" for text in differences(baseline[name].result, found[name])]
    if faults:
        raise InputError(
            "These results and the baseline were not measured alike: " + "; ".join(sorted(faults)) + ".",
            hint="Measure again with the baseline's settings, or accept these results as the new baseline.",
        )


def _moves(accepted: Accepted, result: MetricResult | None) -> list[Move]:
    metric, direction, before = accepted.result.metric, accepted.result.direction, accepted.result.values
    after = result.values if result else {}
    moves = []
    for part, old in before.items():
        new, allowed = after.get(part), accepted.allowed(part)
        change = None if new is None else new - old
        verdict = _verdict(change, allowed, direction)
        moves.append(Move(metric, part, direction, old, new, change, allowed, verdict))
    extra = [part for part in after if part not in before]
    return moves + [Move(metric, part, direction, None, after[part], None, None, "new") for part in extra]


def _verdict(change: float | None, allowed: float, direction: str) -> Verdict:
    if change is None:
        return "missing"
    if not math.isfinite(change):
        return "worse"
    # A change that equals the allowed one up to the last bits of a subtraction is allowed.
    if abs(change) <= allowed or math.isclose(abs(change), allowed, rel_tol=1e-9):
        return "same"
    return "better" if (change < 0) == (direction == "lower") else "worse"
