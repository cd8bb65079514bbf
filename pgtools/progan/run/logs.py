"""JSON lines of a run: each is on disk as soon as it is written, and half a line that a crash left does no harm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pgtools.errors import OutputError, PgtoolsError
from pgtools.runtime.files import written_aside
from pgtools.runtime.results import MetricResult, result_from_dict


def append_line(log: Path, line: dict[str, Any]) -> None:
    """Add one JSON line to a log, on disk when this returns.

    Raises:
        OutputError: a figure is NaN or infinite, which JSON has no word for.
    """
    try:
        data = json.dumps(line, allow_nan=False).encode()
    except ValueError:
        raise OutputError(f"A figure for {log} is not finite; it is not written.") from None
    with log.open("a+b") as file:
        if file.tell() and _last_byte(file) != b"\n":  # half a line, left by a full disk
            data = b"\n" + data
        file.write(data + b"\n")
        file.flush()
        os.fsync(file.fileno())


def trim(log: Path, images: int) -> None:
    """Drop the lines of later moments, and those cut short."""
    if not log.exists():
        return
    lines = log.read_text("utf-8", "replace").splitlines()
    kept = [line for line in lines if _images_in(line) <= images]
    if kept != lines:
        with written_aside(log) as aside:
            aside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def scores_in(log: Path) -> Iterator[tuple[int, MetricResult]]:
    """Yield (images, result) of every whole line of a file of scores."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    for line in text.splitlines():
        try:
            value = json.loads(line)
            yield int(value["images"]), result_from_dict(value["result"], where=log.name)
        except (ValueError, KeyError, TypeError, PgtoolsError):
            continue  # a line cut short by a crash


def _images_in(line: str) -> float:
    """The images shown at a log line; a line cut short by a crash counts as after everything."""
    try:
        return float(json.loads(line)["images"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
