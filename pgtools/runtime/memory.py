"""How much memory this process had resident at most, and how much is left, where the system tells (Linux)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

# Files of a control group: its limits, what it uses, and the entries of memory.stat that tell the part of this which is
# page cache of files not in use. Version 2's count the groups below with it; version 1's do where they begin so.
_V2 = ("memory.max", "memory.high"), "memory.current", ("inactive_file",)
_V1 = ("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "inactive_file")


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


def available_memory(root: Path = Path("/")) -> int | None:
    """Return how many bytes processes can still take before the system swaps or kills, or None.

    In a container or a job of a cluster the control group's limit counts, and those of the groups it is in, where they
    leave less than the machine has. Page cache that can be dropped counts as free, as in MemAvailable.

    Args:
        root: of the file system that holds `proc` and `sys`.
    """
    found = [_bytes_in(root / "proc/meminfo", "MemAvailable"), *map(_left, _groups(root))]
    return min((left for left in found if left is not None), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of all it is in, of both versions.

    In a container the names may be those outside of it: folders that are not there tell nothing, and the outermost is
    the container's own.
    """
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        group = PurePosixPath(name.lstrip("/"))
        for one in (group, *group.parents):
            if ".." not in one.parts:
                yield (mounted / "memory" if controllers else mounted) / one


def _left(group: Path) -> int | None:
    """Bytes that a control group may still take; None if it has no limit."""
    limits, usage, idle = _V1 if group.joinpath(_V1[1]).exists() else _V2
    known = [int(text) for text in (_text(group / limit).strip() for limit in limits) if text.isdigit()]
    used = _text(group / usage).strip()
    if not known or not used.isdigit():
        return None
    stat = dict(line.split(maxsplit=1) for line in _text(group / "memory.stat").splitlines() if " " in line)
    cache = next((int(stat[entry]) for entry in idle if stat.get(entry, "").isdigit()), 0)
    return max(0, min(known) - max(0, int(used) - cache))


def _bytes_in(file: Path, entry: str) -> int | None:
    found = re.search(rf"^{entry}:\s+(\d+) kB$", _text(file), re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _text(file: Path) -> str:
    """What a small file says; nothing if it is not there."""
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""
