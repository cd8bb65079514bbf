"""The released builder's crop, step by step with plain Pillow and SciPy: slow, and what the engines are measured by.

Nothing is shared with `crop.py`, so that each can be tested against the other. Landmarks, the square and its zoom are
float32, as in the released builder, and the square reaches Pillow as float32 too: Pillow computes the slopes of its
edges in that precision (NumPy 1 rounds fewer of those steps than NumPy 2, which moves single pixels by one level).

Source: Karras et al. 2018, appendix C, and the behaviour of the authors' released builder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError

RELEASED_SIDE = 1024
Quad = NDArray[np.float32]


def released_crop(
    image: NDArray[np.uint8], landmarks: NDArray[np.floating[Any]], *, resolution: int = RELEASED_SIDE
) -> NDArray[np.uint8]:
    """Return the crop that the released builder makes of a photo.

    Args:
        image: uint8 (H, W, 3).
        landmarks: float (5, 2), as `crop_quad` takes them.
        resolution: side of the crop; the released builder knows 1024 only, of which all its lengths are fractions.

    Returns:
        uint8 (resolution, resolution, 3).

    Raises:
        InputError: the landmarks coincide, or the square does not touch the photo.
    """
    quad, half_side = _square(np.asarray(landmarks, np.float32))
    zoom = np.float32(resolution / (half_side * 2))
    picture = Image.fromarray(image)
    shrink = int(np.floor(0.5 / zoom))
    if shrink > 1:
        width, height = (max(1, round(length / shrink)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        quad, zoom = quad / np.float32(shrink), zoom * np.float32(shrink)
    border = max(round(float(resolution * 0.1 / zoom)), 3)
    picture, quad = _cut(picture, quad, border)
    factor = int(2 ** np.ceil(np.log2(zoom)))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.LANCZOS)
        quad, zoom = quad * np.float32(factor), zoom / np.float32(factor)
    padding, sigma = round(float(resolution * 0.3 / zoom)), float(resolution * 0.02 / zoom)
    picture, quad = _padded(picture, quad, border, padding, sigma)
    corners: Any = (quad + 0.5).flatten()
    oversampled = (resolution * 4, resolution * 4)
    square = picture.transform(oversampled, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return np.asarray(square.resize((resolution, resolution), Image.Resampling.LANCZOS))


def _square(landmarks: Quad) -> tuple[Quad, np.float32]:
    """Return the corners TL, BL, BR, TR and half the side."""
    eye_middle = (landmarks[0] + landmarks[1]) * 0.5 + 0.5
    mouth_middle = (landmarks[3] + landmarks[4]) * 0.5 + 0.5
    eye_to_eye, eye_to_mouth = landmarks[1] - landmarks[0], mouth_middle - eye_middle
    x = eye_to_eye - _turned(eye_to_mouth)
    length = np.hypot(*x)
    if not np.isfinite(length) or length < 1e-6:
        raise InputError("The landmarks coincide; they define no crop square.")
    x = x / length * max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = _turned(x)
    centre = eye_middle + eye_to_mouth * 0.1
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y]), np.hypot(*x)


def _turned(vector: Quad) -> Quad:
    return np.array([-vector[1], vector[0]], np.float32)


def _box(quad: Quad) -> tuple[int, int, int, int]:
    (left, top), (right, bottom) = np.floor(quad.min(axis=0)), np.ceil(quad.max(axis=0))
    return int(left), int(top), int(right), int(bottom)


def _cut(picture: Image.Image, quad: Quad, border: int) -> tuple[Image.Image, Quad]:
    left, top, right, bottom = _box(quad)
    left, top = max(left - border, 0), max(top - border, 0)
    right, bottom = min(right + border, picture.width), min(bottom + border, picture.height)
    if left >= right or top >= bottom:
        raise InputError("The crop square lies outside the photo.")
    return picture.crop((left, top, right, bottom)), quad - np.array([left, top], np.float32)


def _padded(picture: Image.Image, quad: Quad, border: int, padding: int, sigma: float) -> tuple[Image.Image, Quad]:
    left, top, right, bottom = _box(quad)
    missing = (border - left, border - top, right - picture.width + border, bottom - picture.height + border)
    if max(missing) <= border - 4:
        return picture, quad
    left, top, right, bottom = (max(side, 0, padding) for side in missing)
    wide = np.pad(np.asarray(picture, np.float32), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = wide.shape[:2]
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    inside = np.minimum(np.minimum(x / left, y / top), np.minimum((width - 1 - x) / right, (height - 1 - y) / bottom))
    mask = (1 - inside)[:, :, None]
    wide += (scipy.ndimage.gaussian_filter(wide, (sigma, sigma, 0)) - wide) * np.clip(mask * 3 + 1, 0, 1)
    wide += (np.median(wide, axis=(0, 1)) - wide) * np.clip(mask, 0, 1)
    rounded = np.clip(np.rint(wide), 0, 255).astype(np.uint8)
    return Image.fromarray(rounded), quad + np.array([left, top], np.float32)
