"""The columns of a manifest: name, type and text of each, said once for writing and reading, CSV and Parquet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Kind = type[bool] | type[int] | type[float] | type[str]

_SPECIAL = re.compile(r'[,"\r\n]')

POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
CORNERS = ("tl", "bl", "br", "tr")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: in the header.
        kind: type of its values; None stands for an empty cell.
        decimals: of a float.
        source: what an annotation calls the attribute in it; "" for the manifest's own columns.
    """

    name: str
    kind: Kind
    decimals: int = 0
    source: str = ""

    def rounded(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the values as they are written; floats have the column's decimals, and zero has no sign."""
        if self.kind is not float:
            return values
        return [None if value is None else round(value, self.decimals) + 0.0 for value in values]

    def texts(self, values: Sequence[Any]) -> list[str]:
        """Return the cells of the CSV for rounded values: bools as yes and no, empty where there is no value."""
        if self.kind is str:
            return ["" if value is None else quoted(value) for value in values]
        if self.kind is bool:
            return ["yes" if value else "no" for value in values]
        if self.kind is int:
            return ["" if value is None else str(value) for value in values]
        return ["" if value is None else f"{value:.{self.decimals}f}" for value in values]

    def value(self, cell: str) -> bool | int | float | str | None:
        """Return the value that a cell of the CSV stands for; of an attribute an int where it reads as one, else text.

        Raises:
            ValueError: it stands for none of this kind.
        """
        if self.kind is bool:
            if cell not in ("yes", "no"):
                raise ValueError(f"{self.name} is {cell[:40]!r}; expected yes or no")
            return cell == "yes"
        if not cell:
            return None
        if self.source:
            return int(cell) if re.fullmatch(r"-?[0-9]{1,18}", cell) else cell
        try:
            return self.kind(cell)
        except ValueError:
            expected = "a whole number" if self.kind is int else "a number"
            raise ValueError(f"{self.name} is {cell[:40]!r}; expected {expected}") from None


OWN = (
    Column("index", int),
    Column("file", str),
    Column("face", int),
    Column("kept", bool),
    Column("score", float, 6),
    Column("rank", int),
    Column("reason", str),
    Column("sha256", str),
    Column("width", int),
    Column("height", int),
    Column("landmarks_source", str),
    *(Column(f"{point}_{axis}", float, 3) for point in POINTS for axis in "xy"),
    *(Column(f"quad_{corner}_{axis}", float, 3) for corner in CORNERS for axis in "xy"),
    Column("zoom", float, 6),
    Column("steps", str),
    *(Column(f"{role}{what}", str) for role in ("restore", "superres", "detector") for what in ("", "_sha256")),
    Column("crop_sha256", str),
)


def attribute_columns(known: Iterable[Mapping[str, bool | int | str]]) -> list[Column]:
    """Return a column for each attribute that any photo has, in the order of their first mention.

    One that is called like a column of the manifest's own gets "attribute_" before its name. Where an attribute is
    text for any photo, its column is text.
    """
    kinds: dict[str, Kind] = {}
    for attributes in known:
        for name, value in attributes.items():
            if isinstance(value, str) or name not in kinds:
                kinds[name] = str if isinstance(value, str) else int
    own = {column.name for column in OWN}
    return [Column(f"attribute_{name}" if name in own else name, kind, source=name) for name, kind in kinds.items()]


def header_columns(header: Sequence[str]) -> list[Column] | None:
    """Return the columns that a CSV's first line names, its attributes last, or None if it is no manifest's."""
    if list(header[: len(OWN)]) != [column.name for column in OWN]:
        return None
    return [*OWN, *(Column(name, str, source=name) for name in header[len(OWN) :])]


def quoted(text: str) -> str:
    """Return a text as a cell of a CSV; a carriage return is quoted too, which Python's own writer may leave bare."""
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text
