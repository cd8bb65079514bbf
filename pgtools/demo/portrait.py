"""A person on a canvas: one map takes face coordinates to the picture, and the landmarks go through it like the paint."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from pgtools.demo.paint import Canvas, Colour, Points, ellipse, mix, rgb, ribbon, smooth
from pgtools.demo.people import Person, Pose, Shot

SKULL_WIDTH, SKULL_HEIGHT = 1.08, 1.8
MIRROR = np.array([-1.0, 1.0])
# Texture grid of the skin: face units covered (x, y from … to) and texels a unit.
GRID_X, GRID_Y, TEXELS = (-1.5, 1.5), (-2.0, 2.2), 40


class Head:
    """Face coordinates to picture coordinates: out of the plane by an ellipsoid, turned, rolled, scaled, moved."""

    def __init__(self, person: Person, pose: Pose) -> None:
        self.person, self.pose, self.unit = person, pose, pose.unit
        self._linear = _similarity(pose.roll, pose.unit)
        self._origin = np.array([pose.x, pose.y])

    def turn(self, points: ArrayLike, lift: float = 0.0) -> Points:
        """Return where points (N, 2) of the face stand after yaw and pitch, still in face units; lift: off the skull."""
        p = np.asarray(points, dtype=np.float64)
        x, y = p[..., 0] * self.person.width, p[..., 1]
        z = np.sqrt(np.maximum(1 - (x / SKULL_WIDTH) ** 2 - ((y - 0.1) / SKULL_HEIGHT) ** 2, 0)) * 0.85 + lift
        return self._turned(x, y, z)

    def __call__(self, points: ArrayLike, lift: float = 0.0) -> Points:
        """Return picture coordinates (N, 2) of points on the face."""
        return self.turn(points, lift) @ self._linear.T + self._origin

    def flat(self, points: ArrayLike, depth: float = 0.15) -> Points:
        """Return picture coordinates of points at one depth: outlines, hair, ears."""
        p = np.asarray(points, dtype=np.float64)
        x, y = p[..., 0] * self.person.width, p[..., 1]
        straight = np.stack([x + math.sin(self.pose.yaw) * depth, y + math.sin(self.pose.pitch) * depth], axis=-1)
        return straight @ self._linear.T + self._origin

    def body(self, points: ArrayLike) -> Points:
        """Return picture coordinates of points of neck and shoulders, which lean less than the head."""
        pivot = np.array([0.0, 1.2])
        lean = _similarity(self.pose.roll * 0.35, self.unit)
        return (np.asarray(points) - pivot) @ lean.T + self.flat(pivot, 0.0)

    def plane(self) -> Points:
        """Return the 2×3 affine from turned face units to the picture."""
        return np.column_stack([self._linear, self._origin])

    def _turned(self, x: Points, y: Points, z: Points) -> Points:
        yaw, pitch = self.pose.yaw, self.pose.pitch
        across = x * math.cos(yaw) + z * math.sin(yaw)
        forward = z * math.cos(yaw) - x * math.sin(yaw)
        return np.stack([across, y * math.cos(pitch) + forward * math.sin(pitch)], axis=-1)


def landmarks(head: Head) -> Points:
    """Return left eye, right eye, nose tip, left and right mouth corner in the picture, float64 (5, 2)."""
    p = head.person
    eyes_and_mouth = head([(-p.eye_distance, 0), (p.eye_distance, 0), *_mouth_corners(p)])
    return np.concatenate([eyes_and_mouth[:2], head([(0, p.nose_length)], _nose_lift(p)), eyes_and_mouth[2:]])


def face_outline(person: Person) -> Points:
    """Return the contour of face and skull in face units."""
    jaw, chin = person.jaw, person.chin
    right = np.array(
        [
            (0.0, -1.5),
            (0.55, -1.38),
            (0.88, -0.98),
            (0.98, -0.4),
            (0.99, 0.15),
            (0.94, 0.6),
            (0.78 + 0.08 * jaw, 1.08 + 0.04 * jaw),
            (0.46 + 0.1 * jaw, 1.5 + chin),
            (0.2 + 0.06 * jaw, 1.66 + chin),
            (0.0, 1.69 + chin),
        ]
    )
    return smooth(np.concatenate([right, right[-2:0:-1] * MIRROR]), closed=True)


def draw_neck(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint the neck, in the shadow of the chin."""
    p = head.person
    wide = 0.52 + 0.1 * p.jaw
    right = np.array([(wide, 0.7), (wide - 0.02, 1.7), (wide + 0.1, 2.15), (1.35, 2.5), (1.9, 3.2)])
    neck = head.body(smooth(np.concatenate([right, right[::-1] * MIRROR])))
    shade = mix(p.skin * 0.86, _shadow(p.skin), 0.25)
    canvas.fill(neck, shade)
    side = -np.sign(shot.light[0])
    dark = head.body(smooth([(side * 0.1, 1.2), (side * 0.2, 2.4), (side * 0.9, 2.6), (side * 0.8, 1.2)], closed=True))
    canvas.fill(dark, _shadow(p.skin), alpha=0.5 * shot.contrast, blur=0.16 * head.unit, within=neck)
    shadow = head.flat(face_outline(p) * (0.86, 1.0) + (-0.12 * side * -1, 0.24), 0.0)
    canvas.fill(shadow, _shadow(p.skin), alpha=0.75, blur=0.1 * head.unit, within=neck)
    for s in (-1, 1):
        collarbone = head.body(smooth([(s * 0.14, 2.5), (s * 0.5, 2.44), (s * 1.0, 2.36)]))
        canvas.fill(ribbon(collarbone, 0.07 * head.unit), _shadow(p.skin), alpha=0.35, blur=0.03 * head.unit)


def draw_ears(canvas: Canvas, head: Head) -> None:
    """Paint both ears; the face then covers most of them."""
    p = head.person
    for s in (-1, 1):
        shape = [(0.9, -0.16), (1.07, -0.24), (1.15, -0.08), (1.11, 0.28), (1.0, 0.52), (0.9, 0.45)]
        outer = head.flat(smooth(np.array(shape) * (s, 1), closed=True), -0.1)
        canvas.fill(outer, mix(p.skin * 0.93, rgb(200, 96, 80), 0.1))
        inner = head.flat(smooth(np.array([(0.99, -0.06), (1.08, -0.1), (1.05, 0.22), (0.98, 0.3)]) * (s, 1)), -0.1)
        canvas.fill(inner, _shadow(p.skin), alpha=0.55, blur=0.03 * head.unit)
        if p.earrings:
            drop = head.flat(ellipse((s * 1.02, 0.6), 0.055, 0.075, 16), -0.1)
            canvas.fill(drop, rgb(226, 196, 120))
            canvas.fill(head.flat(ellipse((s * 1.02 - 0.02, 0.57), 0.02, 0.025, 12), -0.1), rgb(255, 246, 220))


def draw_skin(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint the face as a lit relief: an ellipsoid with nose, sockets, cheeks and chin raised on it."""
    texture = _skin_texture(head, shot)
    to_units = np.array([[1 / TEXELS, 0, GRID_X[0]], [0, 1 / TEXELS, GRID_Y[0]], [0, 0, 1]])
    outline = head.flat(face_outline(head.person))
    canvas.lay(texture, head.plane() @ to_units, outline, blur=0.012 * head.unit)


def draw_features(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint eyes, brows, nose and mouth, and the lines of age."""
    if head.person.freckles:
        _draw_freckles(canvas, head, rng)
    _draw_folds(canvas, head)
    _draw_nose(canvas, head, shot)
    _draw_mouth(canvas, head)
    for s in (-1, 1):
        _draw_eye(canvas, head, s)
        _draw_brow(canvas, head, s, rng)


def draw_glasses(canvas: Canvas, head: Head) -> None:
    """Paint the glasses, if there are any: frame, bridge, temples, a reflection."""
    p, unit = head.person, head.unit
    if p.glasses == "none":
        return
    power = {"round": 2.0, "square": 4.0, "half": 3.0}[p.glasses]
    angle = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    lens = np.stack(
        [0.36 * np.sign(c) * abs(c) ** (2 / power), 0.29 * np.sign(s) * abs(s) ** (2 / power)], axis=1
    ) * ((0.88, 1.05) if p.glasses == "round" else (1.0, 0.88))
    width = 0.05 if p.glasses == "square" else 0.032
    for side in (-1, 1):
        rim = head(lens + (side * p.eye_distance * 1.02, 0.05), 0.12)
        canvas.fill(rim, rgb(235, 242, 250), alpha=0.1)
        gleam = head(np.array([(-0.2, -0.2), (-0.08, -0.22), (-0.2, 0.16), (-0.27, 0.1)]) + (side * p.eye_distance, 0.05), 0.12)
        canvas.fill(gleam, rgb(255, 255, 255), alpha=0.18, blur=0.02 * unit, within=rim)
        drawn = [np.concatenate([rim, rim[:1]])] if p.glasses != "half" else [rim[24:]]
        canvas.strokes([c + (0, 0.05 * unit) for c in drawn], rgb(40, 26, 20), width=width * unit, alpha=0.2, blur=0.03 * unit)
        temple = head([(side * (p.eye_distance + 0.34), -0.04), (side * 0.99, -0.06)], 0.1)
        canvas.strokes([*drawn, temple], p.glasses_colour, width=max(width * unit, 1.0))
    inner = p.eye_distance - 0.33
    bridge = head(smooth([(-inner, 0.0), (0, -0.06), (inner, 0.0)]), 0.2)
    canvas.strokes([bridge], p.glasses_colour, width=max(width * unit, 1.0))


def _skin_texture(head: Head, shot: Shot) -> NDArray[np.float32]:
    """The lit skin over the texture grid, float32 (rows, columns, 3)."""
    p = head.person
    x = np.arange(GRID_X[0], GRID_X[1], 1 / TEXELS)
    y = np.arange(GRID_Y[0], GRID_Y[1], 1 / TEXELS)

    def bump(cx: float, cy: float, sx: float, sy: float, lift: float = 0.0) -> Points:
        centre = head.turn((cx, cy), lift)
        return np.outer(np.exp(-0.5 * ((y - centre[1]) / sy) ** 2), np.exp(-0.5 * ((x - centre[0]) / sx) ** 2))

    shift = math.sin(head.pose.yaw) * 0.15
    radius = ((x[None] - shift) / (1.1 * p.width)) ** 2 + ((y[:, None] - 0.1) / 1.78) ** 2
    height = 0.85 * np.sqrt(np.maximum(1 - radius, 0.03))
    tip = p.nose_length
    height += 0.13 * bump(0, tip - 0.02, 0.10, 0.10, 0.2) + 0.08 * bump(0, tip - 0.34, 0.085, 0.24, 0.1)
    height += 0.055 * bump(0, 1.47 + p.chin, 0.22, 0.12) - 0.03 * bump(0, 1.24, 0.2, 0.06)
    height += 0.03 * bump(0, p.mouth_y, 0.36, 0.2)
    cheeks, eyes = 0.0, 0.0
    for s in (-1, 1):
        height += 0.05 * bump(s * p.nose_width * 0.85, tip + 0.04, 0.065, 0.06, 0.08)
        eyes = eyes + bump(s * p.eye_distance, 0.0, 0.2, 0.12)
        height += 0.035 * bump(s * 0.42, -0.27, 0.24, 0.08)
        cheeks = cheeks + bump(s * 0.56, 0.44, 0.22, 0.2)
    height += -0.05 * eyes + (0.035 + 0.04 * p.smile) * cheeks
    dy, dx = np.gradient(height * TEXELS)
    light = shot.light
    facing = (light[2] - dx * light[0] - dy * light[1]) / np.sqrt(dx**2 + dy**2 + 1)
    # Skin scatters: light reaches round the edge of the shadow (wrapped Lambert).
    lit = np.clip((facing + 0.35) / 1.35, 0, 1)
    shade = (1 - shot.contrast) * 0.8 + shot.contrast * lit
    stops = [_shadow(p.skin) * 0.62, _shadow(p.skin), p.skin, mix(p.skin, rgb(255, 246, 236), 0.5)]
    at = np.clip(shade, 0.0, 1.0) * 3 - 0.15
    texture = np.stack([np.interp(at, range(4), [stop[c] for stop in stops]) for c in range(3)], axis=-1)
    gloss = np.clip(facing, 0, 1) ** 14 * (0.10 + 0.16 * p.depth) * shot.contrast
    flush = rgb(226, 108, 96) if p.depth < 0.55 else rgb(150, 66, 50)
    blush = (0.14 + 0.16 * p.makeup) * cheeks + 0.12 * bump(0, tip, 0.13, 0.1, 0.2)
    texture += np.clip(blush, 0, 1)[..., None] * (flush - texture)
    shadowed = (0.10 + 0.3 * p.makeup) * np.clip(eyes, 0, 1)
    texture += shadowed[..., None] * (mix(_shadow(p.skin), rgb(120, 76, 92), 0.3 * p.makeup) - texture)
    texture += gloss[..., None] * (rgb(255, 250, 244) - texture)
    return texture.astype(np.float32)


def _draw_eye(canvas: Canvas, head: Head, s: int) -> None:
    p, unit = head.person, head.unit
    at = np.array([s * p.eye_distance, 0.0])
    w, h = 0.215 * p.eye_size, 0.105 * p.eye_open * p.eye_size

    def place(points: ArrayLike) -> Points:
        local = np.asarray(points) * (s, 1)  # x grows towards the temple on both sides
        return head(local + at + np.stack([np.zeros(len(local)), -p.eye_tilt * local[:, 0] * s / w], axis=1))

    upper = smooth([(-w, 0.025), (-w * 0.55, -h * 0.72), (0.0, -h * 1.02), (w * 0.6, -h * 0.7), (w, -0.01)])
    lower = smooth([(w, -0.01), (w * 0.55, h * 0.62), (0.0, h * 0.8), (-w * 0.55, h * 0.62), (-w, 0.025)])
    opening = place(np.concatenate([upper, lower[1:-1]]))
    shadow = _shadow(p.skin)
    lid = place(np.concatenate([upper, (upper - (0, 0.085)) [::-1]]))
    canvas.fill(lid, mix(p.skin, shadow, 0.55 + 0.3 * p.makeup), alpha=0.6, blur=0.03 * unit)
    canvas.fill(opening, mix(rgb(240, 236, 232), p.skin, 0.1))
    corner = place(ellipse((-w * 0.93, 0.02), 0.03, 0.03, 12))
    canvas.fill(corner, mix(rgb(206, 130, 122), p.skin, 0.3), alpha=0.8, within=opening)
    _draw_iris(canvas, place, p.eye_colour, opening, unit)
    canvas.fill(place(np.concatenate([upper, (upper + (0, 0.05))[::-1]])), rgb(40, 28, 30), alpha=0.4, blur=0.02 * unit, within=opening)
    lash = mix(rgb(26, 18, 18), p.brow_colour, 0.2)
    line = 0.035 + 0.025 * p.makeup
    canvas.fill(ribbon(place(upper + (0.006, -0.006)), line * unit, taper=(0.15, 0.9)), lash, alpha=0.92)
    if p.makeup > 0.35:
        wing = smooth([(w * 0.7, -h * 0.5), (w, -0.012), (w * 1.22, -0.07)])
        canvas.fill(ribbon(place(wing), 0.035 * unit, taper=(0.6, 0.0)), lash, alpha=0.9)
    canvas.fill(ribbon(place(lower), 0.02 * unit), mix(shadow, lash, 0.3 + 0.4 * p.makeup), alpha=0.6)
    crease = smooth([(-w * 0.9, -0.05), (-w * 0.5, -h - 0.055), (w * 0.1, -h - 0.085), (w * 1.02, -0.075)])
    canvas.fill(ribbon(place(crease), 0.024 * unit), shadow * 0.75, alpha=0.6, blur=0.008 * unit)
    bag = smooth([(-w * 0.7, h + 0.04), (0, h + 0.1), (w * 0.75, h + 0.05)])
    canvas.fill(ribbon(place(bag), 0.035 * unit), shadow, alpha=0.15 + 0.4 * p.age, blur=0.015 * unit)


def _draw_iris(canvas: Canvas, place, colour: Colour, opening: Points, unit: float) -> None:
    r = 0.108
    canvas.fill(place(ellipse((0, 0), r, r)), colour * 0.45, within=opening)
    canvas.fill(place(ellipse((0, 0), r * 0.84, r * 0.84)), colour, within=opening)
    canvas.fill(place(ellipse((0, 0.035), r * 0.55, r * 0.45)), np.minimum(colour * 1.45 + 12, 255), alpha=0.7, blur=0.012 * unit, within=opening)
    canvas.fill(place(ellipse((0, 0), r * 0.42, r * 0.42, 20)), rgb(14, 11, 12), within=opening)


def _draw_brow(canvas: Canvas, head: Head, s: int, rng: np.random.Generator) -> None:
    p, unit = head.person, head.unit
    e, y, thick = p.eye_distance, -p.brow_height, 0.085 * p.brow_weight
    spine = smooth([(e - 0.3, y + 0.045), (e - 0.12, y - 0.01), (e + 0.1, y - 0.045), (e + 0.3, y + 0.035)], steps=8)
    width = np.interp(np.linspace(0, 1, len(spine)), [0, 0.15, 0.55, 1], [0.6, 1, 0.85, 0.12])[:, None] * thick
    top, bottom = spine - width * (0, 0.5), spine + width * (0, 0.5)
    contour = head(np.concatenate([top, bottom[::-1]]) * (s, 1))
    canvas.fill(contour, p.brow_colour, alpha=0.62, blur=0.014 * unit)
    roots = rng.integers(0, len(spine) - 4, 26)
    slant = rng.uniform(0.1, 0.9, 26)
    hairs = [head(np.array([bottom[i] * (1 - t * 0.4) + top[i] * t * 0.4, top[i + 3] * t + bottom[i + 3] * (1 - t)]) * (s, 1)) for i, t in zip(roots, slant, strict=True)]
    canvas.strokes(hairs, p.brow_colour * 0.8, width=0.012 * unit, alpha=0.55)


def _draw_nose(canvas: Canvas, head: Head, shot: Shot) -> None:
    p, unit, shadow = head.person, head.unit, _shadow(head.person.skin)
    tip, wide = p.nose_length, p.nose_width
    side = -np.sign(shot.light[0])
    ridge = smooth([(side * 0.09, -0.2), (side * 0.085, tip - 0.3), (side * 0.13, tip - 0.03)])
    canvas.fill(ribbon(head(ridge, 0.05), 0.1 * unit), shadow, alpha=0.38 * shot.contrast, blur=0.035 * unit)
    under = smooth([(-wide, tip + 0.09), (0, tip + 0.16), (wide, tip + 0.09), (0, tip + 0.3)], closed=True)
    canvas.fill(head(under, 0.03), shadow * 0.9, alpha=0.4, blur=0.04 * unit)
    for s in (-1, 1):
        wing = smooth([(s * wide * 0.82, tip - 0.09), (s * wide * 1.04, tip + 0.01), (s * wide * 0.98, tip + 0.095), (s * wide * 0.72, tip + 0.12)])
        canvas.fill(ribbon(head(wing, 0.05), 0.035 * unit), shadow * 0.8, alpha=0.6, blur=0.01 * unit)
        nostril = ellipse((s * wide * 0.5, tip + 0.1), wide * 0.27, 0.033, 16)
        canvas.fill(head(nostril, 0.1), mix(shadow * 0.35, rgb(40, 16, 14), 0.4), alpha=0.85, blur=0.012 * unit)
    canvas.fill(head(smooth([(-wide * 0.5, tip + 0.115), (0, tip + 0.145), (wide * 0.5, tip + 0.115), (0, tip + 0.16)], closed=True), 0.12), shadow * 0.7, alpha=0.5, blur=0.012 * unit)
    shine = ellipse((0, tip), 0.05, 0.045, 16)
    canvas.fill(head(shine, _nose_lift(p)), rgb(255, 250, 244), alpha=0.34, blur=0.03 * unit)


def _mouth_corners(p: Person) -> list[tuple[float, float]]:
    y = p.mouth_y - 0.09 * p.smile
    return [(-p.mouth_width, y), (p.mouth_width, y)]


def _nose_lift(p: Person) -> float:
    return 0.24


def _draw_mouth(canvas: Canvas, head: Head) -> None:
    p, unit = head.person, head.unit
    (_, corner_y), w, y = _mouth_corners(p)[0], p.mouth_width, p.mouth_y
    full, gap = p.lips, 0.17 * p.teeth * (0.5 + 0.5 * p.smile)
    sag = 0.03 * p.smile

    def half(*points: tuple[float, float]) -> Points:
        right = np.array(points)
        return smooth(np.concatenate([right[:0:-1] * MIRROR, right]))

    top = half((0, y - 0.075 * full), (0.07, y - 0.105 * full), (w * 0.55, y - 0.06 * full), (w, corner_y))
    upper = half((0, y + 0.005 + sag), (0.08, y - 0.006 + sag), (w * 0.5, y + sag), (w, corner_y))
    lower = half((0, y + 0.005 + sag + gap), (0.1, y + sag + gap), (w * 0.55, y + sag + gap * 0.8), (w, corner_y))
    base = half((0, y + 0.125 * full + sag + gap), (w * 0.35, y + 0.115 * full + sag + gap), (w * 0.72, y + 0.06 * full + gap * 0.7), (w, corner_y))
    dark = p.lip_colour * 0.8
    shadow = _shadow(p.skin)
    below = head(ellipse((0, y + 0.2 * full + gap + sag), w * 0.5, 0.05))
    canvas.fill(below, shadow, alpha=0.5, blur=0.035 * unit)
    if gap:
        inside = head(np.concatenate([upper, lower[::-1]]))
        canvas.fill(inside, rgb(74, 24, 26))
        teeth = half((0, y + sag + gap * 0.72), (w * 0.4, y + sag + gap * 0.6), (w * 0.86, corner_y + 0.02))
        ivory = head(np.concatenate([upper, teeth[::-1]]))
        canvas.fill(ivory, rgb(240, 234, 224), within=inside, blur=0.006 * unit)
        gums = head(np.concatenate([upper, (upper + (0, 0.035))[::-1]]))
        canvas.fill(gums, rgb(60, 24, 24), alpha=0.35, within=inside, blur=0.012 * unit)
        gaps = [head([(x, y - 0.02), (x * 1.02, y + sag + gap * 0.66)]) for x in np.arange(-3.5, 4) * w * 0.19]
        canvas.strokes(gaps, rgb(150, 130, 120), width=0.01 * unit, alpha=0.4, within=ivory)
    canvas.fill(head(np.concatenate([top, upper[::-1]])), dark, blur=0.006 * unit)
    canvas.fill(head(np.concatenate([lower, base[::-1]])), p.lip_colour, blur=0.006 * unit)
    gloss = head(ellipse((0, y + 0.062 * full + gap + sag), w * 0.4, 0.022 * full))
    canvas.fill(gloss, rgb(255, 236, 230), alpha=0.22 + 0.3 * p.makeup, blur=0.022 * unit)
    line = dark * 0.42
    canvas.fill(ribbon(head(upper), (0.03 if not gap else 0.018) * unit, taper=(0.45, 0.45)), line, alpha=0.85)
    for s in (-1, 1):
        dimple = ellipse((s * (w + 0.015), corner_y + 0.005), 0.035, 0.03, 12)
        canvas.fill(head(dimple), shadow * 0.8, alpha=0.45, blur=0.018 * unit)


def _draw_folds(canvas: Canvas, head: Head) -> None:
    p, unit, shadow = head.person, head.unit, _shadow(head.person.skin)
    depth = min(0.14 + 0.3 * p.smile + 0.4 * p.age, 0.75)
    for s in (-1, 1):
        fold = smooth([(s * p.nose_width * 1.12, p.nose_length), (s * (p.mouth_width + 0.07), p.mouth_y - 0.2), (s * (p.mouth_width + 0.13), p.mouth_y + 0.02)])
        canvas.fill(ribbon(head(fold), 0.05 * unit), shadow, alpha=depth, blur=0.02 * unit)
    if p.age > 0.45:
        lines = [head(smooth([(-0.5, y), (-0.2, y - 0.02), (0.2, y - 0.02), (0.5, y)])) for y in (-0.62, -0.75, -0.87)]
        lines += [head(smooth([(s * 0.76, y), (s * 0.84, y + d)])) for s in (-1, 1) for y, d in ((-0.03, -0.06), (0.03, 0.01), (0.08, 0.07))]
        canvas.strokes(lines, shadow, width=0.022 * unit, alpha=0.45 * p.age, blur=0.012 * unit)


def _draw_freckles(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    spots = rng.normal(0, 1, (46, 2)) * (0.42, 0.14) + (0, 0.4)
    for size in (0.012, 0.018):
        dots = [head(np.array([spot, spot + (0.004, 0)])) for spot in spots[:: 2 if size > 0.015 else 1]]
        canvas.strokes(dots, _shadow(head.person.skin), width=size * head.unit, alpha=0.4, blur=0.006 * head.unit)


def _shadow(skin: Colour) -> Colour:
    """Skin in the shade: darker, and redder, as light that went through it is."""
    return skin * np.array([0.72, 0.58, 0.54])


def _similarity(angle: float, scale: float) -> Points:
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return np.array([[c, -s], [s, c]])
