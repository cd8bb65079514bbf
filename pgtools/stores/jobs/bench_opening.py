"""What opening a large LMDB costs beside a small one: seconds and memory, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.files import check_free_space, remove
from pgtools.runtime.memory import highest_resident, resident_from_here
from pgtools.runtime.progress import track
from pgtools.runtime.seeds import stream
from pgtools.stores.formats.lmdb import DATA_FILE, LmdbStore
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, output, write_stores

SIDE = 32
READ = 200
OPENED = 5
# A 32² image at all levels, its record and the pages between.
BYTES_PER_IMAGE = 8000


@dataclass(frozen=True)
class Opening:
    """What opening one store cost.

    Attributes:
        images: that it holds.
        bytes: of its file.
        write: images per second while it was written.
        open_ms: milliseconds until it was open, the best of five.
        read_ms: milliseconds a random image took after that.
        resident_bytes: by how much opening it and reading 200 images raised the highest resident memory of a fresh
            process; None where the system does not tell (anything but Linux).
        traced_bytes: the most that Python held for the same (tracemalloc).
    """

    images: int
    bytes: int
    write: float
    open_ms: float
    read_ms: float
    resident_bytes: int | None
    traced_bytes: int


def bench_opening(images: Sequence[NDArray[np.uint8]], counts: Sequence[int], folder: Path) -> list[Opening]:
    """Write an LMDB of each count, open it in a fresh process, and remove it again.

    Args:
        images: uint8 (3, 32, 32), used again and again.
        counts: how many images each store is to hold.
        folder: where the stores go.

    Raises:
        InputError: there are no images, or one is of another size.
        OutputError: the disk is too full.
    """
    if not images or any(image.shape != (3, SIDE, SIDE) for image in images):
        raise InputError(f"{len(images)} images; expected one or more of (3, {SIDE}, {SIDE}).")
    check_free_space(folder, max(counts) * BYTES_PER_IMAGE)
    return [_bench_one(images, count, folder / f"opening-{count}.lmdb") for count in counts]


def _bench_one(images: Sequence[NDArray[np.uint8]], count: int, path: Path) -> Opening:
    items = (Item(images[i % len(images)], Record(f"{i:08d}.png")) for i in range(count))
    try:
        begun = time.perf_counter()
        write_stores([output(path, "lmdb")], track(items, f"Writing {count:,} images", count), Plan(count, SIDE))
        rate = count / (time.perf_counter() - begun)
        size = (path / DATA_FILE).stat().st_size
        fresh = multiprocessing.get_context("spawn")  # a fork would start with this process's memory
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            resident, open_ms, read_ms = pool.submit(_timed, path).result()
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            traced = pool.submit(_traced, path).result()
    finally:
        remove(path)
    return Opening(count, size, rate, open_ms, read_ms, resident, traced)


def _timed(path: Path) -> tuple[int | None, float, float]:
    before = resident_from_here()
    begun = time.perf_counter()
    store = LmdbStore(path)
    opened = [time.perf_counter() - begun]
    order = _order(store)
    begun = time.perf_counter()
    for index in order:
        store.read([index])
    read = (time.perf_counter() - begun) / len(order)
    after = highest_resident() if before is not None else None
    for _ in range(OPENED - 1):
        begun = time.perf_counter()
        LmdbStore(path)
        opened.append(time.perf_counter() - begun)
    grown = None if before is None or after is None else after - before
    return grown, min(opened) * 1000, read * 1000


def _traced(path: Path) -> int:
    tracemalloc.start()
    store = LmdbStore(path)
    for index in _order(store):
        store.read([index])
    return tracemalloc.get_traced_memory()[1]


def _order(store: LmdbStore) -> list[int]:
    order: list[int] = stream(0, "bench-opening").integers(0, len(store), READ).tolist()
    return order
