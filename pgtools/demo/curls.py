"""Hair that stands in curls: a bumpy outline filled with small arcs."""

from __future__ import annotations

import math

import numpy as np

from pgtools.demo.head import Head, whole
from pgtools.demo.locks import DEPTH, darker, lighter
from pgtools.demo.paint import Canvas, Points, ellipse, lowered, mix, rgb, smooth, xy
from pgtools.demo.people import Shot


def draw_cloud(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint an afro behind the head."""
    hair = head.person.hair
    knots = ellipse((0, 0), 1.42 + hair.volume, 1.5 + hair.volume, 30) * (1 + rng.normal(0, 0.04, (30, 1)))
    area = head.flat(smooth(lowered(knots, -0.62), closed=True), -0.2)
    _draw_curls(canvas, head, area, shot, rng, shade=0.8, count=190)


def draw_curly_top(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint curls over the forehead, more of them for an afro."""
    hair, unit = head.person.hair, head.unit
    out = hair.volume + (0.4 if hair.style == "afro" else 0.18)
    hairline = smooth(xy((0, 0.45, 0.74, 0.88, 0.97), (-0.98, -1.0, -0.84, -0.45, 0.1)), steps=2)
    x = (1.08 + 0.3 * out, 1.04 + out * 0.8, 0.82 + out * 0.7, 0.4, 0)
    skull = smooth(xy(x, (0.05, -0.6, -1.25 - out * 0.3, -1.5 - out, -1.56 - out)), steps=3)
    knots = whole(np.concatenate([hairline, skull]))
    area = head.flat(smooth(knots + rng.normal(0, 0.03, knots.shape), closed=True, steps=4), DEPTH)
    canvas.fill(lowered(area, 0.05 * unit), rgb(24, 12, 10), alpha=0.3, blur=0.05 * unit)
    _draw_curls(canvas, head, area, shot, rng, shade=0.88, count=130)


def _draw_curls(
    canvas: Canvas, head: Head, area: Points, shot: Shot, rng: np.random.Generator, *, shade: float, count: int
) -> None:
    unit, colour = head.unit, head.person.hair.colour
    angle = np.linspace(0, 4.2, 9) + rng.uniform(0, 2 * math.pi, (count, 1))
    radius = rng.uniform(0.05, 0.11, (count, 1, 1)) * unit
    spots = rng.uniform(area.min(axis=0), area.max(axis=0), (count, 1, 2))
    arcs = spots + radius * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    mass = colour * shade
    dark, light = mix(mass, darker(colour), 0.4), mix(mass, lighter(colour), 0.3)
    locks = canvas.inlay(area, mass, [(arcs[::2], dark, 0.03 * unit), (arcs[1::2], light, 0.026 * unit)])
    gleam = head.flat(ellipse((shot.light[0] * 1.1, -1.4), 0.6, 0.3), DEPTH)
    canvas.fill(gleam, lighter(colour), alpha=0.3, blur=0.2 * unit, within=locks)
