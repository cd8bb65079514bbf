"""A canvas of antialiased soft shapes, and the curves that bound them. Points are (x, y), whole at pixel centres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Points: TypeAlias = NDArray[np.float64]
Colour: TypeAlias = NDArray[np.float64]

# Sub-pixel bits of OpenCV's drawing functions.
SHIFT = 4


def rgb(*values: float) -> Colour:
    """Return a colour, RGB in 0..255."""
    return np.array(values, dtype=np.float64)


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """Return the colour a share `t` of the way from `a` to `b`."""
    return a + (b - a) * t


def ramp(stops: Sequence[Colour], t: float) -> Colour:
    """Return the colour at `t` in 0..1 along evenly spaced stops."""
    place = min(max(t, 0.0), 1.0) * (len(stops) - 1)
    i = min(int(place), len(stops) - 2)
    return mix(stops[i], stops[i + 1], place - i)


def smooth(points: ArrayLike, *, closed: bool = False, steps: int = 6) -> Points:
    """Return a Catmull-Rom curve through the control points (N, 2), `steps` points a segment."""
    p = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([p[-1:], p, p[:2]])
    else:
        padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    windows = np.stack([padded[i : len(padded) - 3 + i] for i in range(4)])  # (4, segments, 2)
    curve = np.einsum("tk,ksd->std", _weights(steps), windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def ellipse(centre: ArrayLike, rx: float, ry: float, steps: int = 28) -> Points:
    """Return an ellipse's contour (steps, 2)."""
    angle = np.linspace(0, 2 * math.pi, steps, endpoint=False)
    return np.asarray(centre, dtype=np.float64) + np.stack([rx * np.cos(angle), ry * np.sin(angle)], axis=1)


def ribbon(curve: Points, width: float | Points, *, taper: tuple[float, float] = (0.0, 0.0)) -> Points:
    """Return the contour of a stroke along `curve`, its full width falling to the shares `taper` at both ends."""
    along = np.linspace(0, 1, len(curve))
    profile = np.sin(np.pi * along) ** 0.6
    floor = taper[0] + (taper[1] - taper[0]) * along
    half = 0.5 * width * np.maximum(profile, floor)
    direction = np.gradient(curve, axis=0)
    normal = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return np.concatenate([curve + normal * half[:, None], (curve - normal * half[:, None])[::-1]])


class Canvas:
    """A float32 RGB picture that shapes are laid on.

    Attributes:
        image: float32 (H, W, 3), RGB in 0..255.
    """

    def __init__(self, image: NDArray[np.float32]) -> None:
        self.image = image

    def fill(
        self,
        contour: Points,
        colour: Colour,
        *,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Points | None = None,
    ) -> None:
        """Fill a closed contour (N, 2), its edge softened by a Gaussian of `blur` pixels, inside `within` only."""
        box = self._box([contour], 3 * blur + 1)
        if box is None:
            return
        mask = _filled(box, contour)
        if blur > 0.3:
            mask = _softened(mask, blur)
        if within is not None:
            mask = cv2.multiply(mask, _filled(box, within), scale=1 / 255)
        self._blend(box, mask, colour, alpha)

    def strokes(
        self,
        curves: Sequence[Points],
        colour: Colour,
        *,
        width: float,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Points | None = None,
    ) -> None:
        """Draw many lines of one width (pixels) and colour at once; where they cross they do not add up."""
        box = self._box(curves, width + 3 * blur + 1)
        if box is None:
            return
        factor = _factor(box)
        thickness = max(1, round(width * factor))
        mask = np.zeros(_shape(box, factor), np.uint8)
        cv2.polylines(mask, [_fixed(c, box, factor) for c in curves], False, 255, thickness, cv2.LINE_8, SHIFT)
        mask = _reduced(mask, box)
        if blur > 0.3:
            mask = _softened(mask, blur)
        if within is not None:
            mask = cv2.multiply(mask, _filled(box, within), scale=1 / 255)
        # Lines thinner than a sub-pixel fade instead of growing.
        self._blend(box, mask, colour, alpha * min(1.0, width * factor))

    def lay(self, texture: NDArray[np.float32], transform: Points, contour: Points, *, blur: float = 0.0) -> None:
        """Lay a float32 RGB texture, mapped by a 2×3 affine of texture to picture pixels, inside a contour."""
        box = self._box([contour], 3 * blur + 1)
        if box is None:
            return
        x0, y0, x1, y1 = box
        shifted = transform - np.array([[0, 0, x0], [0, 0, y0]])
        size = (x1 - x0, y1 - y0)
        colours = cv2.warpAffine(texture, shifted, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = _filled(box, contour)
        if blur > 0.3:
            mask = _softened(mask, blur)
        self._blend(box, mask, colours, 1.0)

    def _blend(
        self, box: tuple[int, int, int, int], mask: NDArray[np.uint8], colour: NDArray[np.floating], alpha: float
    ) -> None:
        x0, y0, x1, y1 = box
        region = self.image[y0:y1, x0:x1]
        weight = (mask * np.float32(alpha / 255))[..., None]
        region += weight * (colour.astype(np.float32) - region)

    def _box(self, curves: Sequence[Points], margin: float) -> tuple[int, int, int, int] | None:
        height, width = self.image.shape[:2]
        points = np.concatenate(curves)
        low = np.floor(points.min(axis=0) - margin)
        high = np.ceil(points.max(axis=0) + margin) + 1
        x0, y0 = int(max(low[0], 0)), int(max(low[1], 0))
        x1, y1 = int(min(high[0], width)), int(min(high[1], height))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _filled(box: tuple[int, int, int, int], contour: Points) -> NDArray[np.uint8]:
    factor = _factor(box)
    mask = np.zeros(_shape(box, factor), np.uint8)
    cv2.fillPoly(mask, [_fixed(contour, box, factor)], 255, cv2.LINE_8, SHIFT)
    return _reduced(mask, box)


def _softened(mask: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    blurred: NDArray[np.uint8] = cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred


def _factor(box: tuple[int, int, int, int]) -> int:
    """Supersampling: OpenCV's own LINE_AA widens every shape by 0.7 pixel, too much for an eyelid."""
    return 4 if (box[2] - box[0]) * (box[3] - box[1]) < 20_000 else 2


def _shape(box: tuple[int, int, int, int], factor: int) -> tuple[int, int]:
    return (box[3] - box[1]) * factor, (box[2] - box[0]) * factor


def _fixed(curve: Points, box: tuple[int, int, int, int], factor: int) -> NDArray[np.int32]:
    fine = (curve - np.array(box[:2]) + 0.5) * factor - 0.5
    return np.rint(fine * (1 << SHIFT)).astype(np.int32)


def _reduced(mask: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    size = (box[2] - box[0], box[3] - box[1])
    reduced: NDArray[np.uint8] = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return reduced


def _weights(steps: int) -> Points:
    t = np.arange(steps)[:, None] / steps
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = 0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    return powers @ basis
