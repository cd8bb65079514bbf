"""The square is cut from the picture: bilinear at a multiple of the resolution, whole levels, then Lanczos.

The definition (the released builder's) samples at four times the resolution, drops the fractions, as Pillow's QUAD
does, and reduces by Lanczos, along rows first, in 8 bits. Every sample's place within its output pixel is a phase:
phase by phase the samples form a picture of the crop's own size, and the reduction is a sum of six-tap filters over
those pictures, small enough to stay in the cache.

The fast engine takes fewer samples where the picture is smooth enough that they tell as much: `oversampling_for`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.cropping.enlarge import REACH, lanczos_kernel
from pgtools.celebahq.cropping.sampling import Plane, Vector, sample

OVERSAMPLING = 4
ROWS = 32  # so that what they pass through stays in a core's cache
# Added before fractions are dropped: float32 may put a sample of a flat area this little below its level.
BELOW = np.float32(2.0**-12)
# One sample a pixel: the fractions that four would lose are averaged over this many pixels either way.
NEIGHBOURHOOD = 5
DIRECT_REACH, DIRECT_BAND = 3, 0.25


def resampled(
    planes: Sequence[Plane], quad: Vector, *, resolution: int, oversampling: int, exact: bool
) -> NDArray[np.uint8]:
    """Return the square, uint8 (resolution, resolution, 3).

    Args:
        planes: three channels, float32 (H, W) in 0..255.
        quad: float64 (4, 2): TL, BL, BR, TR.
        resolution: side of the crop.
        oversampling: samples along the side of an output pixel; 4 is the definition.
        exact: round between the two passes of Lanczos too, as Pillow does.
    """
    how = (
        _direct(planes, quad, resolution)
        if oversampling == 1
        else _reduced(planes, quad, resolution, oversampling, exact=exact)
    )
    out = np.empty((resolution, resolution, 3), np.uint8)
    for channel, values in enumerate(how):
        values += 0.5
        np.clip(values, 0, 255.5, out=values)
        out[:, :, channel] = values
    return out


def _reduced(planes: Sequence[Plane], quad: Vector, resolution: int, oversampling: int, *, exact: bool) -> Plane:
    """Return float32 (3, resolution, resolution): the sum over the phases (p, q) along rows and columns."""
    side, kernels = (resolution, resolution), _kernels(oversampling)
    across, down = _steps(quad, resolution * oversampling)
    whole = _missing_weight(resolution, oversampling)
    total, half = np.zeros((2, len(planes), *side), np.float32)
    samples = np.empty((len(planes), min(ROWS, resolution), resolution), np.float32)
    part = np.empty(side, np.float32)
    for q in range(oversampling):
        half[:] = 0
        for top in range(0, resolution, ROWS):
            rows = half[:, top : top + ROWS]
            found, filtered = samples[:, : rows.shape[1]], part[: rows.shape[1]]
            for p in range(oversampling):
                start = quad[0] + 0.5 + across * (p + 0.5) + down * (top * oversampling + q + 0.5)
                sample(planes, found, start, across * oversampling, down * oversampling)
                found += BELOW
                np.floor(found, out=found)
                for channel, row in zip(found, rows, strict=True):
                    cv2.filter2D(channel, -1, kernels[p][None, :], dst=filtered, borderType=cv2.BORDER_CONSTANT)
                    row += filtered
            _rounded(rows, whole, exact=exact)
        for channel, sums in zip(half, total, strict=True):
            sums += cv2.filter2D(channel, -1, kernels[q][:, None], dst=part, borderType=cv2.BORDER_CONSTANT)
    total *= whole[:, None]
    return total


def _rounded(rows: Plane, whole: Plane, *, exact: bool) -> None:
    """Finish the pass along rows, in place."""
    rows *= whole
    if exact:
        rows += 0.5
        np.floor(rows, out=rows)
    np.clip(rows, 0, 255, out=rows)


def _direct(planes: Sequence[Plane], quad: Vector, resolution: int) -> Plane:
    """Return float32 (3, resolution, resolution) from one sample a pixel.

    The fraction lost by dropping is the mean of what its neighbours lose; then Lanczos's slight sharpening.
    """
    across, down = _steps(quad, resolution)
    values, lost = np.empty((2, len(planes), resolution, resolution), np.float32)
    for top in range(0, resolution, ROWS):
        rows, fractions = values[:, top : top + ROWS], lost[:, top : top + ROWS]
        sample(planes, rows, quad[0] + 0.5 + across * 0.5 + down * (top + 0.5), across, down)
        rows += BELOW
        np.floor(rows, out=fractions)
        np.subtract(rows, fractions, out=fractions)
    kernel = _direct_kernel()
    for channel, fraction in zip(values, lost, strict=True):
        channel -= cv2.blur(fraction, (NEIGHBOURHOOD, NEIGHBOURHOOD))
        cv2.sepFilter2D(channel, -1, kernel, kernel, dst=channel, borderType=cv2.BORDER_REPLICATE)
    return values


def _steps(quad: Vector, count: int) -> tuple[Vector, Vector]:
    """Return the step from a sample to the next along a row and along a column."""
    top_left, bottom_left, bottom_right, top_right = quad
    return (top_right - top_left + bottom_right - bottom_left) / (2 * count), (
        bottom_left - top_left + bottom_right - top_right
    ) / (2 * count)


@lru_cache(maxsize=4)
def _kernels(oversampling: int) -> tuple[NDArray[np.float32], ...]:
    """Return for every phase seven taps (one of them 0) around the output pixel; together they sum to 1."""
    offsets = np.arange(-REACH, REACH + 1)
    taps = [lanczos_kernel(offsets + (phase + 0.5) / oversampling - 0.5) for phase in range(oversampling)]
    total = np.sum(taps)
    return tuple((one / total).astype(np.float32) for one in taps)


@lru_cache(maxsize=4)
def _missing_weight(resolution: int, oversampling: int) -> Plane:
    """Return float32 (resolution,): 1 over what of the taps' sum lies inside; Pillow too makes it 1 at the border."""
    taps: NDArray[np.float64] = np.stack(_kernels(oversampling)).sum(axis=0, dtype=np.float64)
    inside = [taps[max(REACH - o, 0) : REACH + min(resolution - o, REACH + 1)].sum() for o in range(resolution)]
    return (1 / np.array(inside)).astype(np.float32)


@lru_cache(maxsize=1)
def _direct_kernel() -> NDArray[np.float32]:
    """Return the seven taps that act on frequencies up to a quarter of a cycle a pixel as the reduction acts on them.

    Its response at frequency f is the sum of its weights times cos(2πft), t in output pixels; the taps that come
    closest are found by least squares, with the sum held at 1.
    """
    times = (np.arange(-REACH * OVERSAMPLING, REACH * OVERSAMPLING) + 0.5) / OVERSAMPLING
    weights = lanczos_kernel(times)
    frequency = np.linspace(0, DIRECT_BAND, 200)[:, None]
    wanted = np.cos(2 * np.pi * frequency * times) @ (weights / weights.sum())
    waves = 2 * np.cos(2 * np.pi * frequency * np.arange(1, DIRECT_REACH + 1)) - 2
    solution: NDArray[np.float64] = np.linalg.lstsq(waves, np.asarray(wanted) - 1, rcond=None)[0]
    return np.concatenate([solution[::-1], [1 - 2 * solution.sum()], solution]).astype(np.float32)
