"""Damaged copies of stores, opened and read in a process of its own: `python -m tests.stores.fuzzing FOLDER COUNT`.

A separate process, because a crash is what must not happen: it ends by itself, hangs are cut off by an alarm, and
memory has a bound. Each line on stdout is one JSON object; what comes after the last one is what crashed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from pgtools.errors import PgtoolsError
from pgtools.stores.opening import open_source

SECONDS_A_FILE = 10
# What one damaged file of a few kilobytes may make the process allocate beyond what it had.
BOUND_BYTES = 512 << 20
WHOLE = (1 << 32) - 1
INTERESTING = (0, 1, 0x7F, 0xFF, 1 << 16, (1 << 31) - 1, WHOLE, 1 << 40, (1 << 63) - 1)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a copy with a few bytes changed, numbers replaced by extreme ones, parts cut off, repeated or swapped."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        place = int(rng.integers(len(changed))) if rng.random() < 0.5 else int(rng.integers(min(4096, len(changed))))
        kind = int(rng.integers(6))
        if kind == 0:
            changed[place] = int(rng.integers(256))
        elif kind == 1:
            width = int(rng.choice([2, 4, 8]))
            number = int(rng.choice(len(INTERESTING)))
            changed[place : place + width] = (INTERESTING[number] & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        elif kind == 2:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            size, other = int(rng.integers(1, 64)), int(rng.integers(len(changed)))
            changed[place : place + size] = changed[other : other + size]
        elif kind == 4 and rng.random() < 0.3:
            changed = changed[: max(place, 1)]
        elif kind == 5 and rng.random() < 0.3:
            changed[place:place] = changed[place : place + 512]
    return bytes(changed)


def use(path: Path, format: str | None) -> None:
    """Open a path and read what a user of it would."""
    source = open_source(path, format=format)
    last = len(source) - 1
    source.read([0, last])
    source.read([last], source.levels[-1])
    _ = source.labels
    source.records([0, last])
    source.image_hashes([last])


def outcome(path: Path, format: str | None) -> str:
    """Return what became of it: "read", "refused", or the name of an error that should not come out."""
    signal.alarm(SECONDS_A_FILE)
    try:
        use(path, format)
    except PgtoolsError as error:
        return "refused" if "\n" not in error.message else f"two lines: {error.message!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return "read"


def main(folder: Path, count: int, seed: int) -> None:
    """Damage each set below `folder` in turn, `count` times in all."""
    sets = sorted(path for path in folder.iterdir() if path.suffix != ".npy" and not path.name.startswith("."))
    for path in sets:  # every library is loaded, every cache filled, before memory is bounded
        assert outcome(path, format_of(path)) == "read", path
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BOUND_BYTES, resource.RLIM_INFINITY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders talk
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        path = sets[number % len(sets)]
        copy = folder / f".{path.name}"
        if path.is_dir():
            shutil.copytree(path, copy)
            victim = sorted(file for file in copy.rglob("*") if file.is_file())[
                int(rng.integers(1 << 30)) % count_files(copy)
            ]
        else:
            victim = Path(shutil.copy(path, copy))
        victim.write_bytes(damaged(victim.read_bytes(), rng))
        print(json.dumps({"number": number, "set": path.name, "begun": True}), flush=True)
        print(json.dumps({"number": number, "set": path.name, "outcome": outcome(copy, format_of(path))}), flush=True)
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()


def count_files(folder: Path) -> int:
    """Return how many files stand below a folder."""
    return sum(file.is_file() for file in folder.rglob("*"))


def format_of(path: Path) -> str | None:
    """Return the format to ask for, where the path does not tell it: what stands before `@` in its name."""
    return path.name.split("@")[0] if "@" in path.name else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
