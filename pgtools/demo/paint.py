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
Planes: TypeAlias = NDArray[np.float32]
# Left, top, right, bottom of a part of the picture, and how much of each of its pixels a shape covers, 0 to 255.
Box: TypeAlias = tuple[int, int, int, int]
Mask: TypeAlias = tuple[Box, NDArray[np.uint8]]
# One curve (N, 2), several of one length (K, N, 2), or a list of such arrays.
Curves: TypeAlias = Points | Sequence[Points]
# Curves, their colour, and the width of lines along them; None fills them.
Piece: TypeAlias = tuple[Curves, Colour, float | None]
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
    return np.array([x, y], dtype=np.float64).T


def lowered(points: Points, by: float | Points) -> Points:
    """Return the points moved down by `by`, one number or one a point."""
    moved = points.copy()
    moved[..., 1] += by
    return moved


def smooth(points: ArrayLike, *, closed: bool = False, steps: int = 6) -> Points:
    """Return a Catmull-Rom curve through the control points (N, 2), `steps` points a segment."""
    p = np.asarray(points, dtype=np.float64)
    curve: Points = _spline(len(p), closed, steps) @ p
    return curve


def ellipse(centre: ArrayLike, rx: float, ry: float, steps: int = 28) -> Points:
    """Return an ellipse's contour (steps, 2)."""
    contour: Points = _circle(steps) * (rx, ry) + np.asarray(centre)
    return contour


def ribbon(curve: Points, width: float, *, taper: tuple[float, float] = (0.0, 0.0)) -> Points:
    """Return the contour (…, 2N, 2) of a stroke along `curve` (…, N, 2).

    The stroke has its full width midway and the shares `taper` of it at its two ends.
    """
    count = curve.shape[-2]
    direction = _differences(count) @ curve
    length = np.maximum(np.hypot(direction[..., 0], direction[..., 1]), 1e-9)
    offset = direction[..., ::-1] * (-1, 1) * (0.5 * width * _swelling(count, taper) / length)[..., None]
    return np.concatenate([curve + offset, (curve - offset)[..., ::-1, :]], axis=-2)


class Canvas:
    """A picture that shapes are laid on.

    Args:
        planes: float32 (3, H, W), RGB in 0..255: what is there before the first shape; painted in place.
            Colour planes blend several times faster than pixels.
    """

    def __init__(self, planes: Planes) -> None:
        self.planes = planes

    def fill(
        self, contour: Curves, colour: Colour, *, alpha: float = 1.0, blur: float = 0.0, within: Mask | None = None
    ) -> Mask:
        """Fill disjoint contours, edges softened by a Gaussian of `blur` pixels, inside `within` only.

        Returns:
            what it covers, whatever `alpha`: the `within` of later shapes.
        """
        return self._paint(contour, colour, alpha, blur, within)

    def strokes(
        self,
        curves: Curves,
        colour: Colour,
        *,
        width: float,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Mask | None = None,
    ) -> None:
        """Draw lines of one width (pixels) and colour; where they cross they do not add up."""
        self._paint(curves, colour, alpha, blur, within, width)

    def inlay(self, contour: Curves, colour: Colour, pieces: Sequence[Piece]) -> Mask:
        """Fill disjoint contours and lay opaque pieces into them, one over the other: one blend for all of them.

        Returns:
            what the contours cover.
        """
        fixed = _fixed(contour)
        box = self._box(fixed, 1, None)
        if _is_empty(box):
            return box, np.zeros((0, 0), np.uint8)
        scale = _scale(box, 0.0)
        image = np.empty((int((box[3] - box[1]) * scale), int((box[2] - box[0]) * scale), 3), np.uint8)
        cv2.rectangle(image, (0, 0), image.shape[1::-1], colour.tolist(), cv2.FILLED)
        for curves, tone, width in pieces:
            _draw(image, box, _fixed(curves), tone.tolist(), scale, width)
        mask = _coverage(box, fixed, 0.0, scale)
        self._blend(box, mask, _halved(image, scale).transpose(2, 0, 1).astype(np.float32, order="C"), 1.0)
        return box, mask

    def lay(self, texture: Planes, transform: Points, contour: Points, *, blur: float = 0.0) -> None:
        """Lay a texture, float32 (3, h, w), inside a contour; a 2×3 affine takes its pixels to the picture's."""
        fixed = _fixed(contour)
        box = self._box(fixed, 3 * blur + 1, None)
        if _is_empty(box):
            return
        shifted, size = transform - np.array([[0, 0, box[0]], [0, 0, box[1]]]), (box[2] - box[0], box[3] - box[1])
        planes = [cv2.warpAffine(plane, shifted, size, borderMode=cv2.BORDER_REPLICATE) for plane in texture]
        self._blend(box, _coverage(box, fixed, blur, _scale(box, blur)), np.stack(planes), 1.0)

    def _paint(
        self,
        curves: Curves,
        colour: Colour,
        alpha: float,
        blur: float,
        within: Mask | None,
        width: float | None = None,
    ) -> Mask:
        fixed = _fixed(curves)
        box = self._box(fixed, (width or 0) + 3 * blur + 1, within)
        if _is_empty(box):
            return box, np.zeros((0, 0), np.uint8)
        scale = _scale(box, blur)
        mask = _coverage(box, fixed, blur, scale, width)
        if within is not None:
            (left, top, _, _), outer = within
            mask = cv2.multiply(mask, outer[box[1] - top : box[3] - top, box[0] - left : box[2] - left], scale=1 / 255)
        if width is not None:
            alpha *= min(1.0, width * scale)  # lines thinner than a sub-pixel fade instead of growing
        self._blend(box, mask, colour.astype(np.float32)[:, None, None], alpha)
        return box, mask

    def _blend(self, box: Box, mask: NDArray[np.uint8], planes: Planes, alpha: float) -> None:
        region = self.planes[:, box[1] : box[3], box[0] : box[2]]
        change = planes - region
        change *= mask * np.float32(alpha / 255)
        region += change

    def _box(self, fixed: Sequence[NDArray[np.int32]], margin: float, within: Mask | None) -> Box:
        left, top, right, bottom = within[0] if within else (0, 0, *self.planes.shape[:0:-1])
        flat = [curves.reshape(-1, 2) for curves in fixed]
        x, y, w, h = cv2.boundingRect(flat[0] if len(flat) == 1 else np.concatenate(flat))
        one = 1 << FRACTION
        return (
            max(math.floor(x / one - margin), left),
            max(math.floor(y / one - margin), top),
            min(math.ceil((x + w) / one + margin) + 1, right),
            min(math.ceil((y + h) / one + margin) + 1, bottom),
        )


def _is_empty(box: Box) -> bool:
    return box[0] >= box[2] or box[1] >= box[3]


def _coverage(
    box: Box, fixed: Sequence[NDArray[np.int32]], blur: float, scale: float, width: float | None = None
) -> NDArray[np.uint8]:
    """Return the coverage, uint8 of the box's size, of filled contours or (with a width) of lines."""
    columns, rows = box[2] - box[0], box[3] - box[1]
    mask = np.zeros((math.ceil(rows * scale), math.ceil(columns * scale)), np.uint8)
    _draw(mask, box, fixed, 255, scale, width)
    if scale <= 1:
        # With a kernel of its own choice OpenCV takes a path for bytes that is four times slower.
        kernel = cv2.getGaussianKernel(2 * math.ceil(2.5 * blur * scale) + 1, blur * scale, cv2.CV_32F)
        mask = cv2.sepFilter2D(mask, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    if scale > 1:
        mask = _halved(mask, scale)
    elif scale < 1:
        whole = (round(mask.shape[1] / scale), round(mask.shape[0] / scale))
        mask = cv2.resize(mask, whole, interpolation=cv2.INTER_LINEAR)[:rows, :columns]
    return mask


def _draw(
    image: NDArray[np.uint8],
    box: Box,
    fixed: Sequence[NDArray[np.int32]],
    value: float | Sequence[float],
    scale: float,
    width: float | None,
) -> None:
    """Fill contours or draw lines on an image of the box, `scale` of its pixels to one of the picture's."""
    # The same fixed-point numbers with another place for the point.
    shift = FRACTION - round(math.log2(scale))
    half = (1 << FRACTION) // 2 - (1 << shift) // 2
    origin = np.array([(box[0] << FRACTION) - half, (box[1] << FRACTION) - half], dtype=np.int32)
    local = [curve for curves in fixed for curve in curves - origin]
    if width is None:
        cv2.fillPoly(image, local, value, cv2.LINE_8, shift)
    else:
        cv2.polylines(image, local, False, value, max(1, round(width * scale)), cv2.LINE_8, shift)


def _halved(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return an image of `scale` pixels a picture pixel at the picture's size; OpenCV is fast at halves alone."""
    for _ in range(round(math.log2(scale))):
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return image


def _scale(box: Box, blur: float) -> float:
    """Mask pixels a picture pixel (a power of two): more for sharp shapes, fewer the softer they are.

    OpenCV's own LINE_AA is no choice: it widens every shape by 0.7 pixel, too much for an eyelid.
    """
    if blur < 0.7:
        return 4 if (box[2] - box[0]) * (box[3] - box[1]) < 5000 else 2
    return 0.5 ** max(0, math.floor(math.log2(blur)))


def _fixed(curves: Curves) -> list[NDArray[np.int32]]:
    """Return the curves as arrays (K, N, 2) of fixed-point numbers with `FRACTION` bits."""
    arrays = [curves] if isinstance(curves, np.ndarray) else curves
    return [np.rint(a.reshape(-1, *a.shape[-2:]) * (1 << FRACTION)).astype(np.int32) for a in arrays]


@functools.lru_cache
def _circle(steps: int) -> Points:
    angle = np.linspace(0, 2 * math.pi, steps, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@functools.lru_cache
def _differences(count: int) -> Points:
    """The matrix that takes `count` points of a curve to its directions there."""
    neighbours = np.eye(count)[np.clip(np.arange(-1, count + 1), 0, count - 1)]
    return neighbours[2:] - neighbours[:-2]


@functools.lru_cache
def _swelling(count: int, taper: tuple[float, float]) -> Points:
    along = np.linspace(0, 1, count)
    return np.maximum(np.sin(np.pi * along) ** 0.6, taper[0] + (taper[1] - taper[0]) * along)


@functools.lru_cache
def _spline(count: int, closed: bool, steps: int) -> Points:
    """The matrix that takes `count` control points to the curve through them."""
    p, t = np.eye(count), np.arange(steps)[:, None] / steps
    if closed:
        padded = np.concatenate([p[-1:], p, p[:2]])
    else:
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    windows = padded[np.arange(len(padded) - 3)[:, None] + np.arange(4)]  # (segments, 4, count)
    basis = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    curve: Points = (t ** np.arange(4) @ basis @ windows).reshape(-1, count)
    return curve if closed else np.concatenate([curve, p[-1:]])
