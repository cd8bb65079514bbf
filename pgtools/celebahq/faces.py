"""Which faces of a photo become crops, and which of them are too small, too turned or cut off.

Convention: landmarks are float64 (5, 2) in numbered pixels: left eye, right eye, nose tip, left and right corner of the
mouth, left as seen in the picture. A photo covers [0, width] × [0, height]; a crop square has its corners there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.cropping.crop import crop_quad, side_of
from pgtools.errors import InputError

Points = NDArray[np.float64]
Choice: TypeAlias = Literal["largest", "centre", "all"]

# How far the tip of the nose stands before the plane of eyes and mouth, in distances of the eyes: about 28 mm of 63.
NOSE = 0.45
# Pixels; no photo that pgtools reads is as wide.
FAR = 1e6
# How far the eyes must stand the wrong way round, in distances of eyes and mouth, to be called swapped: in profile they
# coincide in the picture, and an annotator's pixel decides which of the two is the left one.
SWAPPED = 0.25


@dataclass(frozen=True)
class Face:
    """A face that a detector found.

    Attributes:
        points: float64 (5, 2), its landmarks.
        box: float64 (4,): left, top, right, bottom; it may reach beyond the photo.
        confidence: 0 to 1, the detector's own.
    """

    points: Points
    box: Points
    confidence: float

    @property
    def area(self) -> float:
        """The box's area in pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


@dataclass(frozen=True)
class Limits:
    """What a face must be to become a crop; the defaults let everything through that can give one.

    CelebA's own faces are all candidates of the paper, profiles and cut ones too: what they are worth, the quality
    score says.

    Attributes:
        min_face: the least side of the crop square, in pixels of the photo.
        max_turn: the most degrees that the head may be turned to a side (`turn_of`); 90 lets all through.
        max_outside: the largest share of the crop square that may lie outside the photo; 1 lets all through.
    """

    min_face: float = 8
    max_turn: float = 90
    max_outside: float = 1


def choose(faces: Sequence[Face], how: Choice, size: tuple[int, int]) -> list[Face]:
    """Return the faces of a photo that are to become crops.

    Args:
        faces: of one photo, in any order.
        how: largest: the one with the largest box, since of several people a portrait is of the nearest. centre: the
            one whose box has its middle nearest to the photo's, the larger of two. all: every face, the largest first.
        size: (width, height) of the photo.

    Returns:
        None, one or all of them. Boxes of one size come from top to bottom, then from left to right, so that the
        order is the same whatever the detector's.
    """

    def largest_first(face: Face) -> tuple[float, ...]:
        return (-face.area, face.box[1], face.box[0])

    def nearest_first(face: Face) -> tuple[float, ...]:
        middle = (face.box[:2] + face.box[2:]) / 2
        return (math.dist(middle, (size[0] / 2, size[1] / 2)), *largest_first(face))

    order: Callable[[Face], tuple[float, ...]] = nearest_first if how == "centre" else largest_first
    ordered = sorted(faces, key=order)
    return ordered if how == "all" else ordered[:1]


def fault(landmarks: Points, size: tuple[int, int], limits: Limits) -> str | None:
    """Return why a face gives no crop, or None if it does.

    A head that leans to its shoulder is no fault: the crop leans with it.

    Args:
        landmarks: float64 (5, 2).
        size: (width, height) of the photo that they name pixels of.
        limits: what is allowed.

    Returns:
        One line; what differs from photo to photo stands in the brackets at its end.
    """
    if not (np.abs(landmarks) < FAR).all():  # nor are they where they are no numbers
        return "landmarks are no places in a picture"
    try:
        quad = crop_quad(landmarks)
    except InputError:
        return "landmarks coincide and define no crop square"
    if _eyes_apart(landmarks) < -SWAPPED * math.dist(landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)):
        return "landmarks are mirrored (the left eye must be the left one as seen in the picture)"
    if (side := side_of(quad)) < limits.min_face:
        return f"face is small (its square is {_below(side)} pixels; --min-face is {limits.min_face:g})"
    if (turn := abs(turn_of(landmarks))) > limits.max_turn:
        return f"face is turned (by about {_above(turn)} degrees; --max-turn is {limits.max_turn:g})"
    if (share := outside(quad, size)) > limits.max_outside:
        allowed = f"--max-outside is {limits.max_outside:g}"
        return f"face is cut off ({_above(share, 100)} of its square is outside; {allowed})"
    return None


def turn_of(landmarks: Points) -> float:
    """Return an estimate of the head's turn to the side, in degrees from -90 to 90; 0 looks at the camera.

    A model with one number: eyes and mouth lie in a plane, symmetric about the head's own vertical, and the tip of the
    nose stands `NOSE` eye distances e before that plane. Seen from afar, a head turned by ψ shows its eyes e·cos ψ
    apart and the nose NOSE·e·sin ψ beside its vertical, so

        ψ = atan2(nose beside the vertical / NOSE, eyes apart).

    Both are measured across the line from the eyes' middle to the mouth's, which is the vertical in the picture however
    the head nods or leans: neither changes the estimate. Heads differ: a nose a fifth shorter or longer, a mouth a
    tenth of e before the eyes or behind them are up to 13° of ψ.

    Args:
        landmarks: float64 (5, 2), finite.

    Returns:
        Positive where the nose points to the right of the picture. 0 where the points do not say: eyes and mouth in
        one point.
    """
    beside = _across(landmarks, landmarks[2] - landmarks[:2].mean(axis=0))
    turn = math.degrees(math.atan2(abs(beside) / NOSE, _eyes_apart(landmarks)))
    return math.copysign(min(turn, 90.0), beside)


def outside(quad: Points, size: tuple[int, int]) -> float:
    """Return the share, 0 to 1, of a crop square that lies outside a photo of `size` (width, height).

    The square is clipped by the four borders in turn (Sutherland and Hodgman 1974); what is left is measured exactly.
    """
    inside = [(float(x), float(y)) for x, y in quad]
    whole = _area(inside)
    for axis in (0, 1):
        inside = _clipped(inside, axis, 0.0, 1)
        inside = _clipped(inside, axis, float(size[axis]), -1)
    return max(1 - _area(inside) / whole, 0.0)


def _eyes_apart(landmarks: Points) -> float:
    return _across(landmarks, landmarks[1] - landmarks[0])


def _across(landmarks: Points, vector: Points) -> float:
    """Return the part of a vector that is across the line from the eyes' to the mouth's middle; positive is right."""
    down = landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)
    length = math.hypot(*down)
    if length == 0:  # seen from the crown: the eyes' own line is what is left
        along = landmarks[1] - landmarks[0]
        return float(vector @ along / (math.hypot(*along) or 1))
    return float((vector[0] * down[1] - vector[1] * down[0]) / length)


Corners: TypeAlias = list[tuple[float, float]]


def _clipped(corners: Corners, axis: int, border: float, sign: int) -> Corners:
    """Return the part of a convex polygon where sign · (coordinate - border) ≥ 0."""
    kept: Corners = []
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        before, after = sign * (start[axis] - border), sign * (end[axis] - border)
        if before >= 0:
            kept.append(start)
        if (before < 0 < after) or (after < 0 < before):
            part = before / (before - after)
            kept.append((start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])))
    return kept


def _area(corners: Corners) -> float:
    """The shoelace formula, measured from the first corner so that far-away squares lose no digits."""
    if not corners:
        return 0.0
    x = np.array([corner[0] - corners[0][0] for corner in corners])
    y = np.array([corner[1] - corners[0][1] for corner in corners])
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _below(value: float, parts: int = 10) -> str:
    """Write a number that is too small so that it is not rounded up to what is allowed."""
    return f"{math.floor(value * parts) / parts:g}"


def _above(value: float, parts: int = 1) -> str:
    """Write a number that is too large so that it is not rounded down to what is allowed."""
    return f"{math.ceil(value * parts) / parts:g}"
