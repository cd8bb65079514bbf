"""Neck, ears and the lit skin of the face, under everything else."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pgtools.demo.head import MIRROR, Head, face_outline, shadow_of
from pgtools.demo.paint import Canvas, Points, ellipse, mix, rgb, ribbon, smooth
from pgtools.demo.people import Shot

# Texture grid of the skin: face units covered (x, y from … to) and texels a unit.
GRID_X, GRID_Y, TEXELS = (-1.3, 1.3), (-1.7, 2.0), 24


def draw_neck(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint the neck, in the shadow of the chin."""
    p = head.person
    wide = 0.6 + 0.16 * p.jaw
    right = np.array([(wide, 0.7), (wide - 0.02, 1.6), (wide + 0.08, 1.98), (1.4, 2.3), (2.3, 3.2)])
    neck = head.body(smooth(np.concatenate([right, right[::-1] * MIRROR])))
    shade = mix(p.skin * 0.86, shadow_of(p.skin), 0.25)
    canvas.fill(neck, shade)
    side = -np.sign(shot.light[0])
    dark = head.body(
        smooth([(side * 0.1, 1.2), (side * 0.2, 2.4), (side * 0.9, 2.6), (side * 0.8, 1.2)], closed=True)
    )
    canvas.fill(dark, shadow_of(p.skin), alpha=0.5 * shot.contrast, blur=0.16 * head.unit, within=neck)
    shadow = head.flat(face_outline(p) * (0.86, 1.0) + (-0.12 * side * -1, 0.24), 0.0)
    canvas.fill(shadow, shadow_of(p.skin), alpha=0.75, blur=0.1 * head.unit, within=neck)
    for s in (-1, 1):
        collarbone = head.body(smooth([(s * 0.14, 2.44), (s * 0.6, 2.36), (s * 1.2, 2.32)]))
        canvas.fill(
            ribbon(collarbone, 0.07 * head.unit), shadow_of(p.skin), alpha=0.35, blur=0.03 * head.unit
        )


def draw_ears(canvas: Canvas, head: Head) -> None:
    """Paint both ears; the face then covers most of them."""
    p = head.person
    for s in (-1, 1):
        shape = [(0.9, -0.16), (1.07, -0.24), (1.15, -0.08), (1.11, 0.28), (1.0, 0.52), (0.9, 0.45)]
        outer = head.flat(smooth(np.array(shape) * (s, 1), closed=True), -0.1)
        canvas.fill(outer, mix(p.skin * 0.93, rgb(200, 96, 80), 0.1))
        inner = head.flat(
            smooth(np.array([(0.99, -0.06), (1.08, -0.1), (1.05, 0.22), (0.98, 0.3)]) * (s, 1)), -0.1
        )
        canvas.fill(inner, shadow_of(p.skin), alpha=0.55, blur=0.03 * head.unit)
        if p.earrings:
            drop = head.flat(ellipse((s * 1.02, 0.6), 0.055, 0.075, 16), -0.1)
            canvas.fill(drop, rgb(226, 196, 120))
            canvas.fill(
                head.flat(ellipse((s * 1.02 - 0.02, 0.57), 0.02, 0.025, 12), -0.1), rgb(255, 246, 220)
            )


def draw_skin(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint the face as a lit relief: an ellipsoid with nose, sockets, cheeks and chin raised on it."""
    texture = _skin_texture(head, shot)
    to_units = np.array([[1 / TEXELS, 0, GRID_X[0]], [0, 1 / TEXELS, GRID_Y[0]], [0, 0, 1]])
    outline = head.flat(face_outline(head.person))
    canvas.lay(texture, head.plane() @ to_units, outline, blur=0.012 * head.unit)


def _skin_texture(head: Head, shot: Shot) -> NDArray[np.float32]:
    """The lit skin over the texture grid, float32 (rows, columns, 3)."""
    p = head.person
    x = np.arange(GRID_X[0], GRID_X[1], 1 / TEXELS)
    y = np.arange(GRID_Y[0], GRID_Y[1], 1 / TEXELS)

    def bump(cx: float, cy: float, sx: float, sy: float, lift: float = 0.0) -> Points:
        centre = head.turn((cx, cy), lift)
        return np.outer(
            np.exp(-0.5 * ((y - centre[1]) / sy) ** 2), np.exp(-0.5 * ((x - centre[0]) / sx) ** 2)
        )

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
    stops = [shadow_of(p.skin) * 0.62, shadow_of(p.skin), p.skin, mix(p.skin, rgb(255, 246, 236), 0.34)]
    at = np.clip(shade, 0.0, 1.0) * 3 - 0.15
    texture = np.stack([np.interp(at, range(4), [stop[c] for stop in stops]) for c in range(3)], axis=-1)
    gloss = np.clip(facing, 0, 1) ** 14 * (0.10 + 0.16 * p.depth) * shot.contrast
    flush = rgb(226, 108, 96) if p.depth < 0.55 else rgb(150, 66, 50)
    blush = (0.14 + 0.16 * p.makeup) * cheeks + 0.12 * bump(0, tip, 0.13, 0.1, 0.2)
    texture += np.clip(blush, 0, 1)[..., None] * (flush - texture)
    shadowed = (0.10 + 0.3 * p.makeup) * np.clip(eyes, 0, 1)
    texture += shadowed[..., None] * (mix(shadow_of(p.skin), rgb(120, 76, 92), 0.3 * p.makeup) - texture)
    texture += gloss[..., None] * (rgb(255, 250, 244) - texture)
    return texture.astype(np.float32)
