"""Lanczos enlargement by a whole factor: Pillow's pixels, several times faster.

Every output phase is one filter of six taps over the small picture, rounded to 8 bits after each pass as Pillow rounds;
the taps that would reach beyond the border are left out and the others made to sum to 1, also as Pillow does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.imaging.resample import lanczos

Plane = NDArray[np.uint8]
REACH = 3  # source pixels on either side: Lanczos, a = 3
SMALLEST = 2 * REACH + 2  # below, both borders reach every pixel; Pillow is quick there


def lanczos_kernel(distance: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the Lanczos window (a = 3) at distances in pixels; 1 at 0, 0 from 3 on."""
    exact = np.asarray(distance, np.float64)
    return np.where(np.abs(exact) < REACH, np.sinc(exact) * np.sinc(exact / REACH), 0.0)


def enlarged_planes(image: NDArray[np.uint8], factor: int, *, exact: bool = False) -> list[Plane]:
    """Return the three channels of a picture enlarged by Lanczos, each uint8 (H·factor, W·factor).

    Against Pillow, whose weights are whole multiples of 2⁻²²: the same, but for values within about 10⁻⁴ of a half,
    which may round the other way.

    Args:
        image: uint8 (H, W, 3).
        factor: 1 or more.
        exact: have Pillow do it.
    """
    height, width = image.shape[:2]
    if factor > 1 and (exact or min(height, width) < SMALLEST):
        image, factor = lanczos(image, width * factor, height * factor), 1
    planes = [np.ascontiguousarray(plane) for plane in cv2.split(image)]
    return planes if factor == 1 else [_rows(_columns(plane, factor), factor) for plane in planes]


def _columns(plane: Plane, factor: int) -> Plane:
    """(H, W) → (H, W·factor)."""
    height, width = plane.shape
    wide = np.empty((height, width, factor), np.uint8)
    for phase, kernel in enumerate(_kernels(factor)):
        wide[:, :, phase] = cv2.filter2D(plane, -1, kernel[None, :], borderType=cv2.BORDER_REFLECT_101)
    flat = wide.reshape(height, width * factor)
    edge, weights = REACH * factor, _edge_weights(factor)
    flat[:, :edge] = _quantised(plane[:, : 2 * REACH] @ weights.T)
    flat[:, -edge:] = _quantised(plane[:, : -2 * REACH - 1 : -1] @ weights.T)[:, ::-1]
    return flat


def _rows(plane: Plane, factor: int) -> Plane:
    """(H, W) → (H·factor, W)."""
    height, width = plane.shape
    tall = np.empty((height, factor, width), np.uint8)
    for phase, kernel in enumerate(_kernels(factor)):
        tall[:, phase] = cv2.filter2D(plane, -1, kernel[:, None], borderType=cv2.BORDER_REFLECT_101)
    flat = tall.reshape(height * factor, width)
    edge, weights = REACH * factor, _edge_weights(factor)
    flat[:edge] = _quantised(weights @ plane[: 2 * REACH])
    flat[-edge:] = _quantised(weights @ plane[: -2 * REACH - 1 : -1])[::-1]
    return flat


def _quantised(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return rounded


@lru_cache(maxsize=16)
def _kernels(factor: int) -> tuple[NDArray[np.float32], ...]:
    """Return for every phase its seven taps, around the source pixel that the output lies in."""
    offsets = np.arange(-REACH, REACH + 1)
    rows = []
    for phase in range(factor):
        taps = lanczos_kernel(offsets + 0.5 - (phase + 0.5) / factor)
        rows.append((taps / taps.sum()).astype(np.float32))
    return tuple(rows)


@lru_cache(maxsize=16)
def _edge_weights(factor: int) -> NDArray[np.float32]:
    """Return float32 (3·factor, 6): the first outputs as sums of the first source pixels."""
    centres = (np.arange(REACH * factor) + 0.5) / factor
    taps = lanczos_kernel(np.arange(2 * REACH)[None, :] + 0.5 - centres[:, None])
    weights: NDArray[np.float32] = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights
