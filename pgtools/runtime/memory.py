"""How much memory this process had resident at most, where the system tells (Linux)."""

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
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None
