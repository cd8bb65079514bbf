"""One seed, many independent streams, each named by what it is for."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random generator that belongs to (seed, names).

    The same arguments always give the same numbers; different names give independent ones, whatever else
    was drawn before. An integer name is for items of a series: `stream(seed, "latents", 7)`.

    Convention: names are hashed with SHA-256 into `numpy.random.SeedSequence` spawn keys, the generator is PCG64.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=_spawn_key(names))))


def integer_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for libraries that take one integer (torch.Generator), from the same names."""
    sequence = np.random.SeedSequence(seed, spawn_key=_spawn_key(names))
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def _spawn_key(names: tuple[str | int, ...]) -> tuple[int, ...]:
    key: list[int] = []
    for name in names:
        if isinstance(name, int):
            key.append(name)
        else:
            digest = hashlib.sha256(name.encode()).digest()
            key.append(int.from_bytes(digest[:4], "little"))
    return tuple(key)
