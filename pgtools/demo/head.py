"""Where everything is: one map takes the face to the picture; paint and landmarks go through it alike."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from pgtools.demo.paint import Colour, Points, smooth
from pgtools.demo.people import Person, Pose

# The ellipsoid that gives a face its depth, in face units: its middle, 1 / half axis² (across, down), its depth.
SKULL_MIDDLE, SKULL_ROUND, SKULL_DEPTH = np.array([0.0, 0.1]), np.array([1.08, 1.8]) ** -2, 0.85
# How far the tip of the nose stands out of it.
NOSE_LIFT = 0.24
MIRROR = np.array([-1.0, 1.0])
# Times a curve (N, 2) of the right side: the curves (2, N, 2) of the left and the right.
SIDES = np.array([[MIRROR], [(1.0, 1.0)]])


class Head:
    """Face units to pixels: points are raised on an ellipsoid, turned, rolled, scaled and moved."""

    def __init__(self, person: Person, pose: Pose) -> None:
        self.person, self.pose, self.unit = person, pose, pose.unit
        self._linear = _similarity(pose.roll, pose.unit)
        self._origin = np.array([pose.x, pose.y])
        sin_yaw, cos_yaw, sin_pitch, cos_pitch = (f(a) for a in (pose.yaw, pose.pitch) for f in (math.sin, math.cos))
        self._size = np.array([person.width, 1.0])
        # What one unit to the right, down and out of the face becomes when the head is turned.
        self._across = np.array([[cos_yaw, -sin_yaw * sin_pitch], [0.0, cos_pitch]])
        self._outwards = np.array([sin_yaw, cos_yaw * sin_pitch])
        self._shift = np.array([sin_yaw, sin_pitch])

    def turn(self, points: ArrayLike, lift: ArrayLike = 0.0) -> Points:
        """Return points (…, 2) of the face after yaw and pitch, in face units; `lift`: height over it."""
        flat = np.asarray(points) * self._size
        bulge = 1 - (flat - SKULL_MIDDLE) ** 2 @ SKULL_ROUND
        z = np.sqrt(np.maximum(bulge, 0)) * SKULL_DEPTH + lift
        turned: Points = flat @ self._across + z[..., None] * self._outwards
        return turned

    def __call__(self, points: ArrayLike, lift: float = 0.0) -> Points:
        """Return picture coordinates (…, 2) of points on the face."""
        return self._placed(self.turn(points, lift))

    def both(self, points: ArrayLike, lift: float = 0.0) -> Points:
        """Return picture coordinates (2, N, 2) of a curve on the left and its mirror image on the right.

        The curve (N, 2) is that of the right side, where x grows from the nose to the temple.
        """
        return self(np.asarray(points) * SIDES, lift)

    def flat(self, points: ArrayLike, depth: float = 0.15) -> Points:
        """Return picture coordinates of points at one depth: outlines, hair, ears."""
        return self._placed(np.asarray(points) * self._size + self._shift * depth)

    def body(self, points: ArrayLike) -> Points:
        """Return picture coordinates of points of neck and shoulders, which lean less than the head."""
        pivot = np.array([0.0, 1.2])
        lean = _similarity(self.pose.roll * 0.35, self.unit)
        leaning: Points = (np.asarray(points) - pivot) @ lean.T + self.flat(pivot, 0.0)
        return leaning

    def plane(self) -> Points:
        """Return the 2×3 affine from turned face units to the picture."""
        return np.column_stack([self._linear, self._origin])

    def _placed(self, points: Points) -> Points:
        placed: Points = points @ self._linear.T + self._origin
        return placed


def landmarks(head: Head) -> Points:
    """Return left eye, right eye, nose tip, left and right mouth corner in the picture, float64 (5, 2)."""
    p = head.person
    eyes = head.both([(p.eye_distance, 0.0)])[:, 0]
    tip = head([(0.0, p.nose_length)], NOSE_LIFT)
    return np.concatenate([eyes, tip, head.both([mouth_corner(p)])[:, 0]])


def mouth_corner(person: Person) -> tuple[float, float]:
    """Return the right corner of the mouth in face units; a smile lifts it."""
    return person.mouth_width, person.mouth_y - 0.09 * person.smile


def face_outline(person: Person) -> Points:
    """Return the contour of face and skull in face units."""
    jaw, chin = person.jaw, person.chin
    upper = [(0.0, -1.5), (0.5, -1.38), (0.86, -0.98), (0.98, -0.4), (0.99, 0.15), (0.94, 0.6)]
    lower = [
        (0.78 + 0.08 * jaw, 1.08 + 0.04 * jaw),
        (0.46 + 0.1 * jaw, 1.5 + chin),
        (0.2 + 0.06 * jaw, 1.66 + chin),
    ]
    return whole(smooth([*upper, *lower, (0.0, 1.69 + chin)]))


def whole(right: Points) -> Points:
    """Return the contour whose right half is given, from the middle at one end to the middle at the other."""
    return np.concatenate([right, right[::-1] * MIRROR])


def shadow_of(skin: Colour) -> Colour:
    """Return skin in the shade: darker, and redder, as light that went through it is."""
    shade: Colour = skin * np.array([0.75, 0.62, 0.58])
    return shade


def _similarity(angle: float, scale: float) -> Points:
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return np.array([[c, -s], [s, c]])
