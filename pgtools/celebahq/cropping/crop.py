"""Landmarks → crop square → the padded, resampled crop.

Convention: points are float64 (x, y) in pixels, x right, y down, pixel centres at +0.5. A quad is float64 (4, 2): the
corners TL, BL, BR, TR of the square in the photo, each value one that float32 has, since the released builder computes
them so. `zoom` is crop pixels per photo pixel.

Two engines evaluate one definition, `released.released_crop`: `exact` follows it sample by sample; `fast` takes fewer
samples and blurs on a reduced picture. `finish` says what they differ by.

Source: Karras et al. 2018, appendix C, and the behaviour of the authors' released builder at 1024²; every length there
is a fraction of the crop's side, so a smaller `resolution` is the same definition at another scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.cropping.enlarge import enlarged_planes
from pgtools.celebahq.cropping.padding import Box, Pads, padded, padded_planes
from pgtools.celebahq.cropping.roughness import oversampling_for, roughness
from pgtools.celebahq.cropping.square import OVERSAMPLING, resampled
from pgtools.errors import InputError
from pgtools.imaging.resample import lanczos

Points = NDArray[np.float64]
Pixels = NDArray[np.uint8]
# Enlarges an image: returns it with the integer factor it was enlarged by.
Enlarge = Callable[[Pixels], tuple[Pixels, int]]
Engine: TypeAlias = Literal["fast", "exact"]

# Fractions of the crop's side.
BORDER, PADDING, BLUR = 0.1, 0.3, 0.02
# What bilinear sampling reads beyond the square.
MARGIN = 2


@dataclass(frozen=True)
class Framing:
    """The neighbourhood of a square, cut from a photo.

    Attributes:
        image: uint8 (H, W, 3).
        quad: float64 (4, 2), TL, BL, BR, TR in the image's own pixels.
        zoom: crop pixels per pixel of `image`.
        border: pixels that were to be left around the square when it was cut, in the photo's pixels.
        reduced: whether the photo was far too large and reduced first.
    """

    image: Pixels
    quad: Points
    zoom: float
    border: int
    reduced: bool = False

    @property
    def wants_enlarging(self) -> bool:
        """Whether the photo is smaller than the crop, so that super-resolution has something to add."""
        return self.zoom > 1

    @property
    def factor(self) -> int:
        """What Lanczos enlarges it by: the smallest power of two that is not below the zoom."""
        return 1 << max(0, int(np.ceil(np.log2(self.zoom))))

    @property
    def beyond(self) -> Pads | None:
        """How far the square with its border reaches beyond the enlarged image: left, top, right, bottom; or None.

        The border keeps its number of pixels when the image is enlarged; up to four of them may be missing.
        """
        height, width = (length * self.factor for length in self.image.shape[:2])
        left, top, right, bottom = _bounding_box(self.quad * self.factor)
        border = self.border
        missing = (border - left, border - top, right - width + border, bottom - height + border)
        if max(missing) <= border - 4:
            return None
        return max(missing[0], 0), max(missing[1], 0), max(missing[2], 0), max(missing[3], 0)

    def enlarged(self, image: Pixels, factor: int) -> Framing:
        """Return the framing with what a network made of its image put in its place.

        Args:
            image: uint8 (H·factor, W·factor, 3).
            factor: what it was enlarged by.

        Raises:
            InputError: the image is of another size.
        """
        height, width = (length * factor for length in self.image.shape[:2])
        if image.shape != (height, width, 3):
            raise InputError(f"The enlarged image is {image.shape}; expected {(height, width, 3)}.")
        return replace(self, image=image, quad=_single(self.quad * factor), zoom=self.zoom / factor)


def crop_quad(landmarks: Points) -> Points:
    """Return the crop square of five landmarks.

    Args:
        landmarks: float (5, 2): left eye, right eye, nose, left mouth corner, right mouth corner, as numbered pixels
            (left in the picture; a pixel's centre lies at +0.5).

    Returns:
        float64 (4, 2): TL, BL, BR, TR, computed in float32.

    Raises:
        InputError: the points coincide, so that no square is defined.
    """
    eye_left, eye_right, _, mouth_left, mouth_right = np.asarray(landmarks, dtype=np.float32)
    eye_middle = (eye_left + eye_right) * 0.5 + 0.5
    mouth_middle = (mouth_left + mouth_right) * 0.5 + 0.5
    eye_to_eye, eye_to_mouth = eye_right - eye_left, mouth_middle - eye_middle
    along = eye_to_eye - _rotate90(eye_to_mouth)
    length = np.hypot(*along)
    if not np.isfinite(length) or length < 1e-6:
        raise InputError("The landmarks coincide; they define no crop square.")
    half_side = max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    x = along / length * half_side
    y = _rotate90(x)
    centre = eye_middle + eye_to_mouth * 0.1
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y]).astype(np.float64)


def side_of(quad: Points) -> float:
    """Return the side of a quad in pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def frame(image: Pixels, quad: Points, *, resolution: int) -> Framing:
    """Return the neighbourhood of a square, from a photo reduced by a whole factor where it is far too large.

    Args:
        image: uint8 (H, W, 3).
        quad: from `crop_quad`.
        resolution: side of the crop.

    Raises:
        InputError: the square does not touch the photo.
    """
    quad, zoom = _single(quad), _zoom(quad, resolution)
    shrink = int(np.floor(0.5 / zoom))
    height, width = image.shape[:2]
    if shrink > 1:
        width, height = max(1, round(width / shrink)), max(1, round(height / shrink))
        image, quad, zoom = lanczos(image, width, height), _single(quad / shrink), zoom * shrink
    border = max(round(resolution * BORDER / zoom), 3)
    left, top, right, bottom = _bounding_box(quad)
    left, top = max(left - border, 0), max(top - border, 0)
    right, bottom = min(right + border, width), min(bottom + border, height)
    if left >= right or top >= bottom:
        raise InputError("The crop square lies outside the photo.")
    cut = np.ascontiguousarray(image[top:bottom, left:right])
    return Framing(cut, _single(quad - (left, top)), zoom, border, reduced=shrink > 1)


def finish(framing: Framing, *, resolution: int, engine: Engine = "fast") -> Pixels:
    """Return the crop, uint8 (resolution, resolution, 3): enlarged by Lanczos to its size, padded, resampled.

    Against `released_crop`, in levels (tests/celebahq/test_released.py): exact stays within 0.01 in the mean and 1 at
    most, within 0.05 and 2 with padding; fast within 0.3 and 3. A sweep over 40 pictures of 43×55 to 6732×8984 gave
    exact 0.0057 and 1 (2 in one value of one picture of noise enlarged 64 times), fast 0.18 and 3 at worst. Photos of
    20 to 517 pixels with lines, stripes and checks of 0 and 255, squares up to 40 times as wide, gave exact 0.007 and
    1, fast 0.15 and 2 at worst. Where much of the padding lies near a half, which fine stripes make, the fast engine
    pads as the exact one, and as slowly.

    Args:
        framing: from `frame`, with a network's output in place or without.
        resolution: as `frame` was given it.
        engine: "exact" or "fast".
    """
    factor, exact = framing.factor, engine == "exact"
    planes = enlarged_planes(framing.image, factor, exact=exact)
    quad, zoom = _single(framing.quad * factor), framing.zoom / factor
    pads, sigma = None, resolution * BLUR / zoom
    if framing.beyond is not None:
        least = max(round(resolution * PADDING / zoom), 1)
        left, top, right, bottom = (max(side, least) for side in framing.beyond)
        pads, quad = (left, top, right, bottom), _single(quad + np.array([left, top]))
    box = _box(quad, planes[0].shape, pads)
    if pads is None:
        floats = [plane[box.rows, box.columns].astype(np.float32) for plane in planes]
    elif exact:
        whole = padded(np.dstack(planes), pads, sigma)[box.rows, box.columns]
        floats = [plane.astype(np.float32) for plane in cv2.split(whole)]
    else:
        floats = padded_planes(planes, pads, sigma, box)
    samples = OVERSAMPLING if exact else oversampling_for(roughness(framing.image), factor=factor, zoom=zoom)
    place = quad - (box.left, box.top)
    return resampled(floats, place, resolution=resolution, oversampling=samples, exact=exact)


def steps_of(framing: Framing) -> tuple[str, ...]:
    """Return which steps the crop takes besides the networks': "reduce", "lanczos" (enlarging), "padding"."""
    taken = {"reduce": framing.reduced, "lanczos": framing.factor > 1, "padding": framing.beyond is not None}
    return tuple(step for step, is_taken in taken.items() if is_taken)


def crop(
    image: Pixels, quad: Points, *, resolution: int, enlarge: Enlarge | None = None, engine: Engine = "fast"
) -> Pixels:
    """Return the oriented square `quad` of a photo, uint8 (resolution, resolution, 3).

    The photo is reduced where it is far too large, cut to the neighbourhood of the square, enlarged to at least the
    crop's resolution, continued beyond its border by blurred reflection, and resampled.

    Args:
        image: uint8 (H, W, 3).
        quad: from `crop_quad`.
        resolution: side of the crop.
        enlarge: a super-resolution network, run once where the photo is smaller than the crop; Lanczos does what
            remains, and all of it without a network.
        engine: "exact" or "fast".

    Raises:
        InputError: the square does not touch the photo.
    """
    framing = frame(image, quad, resolution=resolution)
    if framing.wants_enlarging and enlarge is not None:
        framing = framing.enlarged(*enlarge(framing.image))
    return finish(framing, resolution=resolution, engine=engine)


def _zoom(quad: Points, resolution: int) -> float:
    """Return crop pixels per photo pixel; one at which a step would change its factor is taken for exactly that.

    The corners are known to float32's precision only, and the released builder computes the zoom before them.
    """
    zoom = resolution / side_of(quad)
    slack = 4 * float(np.spacing(np.float32(np.abs(quad).max()))) / side_of(quad)
    for whole in (2.0 ** np.round(np.log2(zoom)), 0.5 / max(np.round(0.5 / zoom), 1)):
        if abs(zoom / whole - 1) < slack:
            return float(whole)
    return zoom


def _single(quad: Points) -> Points:
    """Return the quad with every value rounded to float32, as the released builder keeps it."""
    return quad.astype(np.float32).astype(np.float64)


def _box(quad: Points, shape: tuple[int, ...], pads: Pads | None) -> Box:
    """Return the part of a picture of this shape, once padded, that the square's samples are taken from."""
    height, width = shape[:2]
    if pads is not None:
        width, height = width + pads[0] + pads[2], height + pads[1] + pads[3]
    left, top, right, bottom = _bounding_box(quad)
    left, top = max(left - MARGIN, 0), max(top - MARGIN, 0)
    return Box(left, top, min(right + MARGIN + 1, width), min(bottom + MARGIN + 1, height))


def _bounding_box(quad: Points) -> tuple[int, int, int, int]:
    left, top = np.floor(quad.min(axis=0)).astype(int)
    right, bottom = np.ceil(quad.max(axis=0)).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _rotate90(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rotate by 90° clockwise as seen in the picture (y down): (x, y) → (−y, x)."""
    return np.array([-vector[1], vector[0]], vector.dtype)
