"""Measured errors as tables that any machine can check: rounding differs a little from one processor to the next."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# Errors under this are rounding of float64, whose size says nothing.
ROUNDING = 1e-12
# Two machines may sum in another order: their errors differ, but hardly by so much.
ALIKE = 10


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        what: is compared.
        held: "≤ 1e-5" or "≥ 1e-4" (a difference that must be there, or its reason is none),
            "= 16" or "equal"; nothing worse is printed.
        values: measured, one a column; None where the row does not apply.
        note: why, in a few words.
    """

    what: str
    held: str
    values: tuple[float | None, ...]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a name that marks the table in the page."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def markdown(self) -> str:
        """Return the table between its marks."""
        noted = any(row.note for row in self.rows)
        head = ["", *self.columns, "held to", *(["why"] if noted else [])]
        lines = [head, [":--", *["--:"] * len(self.columns), "--:", *([":--"] if noted else [])]]
        lines += [[row.what, *map(shown, row.values), row.held, *([row.note] if noted else [])] for row in self.rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"<!-- {self.name} -->\n\n{body}\n\n<!-- /{self.name} -->"

    def broken(self) -> list[str]:
        """Return what is worse than it is held to."""
        return [
            f"{self.name}: {row.what} measures {value:.1e}, held to {row.held}"
            for row in self.rows
            for value in row.values
            if value is not None and not _holds(value, row.held)
        ]


def shown(value: float | None) -> str:
    """Return an error as the page has it: one digit, or that there is none worth telling."""
    if value is None:
        return ""
    if value == 0:
        return "equal"
    if value >= 1:
        return str(int(value)) if value == int(value) else f"{value:.1f}"
    if value >= 0.1:
        return f"{value:.1f}"
    return "< 1e-12" if value < ROUNDING else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def differences(table: Table, page: str) -> list[str]:
    """Return where the page does not say what was measured now; the page may have more rows and columns.

    Raises:
        ValueError: the page has no such table.
    """
    printed, wrong = _read(page, table.name), table.broken()
    for what, row in _read(table.markdown(), table.name).items():
        known = printed.get(what, {})
        for column, new in row.items():
            old = known.get(column)
            if old is None or not _alike(old, new):
                wrong.append(f"{table.name}, {what}, {column}: the page has {old!r}; measured {new!r}")
    return wrong


def _read(text: str, name: str) -> dict[str, dict[str, str]]:
    """Return what a row is of → column → cell."""
    found = re.search(f"<!-- {name} -->\n\n(.*?)\n\n<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no table {name}")
    head, _, *rows = (_cells(line) for line in found[1].splitlines())
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _alike(printed: str, measured: str) -> bool:
    old, new = _number(printed), _number(measured)
    if old is None or new is None or printed.isdecimal() or measured.isdecimal():
        return printed == measured
    return abs(math.log(max(old, ROUNDING) / max(new, ROUNDING))) <= math.log(ALIKE)


def _number(cell: str) -> float | None:
    if cell in ("equal", "< 1e-12"):
        return 0.0
    return float(cell) if re.fullmatch(r"\d+(\.\d+)?(e[+-]?\d+)?", cell) else None


def _holds(value: float, held: str) -> bool:
    if held == "equal":
        return value == 0
    sign, bound = held.split()
    if sign == "=":
        return value == float(bound)
    return value <= float(bound) if sign == "≤" else value >= float(bound)
