"""A canvas of antialiased soft shapes, and their curves; points are (x, y), whole at pixel centres."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Points: TypeAlias = NDArray[np.float64]
Colour: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[int, int, int, int]

# One curve (N, 2), several of one length (K, N, 2), or a list of curves.
Curves: TypeAlias = Points | Sequence[Points]
# Sub-pixel bits of the coordinates that OpenCV draws from.
FRACTION = 8


def rgb(*values: float) -> Colour:
    """Return a colour, RGB in 0..255."""
    return np.array(values, dtype=np.float64)


def mix(a: Colour, b: Colour, t: ArrayLike) -> Colour:
    """Return the colour a share `t` of the way from `a` to `b`."""
    mixed: Colour = a + (b - a) * np.asarray(t)
    return mixed


def ramp_over(stops: Sequence[Colour], t: ArrayLike) -> Colour:
    """Return the colours (…, 3) at `t` (…) in 0..1 along evenly spaced stops."""
    places = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(np.asarray(t), places, channel) for channel in np.stack(stops, axis=1)], axis=-1)


def xy(x: ArrayLike, y: ArrayLike) -> Points:
    """Return points (N, 2) from their coordinates."""
    return np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)], axis=1)


def lowered(points: Points, by: float | Points) -> Points:
    """Return the points moved down by `by`, one number or one a point."""
    moved = points.copy()
    moved[..., 1] += by
    return moved


def smooth(points: ArrayLike, *, closed: bool = False, steps: int = 6) -> Points:
    """Return a Catmull-Rom curve through the control points (N, 2), `steps` points a segment."""
    p = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([p[-1:], p, p[:2]])
    else:
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    windows = padded[np.arange(len(padded) - 3)[:, None] + np.arange(4)]  # (segments, 4, 2)
    curve = (_weights(steps) @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def ellipse(centre: ArrayLike, rx: float, ry: float, steps: int = 28) -> Points:
    """Return an ellipse's contour (steps, 2)."""
    contour: Points = _circle(steps) * (rx, ry) + np.asarray(centre)
    return contour


def ribbon(curve: Points, width: float, *, taper: tuple[float, float] = (0.0, 0.0)) -> Points:
    """Return the contour (…, 2N, 2) of a stroke along `curve` (…, N, 2).

    The stroke has its full width midway and the shares `taper` of it at its two ends.
    """
    along = np.arange(curve.shape[-2]) / (curve.shape[-2] - 1)
    half = 0.5 * width * np.maximum(np.sin(np.pi * along) ** 0.6, taper[0] + (taper[1] - taper[0]) * along)
    direction = np.empty_like(curve)
    direction[..., 1:-1, :] = curve[..., 2:, :] - curve[..., :-2, :]
    direction[..., 0, :] = curve[..., 1, :] - curve[..., 0, :]
    direction[..., -1, :] = curve[..., -1, :] - curve[..., -2, :]
    length = np.maximum(np.hypot(direction[..., 0], direction[..., 1]), 1e-9)
    offset = direction[..., ::-1] * (-1, 1) * (half / length)[..., None]
    return np.concatenate([curve + offset, (curve - offset)[..., ::-1, :]], axis=-2)


class Canvas:
    """A float32 RGB picture that shapes are laid on.

    Args:
        image: float32 (H, W, 3), RGB in 0..255: what is there before the first shape.

    Attributes:
        planes: the picture as float32 (3, H, W): colour planes blend several times faster than pixels.
    """

    def __init__(self, image: NDArray[np.float32]) -> None:
        self.planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)

    def picture(self) -> NDArray[np.float32]:
        """Return what is painted, float32 (H, W, 3)."""
        return np.ascontiguousarray(self.planes.transpose(1, 2, 0))

    def fill(
        self,
        contour: Curves,
        colour: Colour,
        *,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Curves | None = None,
    ) -> None:
        """Fill disjoint contours, edges softened by a Gaussian of `blur` pixels, inside `within` only."""
        self._paint(contour, colour, alpha, blur, within)

    def strokes(
        self,
        curves: Curves,
        colour: Colour,
        *,
        width: float,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Curves | None = None,
    ) -> None:
        """Draw lines of one width (pixels) and colour; where they cross they do not add up."""
        self._paint(curves, colour, alpha, blur, within, width)

    def lay(self, texture: NDArray[np.float32], transform: Points, contour: Points, *, blur: float = 0.0) -> None:
        """Lay a float32 RGB texture inside a contour; a 2×3 affine takes its pixels to the picture's."""
        fixed = _fixed(contour)
        box = self._box(fixed, 3 * blur + 1)
        if box is None:
            return
        shifted = transform - np.array([[0, 0, box[0]], [0, 0, box[1]]])
        size = (box[2] - box[0], box[3] - box[1])
        colours = cv2.warpAffine(texture, shifted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        self._blend(box, _mask(box, fixed, blur, _scale(box, blur)), colours.transpose(2, 0, 1), 1.0)

    def _paint(
        self,
        curves: Curves,
        colour: Colour,
        alpha: float,
        blur: float,
        within: Curves | None,
        width: float | None = None,
    ) -> None:
        fixed = _fixed(curves)
        box = self._box(fixed, (width or 0) + 3 * blur + 1)
        if box is None:
            return
        scale = _scale(box, blur)
        mask = _mask(box, fixed, blur, scale, width)
        if within is not None:
            mask = cv2.multiply(mask, _mask(box, _fixed(within), 0.0, _scale(box, 0.0)), scale=1 / 255)
        if width is not None:
            alpha *= min(1.0, width * scale)  # lines thinner than a sub-pixel fade instead of growing
        self._blend(box, mask, colour.astype(np.float32)[:, None, None], alpha)

    def _blend(self, box: Box, mask: NDArray[np.uint8], planes: NDArray[np.float32], alpha: float) -> None:
        region = self.planes[:, box[1] : box[3], box[0] : box[2]]
        change = planes - region
        change *= mask * np.float32(alpha / 255)
        region += change

    def _box(self, fixed: Sequence[NDArray[np.int32]], margin: float) -> Box | None:
        height, width = self.planes.shape[1:]
        x, y, w, h = cv2.boundingRect(fixed[0] if len(fixed) == 1 else np.concatenate(fixed))
        one = 1 << FRACTION
        x0, y0 = max(math.floor(x / one - margin), 0), max(math.floor(y / one - margin), 0)
        x1 = min(math.ceil((x + w) / one + margin) + 1, width)
        y1 = min(math.ceil((y + h) / one + margin) + 1, height)
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _mask(
    box: Box, fixed: Sequence[NDArray[np.int32]], blur: float, scale: float, width: float | None = None
) -> NDArray[np.uint8]:
    """Return the coverage, uint8 of the box's size, of filled contours or (with a width) of lines."""
    columns, rows = box[2] - box[0], box[3] - box[1]
    mask = np.zeros((math.ceil(rows * scale), math.ceil(columns * scale)), np.uint8)
    # A mask pixel is 1/scale picture pixels: the same fixed-point numbers with another place for the point.
    shift = FRACTION - round(math.log2(scale))
    half = (1 << FRACTION) // 2 - (1 << shift) // 2
    origin = np.array([(box[0] << FRACTION) - half, (box[1] << FRACTION) - half], dtype=np.int32)
    local = [curve - origin for curve in fixed]
    if width is None:
        cv2.fillPoly(mask, local, 255, cv2.LINE_8, shift)
    else:
        cv2.polylines(mask, local, False, 255, max(1, round(width * scale)), cv2.LINE_8, shift)
    if scale <= 1:
        mask = cv2.GaussianBlur(mask, (0, 0), blur * scale, borderType=cv2.BORDER_REPLICATE)
    if scale > 1:
        mask = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
    elif scale < 1:
        whole = (round(mask.shape[1] / scale), round(mask.shape[0] / scale))
        mask = cv2.resize(mask, whole, interpolation=cv2.INTER_LINEAR)[:rows, :columns]
    return mask


def _scale(box: Box, blur: float) -> float:
    """Mask pixels a picture pixel (a power of two): more for sharp shapes, fewer the softer they are.

    OpenCV's own LINE_AA is no choice: it widens every shape by 0.7 pixel, too much for an eyelid.
    """
    if blur < 0.7:
        return 4 if (box[2] - box[0]) * (box[3] - box[1]) < 5000 else 2
    return 1 if blur < 3 else 0.5 if blur < 8 else 0.25


def _fixed(curves: Curves) -> list[NDArray[np.int32]]:
    """Return the curves in fixed-point numbers with `FRACTION` bits."""
    if isinstance(curves, np.ndarray):
        whole = np.rint(curves * (1 << FRACTION)).astype(np.int32)
        return [whole] if whole.ndim == 2 else list(whole)
    return [np.rint(curve * (1 << FRACTION)).astype(np.int32) for curve in curves]


@functools.lru_cache
def _circle(steps: int) -> Points:
    angle = np.linspace(0, 2 * math.pi, steps, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@functools.lru_cache
def _weights(steps: int) -> Points:
    t = np.arange(steps)[:, None] / steps
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    return powers @ basis
