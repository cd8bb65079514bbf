"""One round of the benchmark: SWD or MS-SSIM on drawn images, by ours or by the plain route, and what it took."""

from __future__ import annotations

import contextlib
import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.metrics.benchmark.images import DrawnImages
from pgtools.metrics.benchmark.plain import msssim as plain_msssim
from pgtools.metrics.benchmark.plain import swd as plain_swd
from pgtools.metrics.measure import Role, SetOfImages
from pgtools.metrics.msssim import ms_ssim
from pgtools.metrics.phases import measured
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.draws import draw_directions, draw_positions
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.runtime.memory import highest_resident, resident_from_here

CPU = torch.device("cpu")
Images = dict[Role, DrawnImages]
# Read at once, and pairs where nobody says how many: of four million pixels.
PIXELS_READ = 1 << 22
_ROLES: tuple[Role, Role] = ("real", "fake")
# fftconvolve is quickest while its work fits the cache: four pairs of 128² at once, larger ones alone.
_PLAIN_PIXELS = 1 << 16


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        metric: "swd" or "msssim".
        side: of the images in pixels.
        count: images a set for SWD, pairs for MS-SSIM.
        device: where ours computes.
        plain: whether the plain route, which knows the CPU alone, is timed beside it.
    """

    metric: str
    side: int
    count: int
    device: torch.device
    plain: bool


@dataclass
class Run:
    """One round of one route.

    Attributes:
        seconds: of computing the figure, with the images in memory.
        phases: name → seconds, as far as the route tells them.
        drawing: seconds that making the images took beside.
        errors: seconds that standard errors and floors took beside, which the plain route does not tell.
        peak_bytes: the highest memory beyond what was held before, or None where nobody tells.
        figures: SWD × 1000 a level, or the score of each pair.
    """

    seconds: float
    phases: dict[str, float]
    drawing: float
    errors: float
    peak_bytes: int | None
    figures: NDArray[np.float64]


class _Watch:
    """Adds up the seconds of computing the figure, and apart from them those of making images.

    Args:
        device: what it was given is waited for.
        phases: name → seconds, filling.
    """

    def __init__(self, device: torch.device, phases: dict[str, float]) -> None:
        self.device, self.computing, self.drawing, self.errors = device, 0.0, 0.0, 0.0
        self.phases: dict[str, float] | None = None
        self.highest: int | None = None
        self._live, self._since = phases, time.perf_counter()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        return passed

    def stop(self) -> None:
        """The figure is there: what comes after is not counted."""
        if self.phases is None:
            self.computing += self.lap()
            self.phases, self.highest = dict(self._live), _highest_memory(self.device)


def run_once(case: Case, route: str) -> Run:
    """Return one round of one route, "pgtools" or "plain"."""
    device = case.device if route == "pgtools" else CPU
    roles: tuple[Role, ...] = _ROLES if case.metric == "swd" else ("fake",)
    images = {role: DrawnImages(case.side, _images_read(case), role, device) for role in roles}
    before = _memory_from_here(device)
    with measured() as live:
        watch = _Watch(device, live)
        figures = _ROUTES[case.metric, route](case, images, watch)
        watch.stop()
    peak = None if before is None or watch.highest is None else max(0, watch.highest - before)
    return Run(watch.computing, watch.phases or {}, watch.drawing, watch.errors, peak, figures)


def _swd_ours(case: Case, images: Images, watch: _Watch) -> NDArray[np.float64]:
    bare, collected = SwdMeasure(replace(SwdSettings(), replicates=0)), {}
    for role in _ROLES:
        about = SetOfImages("drawn images", role, case.count, case.side)
        collected[role] = collector = bare.recipe(role).begin(about, case.device)
        for indices, batch in _batches(case, images[role], watch):
            collector.update(batch, indices)
        collector.finish()
    try:
        watch.computing += watch.lap()
        before = watch.computing
        found = bare.compute(collected["real"], collected["fake"], progress=False)
        watch.stop()
        SwdMeasure(SwdSettings()).compute(collected["real"], collected["fake"], progress=False)
        # The second call compared once more: what it took beyond the first is what the errors take.
        watch.errors = max(0.0, watch.lap() - (watch.computing - before))
    finally:
        for collector in collected.values():
            collector.close()
    return np.array([found.values[str(level)] for level in levels_of(case.side)])


def _swd_plain(case: Case, images: Images, watch: _Watch) -> NDArray[np.float64]:
    settings, levels = SwdSettings(), levels_of(case.side)
    described = []
    for role in _ROLES:
        centres = {level: draw_positions(level, case.count, settings, role) for level in levels}
        batches = (batch.numpy() for _, batch in _batches(case, images[role], watch))
        described.append(plain_swd.describe(batches, centres, settings.size))
    drawn = {level: [draw_directions(level, r, settings) for r in range(settings.repeats)] for level in levels}
    found = plain_swd.compare(described[0], described[1], drawn)
    return np.array([found[level] for level in levels])


def _msssim(case: Case, images: Images, watch: _Watch) -> NDArray[np.float64]:
    scores = [ms_ssim(pairs[::2], pairs[1::2]).cpu().numpy() for _, pairs in _batches(case, images["fake"], watch)]
    return np.concatenate(scores).astype(np.float64)


def _msssim_plain(case: Case, images: Images, watch: _Watch) -> NDArray[np.float64]:
    at_once, scores = max(1, _PLAIN_PIXELS // case.side**2), []
    for _, batch in _batches(case, images["fake"], watch):
        left, right = batch[::2].numpy(), batch[1::2].numpy()
        for start in range(0, len(left), at_once):
            some = slice(start, start + at_once)
            scores.append(plain_msssim.ms_ssim(left[some], right[some]))
    return np.concatenate(scores)


_ROUTES = {
    ("swd", "pgtools"): _swd_ours,
    ("swd", "plain"): _swd_plain,
    ("msssim", "pgtools"): _msssim,
    ("msssim", "plain"): _msssim_plain,
}


def _batches(case: Case, images: DrawnImages, watch: _Watch) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield numbers and images; making them is timed apart from what is done with them."""
    total = _images_read(case)
    step = max(2, PIXELS_READ // case.side**2)
    for start in range(0, total, step):
        indices = range(start, min(start + step, total))
        watch.computing += watch.lap()
        batch = images.read(indices)
        watch.drawing += watch.lap()
        yield indices, batch


def _images_read(case: Case) -> int:
    return case.count * (2 if case.metric == "msssim" else 1)


def levels_of(side: int) -> list[int]:
    """Return the sides of an image's levels, the finest first."""
    return [side >> k for k in range(side.bit_length()) if side >> k >= plain_swd.LOWEST_LEVEL]


def _memory_from_here(device: torch.device) -> int | None:
    if device.type != "cuda":
        _give_back_freed()
        return resident_from_here()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _give_back_freed() -> None:
    """Hand freed memory to the system, which else counts as held and hides what the next run takes (glibc)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _highest_memory(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else highest_resident()
