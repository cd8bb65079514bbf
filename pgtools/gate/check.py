"""A check as a whole: every figure's move, and the sentences that every way to write it shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgtools.errors import UsageError
from pgtools.gate.baseline import Baseline
from pgtools.gate.compare import Move, compare, environment_notes, failures
from pgtools.gate.power import SHARE, chance_of_any, fails
from pgtools.gate.words import number, printable
from pgtools.runtime.results import MetricResult


@dataclass(frozen=True)
class Check:
    """What became of all figures.

    Attributes:
        moves: every figure's, the baseline's first.
        notes: what else is worth a line, e.g. another device.
        protocols: metric → how it was measured.
    """

    moves: Sequence[Move]
    notes: Sequence[str] = ()
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def failed(self) -> list[Move]:
        """The moves that fail the gate."""
        return failures(self.moves)

    @property
    def alarms(self) -> float:
        """An upper bound for the share of checks that fail by chance alone."""
        return chance_of_any(move.power.alarms for move in self.moves)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "passed": not self.failed,
            "verdict": verdict(self),
            "false_alarms_at_most": self.alarms,
            "noticed_share": SHARE,
            "notes": list(self.notes),
            "moves": [move.as_dict() for move in self.moves],
            "protocols": self.protocols,
        }


def check(baseline: Baseline, results: Sequence[MetricResult], *, only: Sequence[str] = ()) -> Check:
    """Return what became of the figures.

    Args:
        baseline: what was accepted.
        results: what was measured, one a metric.
        only: metrics to check; all if empty.

    Raises:
        UsageError: `only` names what the baseline does not have.
        InputError: results and baseline were not measured alike.
    """
    if unknown := [name for name in only if name not in baseline]:
        raise UsageError(
            f"--only is {unknown[0]}, which the baseline does not have.",
            hint=f"It has {', '.join(baseline) or 'nothing'}.",
        )
    chosen = {name: accepted for name, accepted in baseline.items() if not only or name in only}
    results = [result for result in results if not only or result.metric in only]
    moves = compare(chosen, results)
    measured = [accepted.result for accepted in chosen.values()]
    measured += [result for result in results if result.metric not in chosen]
    protocols = {result.metric: result.protocol for result in measured}
    return Check(moves, environment_notes(chosen, results), protocols)


def verdict(done: Check) -> str:
    """Return the outcome as one sentence."""
    failed = done.failed
    if failed:
        names = printable(", ".join(map(_named, failed)))
        if len(done.moves) == 1:
            return f"The only figure fails the gate: {names}."
        return f"{len(failed)} of {len(done.moves)} figures fail{'s' if len(failed) == 1 else ''} the gate: {names}."
    counts = Counter(move.verdict for move in done.moves)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in ("same", "better", "new") if counts[kind])
    if not done.moves:
        return "The baseline is empty: nothing was checked."
    return f"{'The only figure passes' if len(done.moves) == 1 else 'All figures pass'} the gate: {told}."


def next_step(done: Check) -> str:
    """Return what to do about a check that failed, as a hint."""
    measured = {move.metric for move in done.moves if move.value is not None}
    missing = list(dict.fromkeys(move.metric for move in done.failed if move.metric not in measured))
    steps = []
    if any(move.metric in measured for move in done.failed):
        steps.append("If this change is meant, `pgtools gate accept` makes the results the new baseline.")
    if missing:
        others = [name for name in dict.fromkeys(move.metric for move in done.moves) if name in measured]
        without = f", or check without: {' '.join(f'--only {name}' for name in others)}" if others else ""
        steps.append(f"Measure {', '.join(missing)} as well{without}.")
    return printable(" ".join(steps))


def remarks(done: Check) -> list[str]:
    """Return what a reader should know beside the table, a line each: power, false alarms, gains to hold, notes."""
    lines = []
    if any(move.power.notices is not None for move in done.moves):
        lines.append(NOTICES)
        lines.append(alarms_sentence(done.alarms, len(done.moves)))
    without = [move.name for move in done.moves if move.verdict != "new" and move.power.notices is None]
    if without:
        lines.append(f"Without a standard error, so that chance is not known: {', '.join(without)}.")
    if better := [move.name for move in done.moves if move.verdict == "better"]:
        lines.append(f"Better than accepted: {', '.join(better)}. `pgtools gate accept` holds the gain.")
    lines += [f"Note: {text}." for text in done.notes]
    return list(map(printable, lines))


NOTICES = (
    f"“notices”: a true change for the worse of this size fails in {100 * SHARE:.0f} of 100 checks; "
    "smaller ones may pass. More images bring it down; so does a smaller tolerance, at the price of more false alarms."
)


def alarms_sentence(rate: float, figures: int) -> str:
    """Return how often a check of so many figures fails by chance."""
    often = "a check may always fail" if rate >= 1 else f"at most {fails(rate)}"
    return f"Where nothing has changed, {often} by chance{', all figures together' if figures > 1 else ''}."


def notices(value: float | None, accepted: float | None, direction: str) -> str:
    """Return the change that is noticed, signed as worse, and relative to the accepted value: "+0.66 (6.6%)"."""
    if value is None:
        return "-"
    signed = number(value if direction == "lower" else -value, "+")
    if not accepted:
        return signed
    percent = 100 * value / abs(accepted)
    return f"{signed} ({percent:{'.0f' if percent >= 10 else '.2g'}}%)"


def _named(move: Move) -> str:
    return move.name + (" (missing)" if move.verdict == "missing" else "")
