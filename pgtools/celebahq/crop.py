"""Landmarks → crop square → the padded, resampled crop.

Convention: points are float64 (x, y) in pixels, x right, y down, pixel centres at +0.5. A quad is float64 (4, 2): the
corners TL, BL, BR, TR of the square in the photo. `zoom` is crop pixels per photo pixel.

Source: Karras et al. 2018, appendix C, and the behaviour of the authors' released builder at 1024²; every length there
is a fraction of the crop's side, so a smaller `resolution` is the same definition at another scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.conventions import quantise
from pgtools.imaging.resample import lanczos

Points = NDArray[np.float64]
Pixels = NDArray[np.uint8]
# Enlarges an image: returns it with the integer factor it was enlarged by.
Enlarge = Callable[[Pixels], tuple[Pixels, int]]

# Fractions of the crop's side.
BORDER, PADDING, BLUR = 0.1, 0.3, 0.02
OVERSAMPLING = 4


@dataclass(frozen=True)
class Framing:
    """A picture and the square to be cut from it; every step below returns the next one.

    Attributes:
        image: uint8 (H, W, 3).
        quad: float64 (4, 2), TL, BL, BR, TR in the image's own pixels.
        zoom: crop pixels per pixel of `image`.
    """

    image: Pixels
    quad: Points
    zoom: float


def crop_quad(landmarks: Points) -> Points:
    """Return the crop square of five landmarks.

    Args:
        landmarks: float (5, 2): left eye, right eye, nose, left mouth corner, right mouth corner, as numbered pixels
            (left in the picture; a pixel's centre lies at +0.5).

    Returns:
        float64 (4, 2): TL, BL, BR, TR.

    Raises:
        InputError: the points coincide, so that no square is defined.
    """
    eye_left, eye_right, _, mouth_left, mouth_right = np.asarray(landmarks, dtype=np.float64)
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
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def side_of(quad: Points) -> float:
    """Return the side of a quad in pixels."""
    return float(np.hypot(*(quad[3] - quad[0])))


def crop(image: Pixels, quad: Points, *, resolution: int, enlarge: Enlarge | None = None) -> Pixels:
    """Return the oriented square `quad` of a photo, uint8 (resolution, resolution, 3).

    The photo is reduced where it is far too large, cut to the neighbourhood of the square, enlarged to at least the
    crop's resolution, continued beyond its border by blurred reflection, and resampled.

    Args:
        image: uint8 (H, W, 3).
        quad: from `crop_quad`.
        resolution: side of the crop.
        enlarge: a super-resolution network, run once where the photo is smaller than the crop; Lanczos does what
            remains, and all of it without a network.

    Raises:
        InputError: the square does not touch the photo.
    """
    framing = _shrunk(Framing(image, quad, resolution / side_of(quad)), resolution)
    border = max(round(resolution * BORDER / framing.zoom), 3)
    framing = _cut(framing, border)
    framing = _enlarged(framing, enlarge)
    framing = _padded(framing, border, resolution)
    return _resampled(framing, resolution)


def _shrunk(framing: Framing, resolution: int) -> Framing:
    shrink = int(np.floor(0.5 / framing.zoom))
    if shrink <= 1:
        return framing
    height, width = framing.image.shape[:2]
    image = lanczos(framing.image, max(1, round(width / shrink)), max(1, round(height / shrink)))
    return Framing(image, framing.quad / shrink, framing.zoom * shrink)


def _cut(framing: Framing, border: int) -> Framing:
    height, width = framing.image.shape[:2]
    left, top, right, bottom = _bounding_box(framing.quad)
    left, top = max(left - border, 0), max(top - border, 0)
    right, bottom = min(right + border, width), min(bottom + border, height)
    if left >= right or top >= bottom:
        raise InputError("The crop square lies outside the photo.")
    image = np.ascontiguousarray(framing.image[top:bottom, left:right])
    return replace(framing, image=image, quad=framing.quad - (left, top))


def _enlarged(framing: Framing, enlarge: Enlarge | None) -> Framing:
    if framing.zoom > 1 and enlarge is not None:
        image, factor = enlarge(framing.image)
        framing = Framing(image, framing.quad * factor, framing.zoom / factor)
    factor = 2 ** int(np.ceil(np.log2(framing.zoom)))
    if factor <= 1:
        return framing
    height, width = framing.image.shape[:2]
    image = lanczos(framing.image, width * factor, height * factor)
    return Framing(image, framing.quad * factor, framing.zoom / factor)


def _padded(framing: Framing, border: int, resolution: int) -> Framing:
    """Continue the picture by reflection where the square (with its border) leaves it; `border` is in old pixels."""
    height, width = framing.image.shape[:2]
    left, top, right, bottom = _bounding_box(framing.quad)
    missing = np.array([border - left, border - top, right - width + border, bottom - height + border])
    pad = np.maximum(missing, 0)
    if pad.max() <= border - 4:
        return framing
    pad = np.maximum(pad, round(resolution * PADDING / framing.zoom))
    sides = ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0))
    extended = np.pad(framing.image.astype(np.float32), sides, mode="reflect")
    beyond = _distance_beyond(extended.shape[0], extended.shape[1], pad)
    blurred = _gaussian(extended, resolution * BLUR / framing.zoom)
    extended += (blurred - extended) * np.clip(3 * beyond + 1, 0, 1)
    extended += (np.median(extended, axis=(0, 1)) - extended) * np.clip(beyond, 0, 1)
    return replace(framing, image=quantise(extended), quad=framing.quad + pad[:2])


def _distance_beyond(height: int, width: int, pad: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return float32 (H, W, 1): 0 at the old border, 1 at the new one, negative inside the old picture."""
    left, top, right, bottom = np.maximum(pad, 1).astype(np.float32)
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)
    across = np.minimum(x / left, (width - 1 - x) / right)
    down = np.minimum(y / top, (height - 1 - y) / bottom)
    nearest: NDArray[np.float32] = np.minimum(across[None, :], down[:, None])[:, :, None]
    return 1 - nearest


def _gaussian(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return the image blurred by a Gaussian cut at 4 sigma, edges repeated by reflection (scipy.ndimage's default)."""
    size = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(image, (size, size), sigmaX=sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _resampled(framing: Framing, resolution: int) -> Pixels:
    """Resample the quad at four times the resolution, bilinear (Pillow truncates to 8 bits), then Lanczos."""
    side = resolution * OVERSAMPLING
    corners = tuple((framing.quad + 0.5).flatten().tolist())
    picture = Image.fromarray(framing.image)
    square = picture.transform((side, side), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return lanczos(np.asarray(square), resolution, resolution)


def _bounding_box(quad: Points) -> tuple[int, int, int, int]:
    left, top = np.floor(quad.min(axis=0)).astype(int)
    right, bottom = np.ceil(quad.max(axis=0)).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _rotate90(vector: Points) -> Points:
    """Rotate by 90° clockwise as seen in the picture (y down): (x, y) → (−y, x)."""
    return np.array([-vector[1], vector[0]])
