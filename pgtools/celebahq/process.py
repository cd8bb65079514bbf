"""One photo becomes one crop: the function that a build maps over a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.crop import crop, crop_quad
from pgtools.celebahq.quality import quality_score
from pgtools.errors import InputError

if TYPE_CHECKING:  # networks import torch, which a worker without them does without
    from pgtools.celebahq.landmarks import FaceDetector
    from pgtools.restoration.network import ImageNetwork


@dataclass(frozen=True)
class Steps:
    """What is done to every photo.

    Attributes:
        resolution: side of the crops.
        detector: finds the points of photos that come without; None where all come with them.
        restore: JPEG-artifact removal at the photo's own size, or None.
        superres: super-resolution of photos smaller than the crop, or None for Lanczos.
    """

    resolution: int
    detector: FaceDetector | None = None
    restore: ImageNetwork | None = None
    superres: ImageNetwork | None = None


@dataclass(frozen=True)
class Crop:
    """A finished crop.

    Attributes:
        image: uint8 (resolution, resolution, 3).
        landmarks: float64 (5, 2) in the photo.
        quad: float64 (4, 2) in the photo, TL, BL, BR, TR.
        score: quality in [0, 1].
    """

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float64]
    quad: NDArray[np.float64]
    score: float


def process(photo: NDArray[np.uint8], landmarks: NDArray[np.float64] | None, steps: Steps) -> Crop:
    """Return the crop of a photo.

    Args:
        photo: uint8 RGB (H, W, 3).
        landmarks: its five points, or None to have them found.
        steps: what to do.

    Raises:
        InputError: no face is found, or its square is not in the photo.
        ComputeError: a network cannot be computed on this machine.
    """
    if landmarks is None:
        landmarks = _detected(photo, steps)
    if steps.restore is not None:
        photo, _ = steps.restore(photo)
    quad = crop_quad(landmarks)
    image = crop(photo, quad, resolution=steps.resolution, enlarge=steps.superres)
    return Crop(image, landmarks, quad, quality_score(image))


def _detected(photo: NDArray[np.uint8], steps: Steps) -> NDArray[np.float64]:
    if steps.detector is None:
        raise InputError("It is not in the annotation.")
    points = steps.detector.largest_face(photo)
    if points is None:
        raise InputError("No face was found.")
    return points
