"""Results as JSON lines: each is on disk as soon as it is known, and what a killed command left is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from pgtools.errors import InputError, OutputError
from pgtools.runtime.files import written_aside
from pgtools.runtime.results import MetricResult, result_from_dict


class ResultLog:
    """A file of results, one a line, in the order in which they were measured.

    Args:
        path: the file, there or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[MetricResult]:
        """Return the results; a last line that a killed command cut short is left out.

        Raises:
            InputError: another line is damaged or is no result, or the file cannot be read.
        """
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}).") from None
        # What follows the last line break was never finished, whatever it looks like.
        return [self._parsed(number, line) for number, line in enumerate(lines[:-1], start=1) if line.strip()]

    def rewrite(self, results: Sequence[MetricResult]) -> None:
        """Put these results in place of what the file holds, whole or not at all."""
        with written_aside(self.path) as aside:
            aside.write_bytes(_lines(results, self.path))

    def add(self, results: Sequence[MetricResult]) -> None:
        """Append results; they are on disk when this returns.

        Raises:
            OutputError: a figure is NaN or infinite, which JSON has no word for.
        """
        data = _lines(results, self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _parsed(self, number: int, line: bytes) -> MetricResult:
        where = f"{self.path}, line {number},"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not JSON ({error}).", hint="Name another file.") from None
        return result_from_dict(value, where=where)


def _lines(results: Sequence[MetricResult], path: Path) -> bytes:
    try:
        return b"".join(json.dumps(result.as_dict(), allow_nan=False).encode() + b"\n" for result in results)
    except ValueError:
        raise OutputError(f"A figure for {path} is not finite; it is not written.") from None
