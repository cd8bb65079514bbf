"""MS-SSIM's terms on the CPU: OpenCV's separable filter, on pieces that stay in the cache, in a few threads.

The pieces of small images are several planes, those of large ones a part of a plane. A piece is one tall image of
all its planes, so that a call costs little beside its work: what the filter mixes across the border of two planes
lies in rows that valid pixels do not reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.imaging.pyramid import halve
from pgtools.imaging.ssim import C1, C2, WINDOW
from pgtools.metrics.msssim.scales import SCALES, window_at
from pgtools.metrics.phases import timed
from pgtools.runtime.workers import cpu_count

Planes = NDArray[Any]
Array = NDArray[np.float64]
# A piece's side, and its square a piece's pixels. With 64² the calls themselves take 40 % of the time; 512² is no
# faster and takes four times the memory.
PIECE = 256
# Of small planes as many as make four pieces: threads wait for each other around every call, so calls are to be few.
PIECES_AT_ONCE = 4


def similarities(a: Planes, b: Planes) -> Array:
    """Return the mean contrast terms of each pair of planes, and at the last scale the mean SSIM, float64 (P, 5).

    Args:
        a: (P, R, R) in 0..255, of any real type, R a power of two from 16 up.
        b: the other planes, of the same shape.
    """
    workers, side = cpu_count(), a.shape[-1]
    at_once = max(1, min(PIECES_AT_ONCE * PIECE**2 // side**2, -(-len(a) // workers)))
    found, starts = np.empty((len(a), SCALES)), range(0, len(a), at_once)
    workers = min(workers, len(starts)) or 1

    def measure(start: int) -> None:
        found[start : start + at_once] = _of_planes(a[start : start + at_once], b[start : start + at_once], workers)

    if workers < 2:
        for start in starts:
            measure(start)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(measure, starts))
    return found


def _of_planes(a: Planes, b: Planes, threads: int) -> Array:
    means = np.empty((len(a), SCALES))
    level: tuple[Planes, Planes] | Array = (a, b)
    for scale in range(SCALES):
        last = scale == SCALES - 1
        side = a.shape[-1] >> scale
        below = None if last else np.empty((2, len(a), side // 2, side // 2))
        total = np.zeros(len(a))
        for moments, (top, left) in _pieces(level, pairs=scale == 0):
            if below is not None:
                with timed("halve", threads):
                    small = halve(moments[:2, :, :PIECE, :PIECE])
                height, width = small.shape[2:]
                below[:, :, top // 2 : top // 2 + height, left // 2 : left // 2 + width] = small
            total += _term(moments, window_at(side), threads, with_luminance=last)
        means[:, scale] = total / max(1, side - WINDOW + 1) ** 2
        if below is not None:
            level = below
    return means


def _pieces(level: tuple[Planes, Planes] | Array, *, pairs: bool) -> Iterator[tuple[Array, tuple[int, int]]]:
    """Yield moments (4, P, h, w) of s, d, s², d², the last two for the taker to fill, and where each piece begins.

    A piece reaches over its border by what the window needs. The next piece takes its memory.

    Args:
        level: images a and b if `pairs`, else s and d.
        pairs: see there.
    """
    count, side = level[0].shape[:2]
    reach = min(side, PIECE + WINDOW - 1)
    memory = np.empty(4 * count * reach**2)
    for top in range(0, side, PIECE):
        for left in range(0, side, PIECE):
            first, second = (plane[:, top : top + reach, left : left + reach] for plane in level)
            shape = (4, *first.shape)
            moments = memory[: 4 * first.size].reshape(shape)
            if pairs:
                np.add(first, second, out=moments[0], dtype=np.float64)
                np.subtract(first, second, out=moments[1], dtype=np.float64)
            else:
                moments[0], moments[1] = first, second
            yield moments, (top, left)


def _term(moments: Array, window: list[float], threads: int, *, with_luminance: bool) -> Array:
    """Return the sums of the term over a piece's valid pixels, float64 (P,)."""
    with timed("blur", threads):
        np.multiply(moments[:2], moments[:2], out=moments[2:])
        means, squares = _blurred(moments, window)
    with timed("terms", threads):
        powers = means * means
        squares -= powers
        similar = squares[0] + squares[1]
        similar += 2 * C2
        np.divide(squares[1], similar, out=similar)
        similar *= -2
        similar += 1
        if with_luminance:
            similar *= (powers[0] - powers[1] + 2 * C1) / (powers[0] + powers[1] + 2 * C1)
        valid: Array = similar[..., : moments.shape[-1] - len(window) + 1].sum((-2, -1))
        return valid


def _blurred(moments: Array, window: list[float]) -> tuple[Array, Array]:
    """Return the blurred s and d, and the blurred s² and d²: (2, P, h − n + 1, w) each.

    The last n − 1 columns are filler: whole rows lie in one run of memory, which is worth more than they cost. They
    are means under the window too, of columns mirrored at the border, so nothing divides by 0 there.
    """
    height, width = moments.shape[2:]
    if height == width == len(window):
        blurred = np.einsum("kpyx,y,x->kp", moments, window, window)[:, :, None, None]
        return blurred[:2], blurred[2:]
    weights, tall = np.array(window), moments.reshape(-1, width)
    # Anchored at its top left, the window puts what it covers from row y and column x on at (y, x).
    filtered = cv2.sepFilter2D(tall, -1, weights, weights, anchor=(0, 0)).reshape(moments.shape)
    return filtered[:2, :, : height - len(window) + 1], filtered[2:, :, : height - len(window) + 1]
