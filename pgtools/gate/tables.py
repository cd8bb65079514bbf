"""A check as text for a terminal and as Markdown for a pull request: the same rows, the same sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pgtools.gate.check import Check, notices, remarks, verdict
from pgtools.gate.compare import FAILURES, Move
from pgtools.gate.words import number, printable

COLUMNS = ("metric", "part", "accepted", "now", "change", "may change", "notices", "better", "verdict")
# What Markdown on GitHub and GitLab could read as more than a character.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>#!|~&$^]")


def as_text(done: Check, *, with_verdict: bool = True) -> str:
    """Return a table, what a reader should know beside it, and the verdict, if nobody else tells that."""
    table = aligned(COLUMNS, [_row(move) for move in done.moves])
    told = [*remarks(done), *([verdict(done)] if with_verdict else [])]
    return "\n".join([*table, "", *told, ""])


def as_markdown(done: Check) -> str:
    """Return a comment for a pull request: the verdict first, then the table, then how it was measured, folded."""
    head = "Gate failed" if done.failed else "Gate passed"
    rows = [_bold(move) for move in done.moves]
    table = [_line(COLUMNS), "|" + " --- |" * 2 + " ---: |" * 5 + " --- |" * 2, *map(_line, rows)]
    facts = [(metric, name, repr(value)) for metric, table_ in done.protocols.items() for name, value in table_.items()]
    details = [_line(("metric", "setting", "value")), "|" + " --- |" * 3, *(_line(map(escaped, row)) for row in facts)]
    return "\n".join(
        [
            f"### {head}",
            "",
            escaped(verdict(done)),
            "",
            *table,
            "",
            *(f"- {escaped(text)}" for text in remarks(done)),
            "",
            "<details><summary>How it was measured</summary>",
            "",
            *details,
            "",
            "</details>",
            "",
        ]
    )


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of columns: the first two and the last flushed left, the others right."""
    table = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = {0, 1, len(columns) - 1}
    lines = []
    for row in table:
        cells = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line, also inside a table."""
    return _SPECIAL.sub(r"\\\g<0>", printable(text))


def _row(move: Move) -> tuple[str, ...]:
    changes = (number(move.change, "+"), number(move.allowed, "±"))
    noticed = notices(move.power.notices, move.accepted, move.direction)
    figures = (number(move.accepted), number(move.value), *changes, noticed)
    return tuple(map(printable, (move.metric, move.part, *figures, move.direction, move.verdict)))


def _bold(move: Move) -> list[str]:
    *cells, last = map(escaped, _row(move))
    return [*cells, f"**{last}**" if move.verdict in FAILURES else last]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
