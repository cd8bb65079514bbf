"""Neck, ears and the lit skin of the face, under everything else."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.demo.head import SIDES, Head, face_outline, shadow_of, whole
from pgtools.demo.paint import Canvas, Planes, Points, ellipse, lowered, mix, ramp_over, rgb, ribbon, smooth, xy
from pgtools.demo.people import Shot

Relief: TypeAlias = NDArray[np.float32]
# The skin is computed on a coarse grid and enlarged: face units covered (from … to), grid points a unit.
GRID_X, GRID_Y, GRID = (-1.3, 1.3), (-1.7, 2.0), 20
SHADES = np.linspace(0, 1, 256)


def draw_neck(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint the neck, in the shadow of the chin."""
    p, unit, shadow = head.person, head.unit, shadow_of(head.person.skin)
    wide, shaded = 0.6 + 0.16 * p.jaw, -np.sign(shot.light[0])
    neck = head.body(whole(smooth(xy((wide, wide - 0.02, wide + 0.08, 1.4, 2.3), (0.7, 1.6, 1.98, 2.3, 3.2)))))
    throat = canvas.fill(neck, mix(p.skin * 0.86, shadow, 0.25))
    side = head.body(smooth(xy((0.1, 0.2, 0.9, 0.8), (1.2, 2.4, 2.6, 1.2)) * (shaded, 1), closed=True))
    canvas.fill(side, shadow, alpha=0.5 * shot.contrast, blur=0.16 * unit, within=throat)
    below_chin = lowered(face_outline(p) * (0.86, 1.0), 0.24) + np.array([0.12 * shaded, 0])
    canvas.fill(head.flat(below_chin, 0.0), shadow, alpha=0.75, blur=0.1 * unit, within=throat)
    collarbone = smooth(xy((0.14, 0.6, 1.2), (2.44, 2.36, 2.32)))
    bones = ribbon(head.body(collarbone * SIDES), 0.07 * unit)
    canvas.fill(bones, shadow, alpha=0.35, blur=0.03 * unit)


def draw_ears(canvas: Canvas, head: Head) -> None:
    """Paint both ears and their rings; the face then covers most of them."""
    p = head.person

    def pair(right: Points) -> Points:
        return head.flat(right * SIDES, -0.1)

    shell = smooth(xy((0.9, 1.07, 1.15, 1.11, 1.0, 0.9), (-0.16, -0.24, -0.08, 0.28, 0.52, 0.45)), closed=True)
    canvas.fill(pair(shell), mix(p.skin * 0.93, rgb(200, 96, 80), 0.1))
    hollow = smooth(xy((0.99, 1.08, 1.05, 0.98), (-0.06, -0.1, 0.22, 0.3)))
    canvas.fill(pair(hollow), shadow_of(p.skin), alpha=0.55, blur=0.03 * head.unit)
    if p.earrings:
        canvas.fill(pair(ellipse((1.02, 0.6), 0.055, 0.075, 16)), rgb(226, 196, 120))
        canvas.fill(pair(ellipse((1.0, 0.57), 0.02, 0.025, 12)), rgb(255, 246, 220))


def draw_skin(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint the face as a lit relief: an ellipsoid with nose, sockets, cheeks and chin raised on it."""
    to_units = np.array([[1 / GRID, 0, GRID_X[0]], [0, 1 / GRID, GRID_Y[0]], [0, 0, 1]])
    outline = head.flat(face_outline(head.person))
    canvas.lay(_lit_skin(head, shot), head.plane() @ to_units, outline, blur=0.012 * head.unit)


def _lit_skin(head: Head, shot: Shot) -> Planes:
    """The colour of the skin on the grid, float32 (3, rows, columns)."""
    p, shadow, tip = head.person, shadow_of(head.person.skin), head.person.nose_length
    cheeks = _hills(head, [(s * 0.56, 0.44, 0.22, 0.2, 0.0, 1.0) for s in (-1, 1)])
    sockets = _hills(head, [(s * p.eye_distance, 0.0, 0.2, 0.12, 0.0, 1.0) for s in (-1, 1)])
    height = _relief(head) + (0.035 + 0.04 * p.smile) * cheeks - 0.05 * sockets
    dx, dy = (cv2.Sobel(height, -1, axis, 1 - axis, ksize=1, scale=GRID / 2) for axis in (1, 0))
    light = shot.light
    facing = (light[2] - dx * light[0] - dy * light[1]) / np.sqrt(dx**2 + dy**2 + 1)
    # Skin scatters: light reaches round the edge of the shadow (wrapped Lambert).
    lit = ((facing + 0.35) / 1.35).clip(0, 1)
    shade = (1 - shot.contrast) * 0.8 + shot.contrast * lit
    tones = ramp_over((shadow * 0.62, shadow, p.skin, mix(p.skin, rgb(255, 246, 236), 0.34)), SHADES).astype(np.float32)
    skin = tones.T[:, ((shade - 0.05).clip(0, 1) * 255).astype(np.uint8)]
    blush = (0.14 + 0.16 * p.makeup) * cheeks + _hills(head, [(0, tip, 0.13, 0.1, 0.2, 0.12)])
    gloss = facing.clip(0, 1) ** 14 * (0.10 + 0.16 * p.depth) * shot.contrast
    lids = mix(shadow, rgb(120, 76, 92), 0.3 * p.makeup)
    for colour, share in (
        (rgb(226, 108, 96) if p.depth < 0.55 else rgb(150, 66, 50), blush),
        (lids, (0.10 + 0.3 * p.makeup) * sockets),
        (rgb(255, 250, 244), gloss),
    ):
        skin += (colour.astype(np.float32)[:, None, None] - skin) * share
    return skin


def _relief(head: Head) -> Relief:
    """Height of the face over its plane, in face units, on the grid; cheeks and sockets come on top."""
    p, tip = head.person, head.person.nose_length
    x, y = _grid()
    skull = ((x - 0.15 * math.sin(head.pose.yaw)) / (1.1 * p.width)) ** 2 + ((y[:, None] - 0.1) / 1.78) ** 2
    hills = [
        (0, tip - 0.02, 0.10, 0.10, 0.2, 0.13),
        (0, tip - 0.34, 0.085, 0.24, 0.1, 0.08),
        (0, 1.47 + p.chin, 0.22, 0.12, 0, 0.055),
        (0, 1.24, 0.2, 0.06, 0, -0.03),
        (0, p.mouth_y, 0.36, 0.2, 0, 0.03),
        *((s * p.nose_width * 0.85, tip + 0.04, 0.065, 0.06, 0.08, 0.05) for s in (-1, 1)),
        *((s * 0.42, -0.27, 0.24, 0.08, 0, 0.035) for s in (-1, 1)),
    ]
    height: Relief = 0.85 * np.sqrt(np.maximum(1 - skull, 0.03)) + _hills(head, hills)
    return height


def _hills(head: Head, hills: Sequence[tuple[float, ...]]) -> Relief:
    """Gaussian hills on the grid, (x, y, wide, tall, lift, height) each, where the turned head has (x, y)."""
    table = np.array(hills)
    middle = head.turn(table[:, :2], table[:, 4]).astype(np.float32)
    _, _, wide, tall, _, height = table.T[..., None].astype(np.float32)
    columns, rows = _grid()
    across = np.exp(-0.5 * ((columns - middle[:, :1]) / wide) ** 2)
    down = np.exp(-0.5 * ((rows - middle[:, 1:]) / tall) ** 2)
    relief: Relief = (height * down).T @ across
    return relief


@functools.lru_cache
def _grid() -> tuple[Relief, Relief]:
    return np.arange(*GRID_X, 1 / GRID, dtype=np.float32), np.arange(*GRID_Y, 1 / GRID, dtype=np.float32)
