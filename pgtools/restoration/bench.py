"""How fast networks restore photographs, and how much memory they take at it, in one interleaved run.

Cases take turns, so that whatever else the machine does hits all of them; the best round counts, and ratios are formed
within a round.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from pgtools.restoration.engine import Pixels
from pgtools.restoration.network import ImageNetwork
from pgtools.runtime.device import resolve_device
from pgtools.runtime.memory import highest_resident, resident_from_here
from pgtools.runtime.progress import bar


@dataclass(frozen=True)
class Case:
    """A network and how it is run; `name` is what the user called it."""

    name: str
    file: Path
    device: str
    precision: str
    tile: int
    batch: int


@dataclass(frozen=True)
class Speed:
    """What one case did.

    Attributes:
        network: its name.
        device: cpu, or the GPU's name.
        precision: what it computed in.
        tile: side of its tiles; less than asked for if memory ran out.
        batch: tiles at a time, likewise.
        photos_per_second: in the best round.
        megapixels_per_second: of the input, in the best round.
        ratio: its best round against the best one of the network's first case.
        ratio_low: the least ratio of a round.
        ratio_high: the greatest.
        peak_bytes: memory that restoring the photos took beyond the loaded network; on the CPU by the highest resident
            memory of a fresh process, None where the system does not tell.
    """

    network: str
    device: str
    precision: str
    tile: int
    batch: int
    photos_per_second: float
    megapixels_per_second: float
    ratio: float
    ratio_low: float
    ratio_high: float
    peak_bytes: int | None


def bench_restore(photos: Sequence[Pixels], cases: Sequence[Case], *, repeats: int) -> list[Speed]:
    """Return the speed of every case.

    Args:
        photos: uint8 (H, W, 3), one or more; a round restores all of them.
        cases: at least one.
        repeats: rounds, after one that is not counted.

    Raises:
        InputError: a file is no network.
        UsageError: a network does not run on this device or in this precision.
    """
    networks = [_network(case) for case in cases]
    for network in networks:
        network.load()
    seconds: list[list[float]] = [[] for _ in cases]
    with bar("Restoring", total=(repeats + 2) * len(cases)) as advance:
        peaks = []
        for case in cases:
            peaks.append(_peak(case, photos))
            advance(1)
        for counted in [False, *[True] * repeats]:
            for network, told in zip(networks, seconds, strict=True):
                begun = time.perf_counter()
                network.restore_many(photos)
                if counted:
                    told.append(time.perf_counter() - begun)
                advance(1)
    firsts = [next(i for i, other in enumerate(cases) if other.name == case.name) for case in cases]
    return [
        _speed(case, network, seconds[place], seconds[first], photos, peak)
        for place, (case, network, first, peak) in enumerate(zip(cases, networks, firsts, peaks, strict=True))
    ]


def _network(case: Case) -> ImageNetwork:
    return ImageNetwork(case.file, device=case.device, tile=case.tile, batch=case.batch, precision=case.precision)


def _speed(
    case: Case,
    network: ImageNetwork,
    seconds: Sequence[float],
    first: Sequence[float],
    photos: Sequence[Pixels],
    peak: int | None,
) -> Speed:
    device = resolve_device(case.device)
    megapixels = sum(photo.shape[0] * photo.shape[1] for photo in photos) / 1e6
    ratios = [one / other for one, other in zip(first, seconds, strict=True)]
    return Speed(
        network=case.name,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        precision=network.precision,
        tile=network.tile,
        batch=network.batch,
        photos_per_second=len(photos) / min(seconds),
        megapixels_per_second=megapixels / min(seconds),
        ratio=min(first) / min(seconds),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        peak_bytes=peak,
    )


def _peak(case: Case, photos: Sequence[Pixels]) -> int | None:
    device = resolve_device(case.device)
    if device.type == "cpu":
        fresh = multiprocessing.get_context("spawn")  # what earlier cases took and gave back is not there to be used
        with ProcessPoolExecutor(1, mp_context=fresh) as pool:
            return pool.submit(_resident, case, photos).result()
    network = _network(case)
    network.load()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    network.restore_many(photos)
    return int(torch.cuda.max_memory_allocated(device)) - int(before)


def _resident(case: Case, photos: Sequence[Pixels]) -> int | None:
    network = _network(case)
    network.load()
    before = resident_from_here()
    network.restore_many(photos)
    after = highest_resident()
    return None if before is None or after is None else after - before
