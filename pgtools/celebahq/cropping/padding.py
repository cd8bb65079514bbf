"""The picture continued beyond its border: reflection, blurred and fading to the median the farther out it is.

Convention: pads are (left, top, right, bottom) in pixels. Where x/left, y/top, … name how far inside a pixel lies (0 at
the new border, 1 at the old one), mask = 1 − the least of the four.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.imaging.conventions import quantise

Pads = tuple[int, int, int, int]
# The fast blur works on a picture reduced so far that the Gaussian still has this sigma there.
LEAST_SIGMA = 4.0
STRIP = 64


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def rows(self) -> slice:
        """The rows of an array that lie in it."""
        return slice(self.top, self.bottom)

    @property
    def columns(self) -> slice:
        """The columns of an array that lie in it."""
        return slice(self.left, self.right)


def padded(image: NDArray[np.uint8], pads: Pads, sigma: float) -> NDArray[np.uint8]:
    """Return the padded picture, uint8 (H + top + bottom, W + left + right, 3).

    Against the released builder, whose Gaussian is SciPy's: 0.001 levels in the mean and 1 at most.

    Args:
        image: uint8 (H, W, 3).
        pads: pixels to add; 1 or more on every side.
        sigma: of the blur, in pixels.
    """
    left, top, right, bottom = pads
    wide = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="reflect").astype(np.float32)
    mask = _mask(wide.shape[0], wide.shape[1], pads)[:, :, None]
    wide += (_gaussian(wide, sigma) - wide) * np.clip(3 * mask + 1, 0, 1)
    medians = np.array([np.median(wide[:, :, channel]) for channel in range(3)], np.float32)
    wide += (medians - wide) * np.clip(mask, 0, 1)
    return quantise(wide)


def padded_planes(planes: Sequence[NDArray[np.uint8]], pads: Pads, sigma: float, box: Box) -> list[NDArray[np.float32]]:
    """Return the part of the padded picture that lies in a box, each channel float32 of whole levels.

    The blur is computed on a reduced picture and the median on every n-th pixel: 0.05 levels in the mean from
    `padded`.

    Args:
        planes: three channels, uint8 (H, W).
        pads: as `padded` takes them.
        sigma: as `padded` takes it.
        box: in pixels of the padded picture.
    """
    step = max(1, int(sigma / LEAST_SIGMA))
    left, top, right, bottom = pads
    height, width = planes[0].shape[0] + top + bottom, planes[0].shape[1] + left + right
    below, beside = -height % step, -width % step
    ends = (top, bottom + below, left, right + beside)
    wide = [cv2.copyMakeBorder(plane, *ends, cv2.BORDER_REFLECT_101) for plane in planes]
    small = [_blurred_small(plane, sigma, step) for plane in wide]
    mask = _Mask(height, width, pads)
    medians = _medians(wide, small, mask, step)
    results = [plane[box.rows, box.columns].astype(np.float32) for plane in wide]
    for part in _outer(mask, box):
        inside = mask.of(part)
        blur, fade = np.clip(3 * inside + 1, 0, 1), np.clip(inside, 0, 1)
        rows = slice(part.top - box.top, part.bottom - box.top)
        columns = slice(part.left - box.left, part.right - box.left)
        for result, reduced, median in zip(results, small, medians, strict=True):
            values = result[rows, columns]
            values += (_enlarged(reduced, step, part) - values) * blur
            values += (median - values) * fade
            np.rint(values, out=values)
    return results


@dataclass(frozen=True)
class _Mask:
    """The mask of a padded picture, a part at a time."""

    height: int
    width: int
    pads: Pads

    def of(self, part: Box, step: int = 1) -> NDArray[np.float32]:
        """Return float32 (h, w): 0 at the old border, 1 at the new one, negative inside the old picture.

        With a step, only the middle one of so many rows and columns.
        """
        left, top, right, bottom = (np.float32(pad) for pad in self.pads)
        x = np.arange(part.left + step // 2, part.right, step, dtype=np.float32)
        y = np.arange(part.top + step // 2, part.bottom, step, dtype=np.float32)
        across = np.minimum(x / left, (self.width - 1 - x) / right)
        down = np.minimum(y / top, (self.height - 1 - y) / bottom)
        nearest: NDArray[np.float32] = np.minimum(across[None, :], down[:, None])
        return 1 - nearest


def _mask(height: int, width: int, pads: Pads) -> NDArray[np.float32]:
    return _Mask(height, width, pads).of(Box(0, 0, width, height))


def _gaussian(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return the image blurred by a Gaussian cut at 4 sigma, edges repeated by reflection (scipy.ndimage's default)."""
    size = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(image, (size, size), sigmaX=sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _blurred_small(wide: NDArray[np.uint8], sigma: float, step: int) -> NDArray[np.float32]:
    """Return the blur at every step-th pixel, float32 (H/step, W/step).

    The means over step² pixels and the bilinear enlargement blur too, by variances of (step² − 1)/12 and step²/6.
    """
    height, width = wide.shape
    means = cv2.resize(wide, (width // step, height // step), interpolation=cv2.INTER_AREA).astype(np.float32)
    already = (step**2 - 1) / 12 + (step**2 / 6 if step > 1 else 0)
    return _gaussian(means, np.sqrt(max(sigma**2 - already, 0.01)) / step)


def _enlarged(small: NDArray[np.float32], step: int, part: Box) -> NDArray[np.float32]:
    """Return the part of the reduced picture enlarged bilinearly."""
    left, top = max(part.left // step - 1, 0), max(part.top // step - 1, 0)
    right, bottom = -(-part.right // step) + 1, -(-part.bottom // step) + 1
    cut = small[top:bottom, left:right]
    size = cut.shape[1] * step, cut.shape[0] * step
    large = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    return large[part.top - top * step : part.bottom - top * step, part.left - left * step : part.right - left * step]


def _medians(
    wide: Sequence[NDArray[np.uint8]], small: Sequence[NDArray[np.float32]], mask: _Mask, step: int
) -> list[np.float32]:
    """Return the channels' medians after the blur is mixed in, from one pixel in step²."""
    every = slice(step // 2, mask.height, step), slice(step // 2, mask.width, step)
    blur = np.clip(3 * mask.of(Box(0, 0, mask.width, mask.height), step) + 1, 0, 1)
    medians = []
    for plane, reduced in zip(wide, small, strict=True):
        values = plane[every].astype(np.float32)
        values += (reduced[: values.shape[0], : values.shape[1]] - values) * blur
        medians.append(np.float32(np.median(values)))
    return medians


def _outer(mask: _Mask, box: Box) -> Iterator[Box]:
    """Yield strips that cover all of the box that is not as it was, which is where 3·mask + 1 > 0."""
    left, top, right, bottom = mask.pads
    inner = Box(
        min(max(-(-4 * left // 3), box.left), box.right),
        min(max(-(-4 * top // 3), box.top), box.bottom),
        max(min(mask.width - (4 * right) // 3, box.right), box.left),
        max(min(mask.height - (4 * bottom) // 3, box.bottom), box.top),
    )
    for y in range(box.top, box.bottom, STRIP):
        end = min(y + STRIP, box.bottom)
        if y < inner.top or end > inner.bottom or inner.left >= inner.right:
            yield Box(box.left, y, box.right, end)
            continue
        if box.left < inner.left:
            yield Box(box.left, y, inner.left, end)
        if inner.right < box.right:
            yield Box(inner.right, y, box.right, end)
