"""CelebA's tables of numbers a photo: attributes, identities, splits; its own text, and Kaggle's CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError

# The numbers of list_eval_partition.
PARTS = ("train", "valid", "test")
ATTRIBUTES, IDENTITIES, PARTITION = "list_attr_celeba", "identity_CelebA", "list_eval_partition"
COUNT = re.compile(r"\s*(\d{1,9})\s*", re.ASCII)

Rows = Iterator[tuple[int, Sequence[str]]]


@dataclass(frozen=True)
class Table:
    """An annotation file.

    Attributes:
        where: names the file in errors.
        columns: names of its numbers.
        rows: image → its row.
        values: int32 (rows, columns).
    """

    where: str
    columns: tuple[str, ...]
    rows: dict[str, int]
    values: NDArray[np.int32]

    def of(self, image: str) -> list[int]:
        """Return the numbers of an image.

        Raises:
            InputError: the file does not list it.
        """
        if image not in self.rows:
            raise InputError(f"{self.where} does not list {image}.", hint="Get the annotation files again.")
        return [int(value) for value in self.values[self.rows[image]]]


def read_attributes(data: bytes, where: str) -> Table:
    """Return the table of attributes, 1 where a photo has one, else -1.

    As text: the number of photos, the names, then a line for each photo. As CSV: `image_id` and the names, then a line
    for each photo.

    Args:
        data: the file's bytes.
        where: names the file in errors; .csv at its end makes it CSV.

    Raises:
        InputError: it is not such a table; the first bad line is named.
    """
    text = decoded(data, where)
    if _is_csv(where):
        rows = csv_rows(text, where)
        _, header = next(rows, (1, ()))
        names = tuple(header[1:])
        if not names or len(set(names)) != len(names):
            raise InputError(f"{where}: line 1 is no name column and names of attributes.")
        return _collect(where, rows, names, allowed=(-1, 1))
    rows = text_rows(text)
    first, second = text.split("\n", 2)[:2] if "\n" in text else (text, "")
    counted, names = COUNT.fullmatch(first), tuple(second.split())
    if not counted or not names or len(set(names)) != len(names):
        raise InputError(f"{where}: lines 1 and 2 are no count and names of attributes.")
    table = _collect(where, (row for row in rows if row[0] > 2), names, allowed=(-1, 1))
    if len(table.rows) != int(counted[1]):
        raise InputError(f"{where}: line 1 says {counted[1]} photos; {len(table.rows)} follow: is it cut short?")
    return table


def read_identities(data: bytes, where: str) -> Table:
    """Return the number of the person in each photo: lines of a name and a number; see `read_attributes`."""
    return _plain(data, where, "identity", range(1 << 31))


def read_partition(data: bytes, where: str) -> Table:
    """Return the split of each photo, an index into `PARTS`: lines of a name and a number; see `read_attributes`."""
    return _plain(data, where, "split", range(len(PARTS)))


READERS: dict[str, Callable[[bytes, str], Table]] = {
    ATTRIBUTES: read_attributes,
    IDENTITIES: read_identities,
    PARTITION: read_partition,
}


def decoded(data: bytes, where: str) -> str:
    """Return a table's bytes as text, without a mark of their order; the ends of its lines stay, LF or CRLF.

    Raises:
        InputError: they are no UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: is no text in UTF-8, byte {error.start} on; expected a table.") from None


def text_rows(text: str) -> Rows:
    """Yield (line number, words) of every line that is not blank."""
    for number, line in enumerate(text.split("\n"), start=1):
        if words := line.split():
            yield number, words


def csv_rows(text: str, where: str) -> Rows:
    """Yield (line number, cells) of every row that is not blank, the header among them.

    A cell in quotes may hold line ends; the number is that of the row's last line.

    Raises:
        InputError: it is no CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{where}: line {reader.line_num} is no CSV ({error}).") from None


def _is_csv(where: str) -> bool:
    return where.lower().endswith(".csv")


def _plain(data: bytes, where: str, column: str, allowed: Sequence[int]) -> Table:
    text = decoded(data, where)
    rows = csv_rows(text, where) if _is_csv(where) else text_rows(text)
    if _is_csv(where):
        next(rows, None)
    return _collect(where, rows, (column,), allowed=allowed)


def _collect(where: str, rows: Rows, columns: tuple[str, ...], *, allowed: Sequence[int]) -> Table:
    found: dict[str, int] = {}
    values: list[NDArray[np.int32]] = []
    for number, words in rows:
        row = _row(words[1:], allowed)
        if row is None or len(row) != len(columns) or words[0] in found:
            raise InputError(
                f"{where}: line {number} is {' '.join(words)[:80]!r}; expected a photo named once and its "
                f"{len(columns)} numbers from {allowed[0]} to {allowed[-1]}.",
                hint="Get the file again.",
            )
        found[words[0]] = len(values)
        values.append(row)
    return Table(where, columns, found, np.array(values, np.int32).reshape(-1, len(columns)))


def _row(words: Sequence[str], allowed: Sequence[int]) -> NDArray[np.int32] | None:
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        return None
    return np.array(numbers, np.int32) if all(number in allowed for number in numbers) else None
