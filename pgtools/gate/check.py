"""A check as a whole: every figure's move, and the sentences that every way to write it shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgtools.errors import InputError
from pgtools.gate.baseline import Baseline
from pgtools.gate.compare import Move, compare, environment_notes, failures
from pgtools.gate.power import SHARE, chance_of_any, in_words
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
        InputError: `only` names what the baseline does not have, or results and baseline were not measured alike.
    """
    if unknown := [name for name in only if name not in baseline]:
        raise InputError(f"The baseline has no {unknown[0]}.", hint=f"It has {', '.join(baseline) or 'nothing'}.")
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
        return f"{len(failed)} of {len(done.moves)} figures fail the gate: {names}."
    counts = Counter(move.verdict for move in done.moves)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in ("same", "better", "new") if counts[kind])
    return f"All figures pass the gate: {told}." if done.moves else "The baseline is empty: nothing was checked."


def remarks(done: Check) -> list[str]:
    """Return what a reader should know beside the table, a line each: power, false alarms, gains to hold, notes."""
    lines = []
    if any(move.power.notices is not None for move in done.moves):
        lines.append(NOTICES)
        lines.append(alarms_sentence(done.alarms))
    without = [move.name for move in done.moves if move.verdict != "new" and move.power.notices is None]
    if without:
        lines.append(f"Without a standard error, so that chance is not known: {', '.join(without)}.")
    if better := [move.name for move in done.moves if move.verdict == "better"]:
        lines.append(f"Better than accepted: {', '.join(better)}. `pgtools gate accept` holds the gain.")
    lines += [f"Note: {text}." for text in done.notes]
    return list(map(printable, lines))


NOTICES = (
    f"“notices”: a true change for the worse of this size fails in {100 * SHARE:.0f} of 100 checks; "
    "smaller ones may pass. More images or a smaller tolerance bring it down."
)


def alarms_sentence(rate: float) -> str:
    """Return how often a check fails by chance."""
    often = "a check may always fail" if rate >= 1 else f"at most {in_words(rate)} fails"
    return f"Where nothing has changed, {often} by chance, all figures together."


def number(value: float | None, sign: str = "") -> str:
    """Return a figure with four digits, "-" for none; `sign` "+" shows the sign, "±" stands before."""
    if value is None:
        return "-"
    return f"{value:+.4g}" if sign == "+" else f"{sign}{value:.4g}"


def notices(value: float | None, accepted: float | None, direction: str) -> str:
    """Return the change that is noticed, signed as worse, and relative to the accepted value: "+0.66 (6.6%)"."""
    if value is None:
        return "-"
    signed = number(value if direction == "lower" else -value, "+")
    if not accepted:
        return signed
    percent = 100 * value / abs(accepted)
    return f"{signed} ({percent:{'.0f' if percent >= 10 else '.2g'}}%)"


def printable(text: str) -> str:
    """Return text on one line; characters that steer a terminal, or that XML cannot hold, become U+FFFD."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def _named(move: Move) -> str:
    return move.name + (" (missing)" if move.verdict == "missing" else "")
