"""How much memory this process had resident at most, and how much is left, where the system tells (Linux)."""

from __future__ import annotations

import re
from pathlib import Path


def resident_from_here() -> int | None:
    """Let the highest resident memory count from now on, and return it; None where the system has no such thing.

    `ru_maxrss` will not do: it cannot be set back from what imports took for a moment, and a spawned process starts
    with its parent's.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return highest_resident()


def highest_resident() -> int | None:
    """Return the highest resident memory in bytes since `resident_from_here`, or None."""
    return _bytes_in(Path("/proc/self/status"), "VmHWM")


def available_memory() -> int | None:
    """Return how many bytes processes can still take before the system swaps or kills, or None."""
    return _bytes_in(Path("/proc/meminfo"), "MemAvailable")


def _bytes_in(file: Path, entry: str) -> int | None:
    try:
        text = file.read_text("ascii", "replace")
    except OSError:
        return None
    found = re.search(rf"^{entry}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
