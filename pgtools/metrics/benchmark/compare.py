"""How long SWD and MS-SSIM take, phase by phase, beside the plain NumPy and SciPy route, in interleaved rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pgtools.errors import InputError
from pgtools.metrics.benchmark.rounds import CPU, PIXELS_READ, Case, Run, levels_of, run_once
from pgtools.metrics.settings import SwdSettings
from pgtools.runtime.files import human_bytes
from pgtools.runtime.memory import available_memory

_WARM_UP = 8


@dataclass(frozen=True)
class Speed:
    """One route in all rounds: medians, and the range over rounds.

    Attributes:
        route: "pgtools" or "plain".
        ratio: how many times as long the plain route took, round by round; ours against itself is not told.
        agreement: the largest difference from the plain route: relative for SWD, absolute for MS-SSIM.
    """

    metric: str
    side: int
    count: int
    route: str
    device: str
    seconds: float
    seconds_low: float
    seconds_high: float
    phases: dict[str, float]
    drawing: float
    errors: float
    peak_bytes: int | None
    figure: float
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    agreement: float | None = None


def bench_metrics(cases: Sequence[Case], *, rounds: int) -> list[Speed]:
    """Return the speeds of every case, ours first, then the plain route where it is asked for.

    In a round the routes take turns, so that whatever else the machine does hits both; each has a short run before.

    Raises:
        InputError: the plain route would not fit into memory.
    """
    for case in cases:
        _check_memory(case)
    found: list[Speed] = []
    for case in cases:
        routes = ("pgtools", "plain") if case.plain else ("pgtools",)
        for route in routes:
            run_once(replace(case, count=min(case.count, _WARM_UP)), route)
        runs: dict[str, list[Run]] = {route: [] for route in routes}
        for _ in range(rounds):
            for route in routes:
                runs[route].append(run_once(case, route))
        found += [_speed(case, route, runs) for route in routes]
    return found


def default_pairs(side: int, images: int) -> int:
    """Return how many pairs are measured where nobody says: of four million pixels, of no more images than given."""
    return max(4, min(images // 2, PIXELS_READ // side**2))


def _check_memory(case: Case) -> None:
    """Raise InputError where the plain route, which keeps every descriptor, would not fit."""
    free = available_memory()
    if not case.plain or case.metric != "swd" or free is None:
        return
    settings = SwdSettings()
    level = case.count * settings.neighbourhoods * 3 * settings.size**2 * 4
    # Both sets, and while one level is put together its patches again and their squares in double.
    needed = (2 * len(levels_of(case.side)) + 4) * level
    if needed > free:
        raise InputError(
            f"The plain route keeps all patches: {human_bytes(needed)} at {case.count} images of {case.side}², "
            f"and {human_bytes(free)} are free.",
            hint="Pass --no-plain, or a smaller --num-images.",
        )


def _speed(case: Case, route: str, runs: dict[str, list[Run]]) -> Speed:
    mine = runs[route]
    seconds = [run.seconds for run in mine]
    names = dict.fromkeys(name for run in mine for name in run.phases)
    peaks = [run.peak_bytes for run in mine if run.peak_bytes is not None]
    speed = Speed(
        metric=case.metric,
        side=case.side,
        count=case.count,
        route=route,
        device=str(case.device if route == "pgtools" else CPU),
        seconds=statistics.median(seconds),
        seconds_low=min(seconds),
        seconds_high=max(seconds),
        phases={name: statistics.median(run.phases.get(name, 0.0) for run in mine) for name in names},
        drawing=statistics.median(run.drawing for run in mine),
        errors=statistics.median(run.errors for run in mine),
        peak_bytes=int(statistics.median(peaks)) if peaks else None,
        figure=float(mine[0].figures.mean()),
    )
    if route == "plain" or "plain" not in runs:
        return speed
    ratios = [theirs.seconds / ours.seconds for ours, theirs in zip(mine, runs["plain"], strict=True)]
    gap = np.abs(mine[0].figures - runs["plain"][0].figures)
    if case.metric == "swd":
        gap /= np.maximum(np.abs(runs["plain"][0].figures), np.finfo(float).tiny)
    return replace(
        speed,
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        agreement=float(gap.max()),
    )
