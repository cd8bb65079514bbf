"""The picture continued beyond its border: reflection, blurred and fading to the median the farther out it is.

Convention: pads are (left, top, right, bottom) in pixels. Where x/left, y/top, … name how far inside a pixel lies (0 at
the new border, 1 at the old one), mask = 1 − the least of the four.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pgtools.imaging.conventions import quantise

Pads = tuple[int, int, int, int]
Values: TypeAlias = NDArray[np.float32]
# The fast blur works on a picture reduced so far that the Gaussian still has this sigma there.
LEAST_SIGMA = 4.0
STRIP = 64
# Where more than this share of a box lies this near to a half, the fast blur decides too many of them wrongly: fine
# stripes of 0 and 255 blur to 127.5 everywhere. Of any spread-out values an eighth lies so near.
NEAR_HALF, DOUBTFUL = 1 / 16, 0.2
LINES = 64  # transformed at a time, which bounds the float64 copies


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

    The blur is SciPy's `gaussian_filter` to the last bit but for one value in many millions, so that ties round as in
    the released builder.

    Args:
        image: uint8 (H, W, 3).
        pads: pixels to add; 1 or more on every side.
        sigma: of the blur, in pixels.
    """
    left, top, right, bottom = pads
    wide = np.pad(image, ((top, bottom), (left, right), (0, 0)), mode="reflect").astype(np.float32)
    mask = _mask(wide.shape[0], wide.shape[1], pads)[:, :, None]
    wide += (blurred(wide, sigma) - wide) * np.clip(3 * mask + 1, 0, 1)
    medians = np.array([np.median(wide[:, :, channel]) for channel in range(3)], np.float32)
    wide += (medians - wide) * np.clip(mask, 0, 1)
    return quantise(wide)


def padded_planes(planes: Sequence[NDArray[np.uint8]], pads: Pads, sigma: float, box: Box) -> list[Values]:
    """Return the part of the padded picture that lies in a box, each channel float32 of whole levels.

    The blur is computed on a reduced picture: 0.1 levels in the mean from `padded` and 1 at most. Where that would
    not hold, since so much lies near a half, `padded` it is.

    Args:
        planes: three channels, uint8 (H, W).
        pads: as `padded` takes them.
        sigma: as `padded` takes it.
        box: in pixels of the padded picture.
    """
    left, top, right, bottom = pads
    mask = _Mask(planes[0].shape[0] + top + bottom, planes[0].shape[1] + left + right, pads)
    wholes = _blended(planes, mask, sigma)
    medians = [median(values) for values in wholes]
    results = [values[box.rows, box.columns] for values in wholes]
    doubtful = 0
    for part in _outer(mask, box):
        fade = np.clip(mask.of(part), 0, 1)
        rows = slice(part.top - box.top, part.bottom - box.top)
        columns = slice(part.left - box.left, part.right - box.left)
        for result, middle in zip(results, medians, strict=True):
            values = result[rows, columns]
            values += (middle - values) * fade
            whole = np.rint(values)
            doubtful += int(np.count_nonzero(np.abs(values - whole)[::4, ::4] > 0.5 - NEAR_HALF))
            values[:] = whole
    if doubtful * 16 > DOUBTFUL * sum(result.size for result in results):
        exact = padded(np.dstack(planes), pads, sigma)[box.rows, box.columns]
        return [plane.astype(np.float32) for plane in cv2.split(exact)]
    return results


@dataclass(frozen=True)
class _Mask:
    """The mask of a padded picture, a part at a time."""

    height: int
    width: int
    pads: Pads

    def of(self, part: Box) -> Values:
        """Return float32 (h, w): 0 at the old border, 1 at the new one, negative inside the old picture."""
        left, top, right, bottom = (np.float32(pad) for pad in self.pads)
        x = np.arange(part.left, part.right, dtype=np.float32)
        y = np.arange(part.top, part.bottom, dtype=np.float32)
        across = np.minimum(x / left, (self.width - 1 - x) / right)
        down = np.minimum(y / top, (self.height - 1 - y) / bottom)
        nearest: Values = np.minimum(across[None, :], down[:, None])
        return 1 - nearest


def _mask(height: int, width: int, pads: Pads) -> Values:
    return _Mask(height, width, pads).of(Box(0, 0, width, height))


def blurred(image: Values, sigma: float) -> Values:
    """Return (H, W, C) blurred by a Gaussian cut at 4 sigma, edges repeated by reflection, as scipy.ndimage does it.

    That is: down the columns, rounded to float32, along the rows, rounded again; the sums in float64. The cosine
    transform turns such a filter into a product.
    """
    result = image.copy()
    for lines in (result.swapaxes(0, 1), result):
        gains = _gains(lines.shape[1], sigma)[:, None]
        for start in range(0, len(lines), LINES):
            waves = scipy.fft.dct(lines[start : start + LINES].astype(np.float64), axis=1, overwrite_x=True)
            lines[start : start + LINES] = scipy.fft.idct(waves * gains, axis=1, overwrite_x=True)
    return result


def _gains(length: int, sigma: float) -> NDArray[np.float64]:
    """Return by what the blur multiplies each of `length` cosines."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(1, reach + 1)
    weights = np.exp(-0.5 / sigma**2 * offsets**2)
    frequencies = np.pi * np.arange(length) / length
    sums: NDArray[np.float64] = 1 + 2 * np.cos(np.outer(frequencies, offsets)) @ weights
    return np.asarray(sums / (1 + 2 * weights.sum()), dtype=np.float64)


def _blended(planes: Sequence[NDArray[np.uint8]], mask: _Mask, sigma: float) -> list[Values]:
    """Return the reflected planes, whole, with the blur mixed in.

    An odd step has a middle pixel, so that the reduced picture lies in place.
    """
    step = max(1, (int(sigma / LEAST_SIGMA) - 1) | 1)
    left, top, right, bottom = mask.pads
    below, beside = -mask.height % step, -mask.width % step
    smalls, wholes = [], []
    for plane in planes:
        wide = cv2.copyMakeBorder(plane, top, bottom, left, right, cv2.BORDER_REFLECT_101)
        wholes.append(wide.astype(np.float32))
        longer = cv2.copyMakeBorder(wide, 0, below, 0, beside, cv2.BORDER_REFLECT) if below or beside else wide
        smalls.append(_blurred_small(longer, sigma, step))
    for part in _outer(mask, Box(0, 0, mask.width, mask.height)):
        blur = np.clip(3 * mask.of(part) + 1, 0, 1)
        for whole, small in zip(wholes, smalls, strict=True):
            values = whole[part.rows, part.columns]
            values += (_enlarged(small, step, part) - values) * blur
    return wholes


def _blurred_small(wide: NDArray[np.uint8], sigma: float, step: int) -> Values:
    """Return the blur at the middle of every step² pixels, float32 (H/step, W/step).

    Means over step² pixels are taken twice, since taken once they leave a beat of any detail about as fine as a step.
    They and the bilinear enlargement blur too, by variances of (step² − 1)/12 each and step²/6.
    """
    height, width = wide.shape
    if step == 1:
        means, already = wide.astype(np.float32), 0.0
    else:
        once = cv2.boxFilter(wide, cv2.CV_32F, (step, step), borderType=cv2.BORDER_REFLECT)
        means = cv2.resize(once, (width // step, height // step), interpolation=cv2.INTER_AREA)
        already = (step**2 - 1) / 6 + step**2 / 6
    rest = float(np.sqrt(max(sigma**2 - already, 0.01))) / step
    size = 2 * int(4 * rest + 0.5) + 1
    result = cv2.GaussianBlur(means, (size, size), sigmaX=rest, sigmaY=rest, borderType=cv2.BORDER_REFLECT)
    return np.asarray(result, dtype=np.float32)


def _enlarged(small: Values, step: int, part: Box) -> Values:
    """Return the part of the reduced picture enlarged bilinearly."""
    left, top = max(part.left // step - 1, 0), max(part.top // step - 1, 0)
    right, bottom = -(-part.right // step) + 1, -(-part.bottom // step) + 1
    cut = small[top:bottom, left:right]
    size = cut.shape[1] * step, cut.shape[0] * step
    large = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    return large[part.top - top * step : part.bottom - top * step, part.left - left * step : part.right - left * step]


def median(values: Values) -> np.float32:
    """Return the median of values of at least 0 and below 256, as NumPy's: only what shares a level is sorted."""
    below, above = (values.size - 1) // 2, values.size // 2
    levels = values.astype(np.uint8)
    # A histogram holds float32, which counts to 2²⁴.
    parts = np.array_split(levels, 1 + (levels.size >> 23))
    held = np.cumsum(sum(cv2.calcHist([part], [0], None, [256], [0, 256]).astype(np.int64) for part in parts))
    least, most = np.searchsorted(held, (below, above), side="right").tolist()
    near = values[levels == least] if least == most else values[(levels >= least) & (levels <= most)]
    skipped = held.tolist()[least - 1] if least else 0
    ranks = [below - skipped, above - skipped]
    return np.float32(np.partition(near, ranks)[ranks].mean())


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
