"""Shoulders and what they wear."""

from __future__ import annotations

import numpy as np

from pgtools.demo.head import SIDES, Head, whole
from pgtools.demo.paint import Canvas, Points, lowered, mix, rgb, smooth, xy
from pgtools.demo.people import Person, Shot

NECKLINES = {"crew": 2.34, "vee": 2.85, "collar": 2.3, "turtleneck": 1.95, "jacket": 2.75}


def draw_clothes(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint shoulders, lit from the side, and the collar."""
    p, unit, colour = head.person, head.unit, head.person.clothing_colour
    edge, broad = _neckline(p), 2.25 + 0.4 * p.jaw
    x = (edge[-1, 0], 1.45, broad - 0.1, broad + 0.2, broad + 0.4, broad + 0.45)
    sleeve = smooth(xy(x, (1.98, 2.27, 2.62, 3.3, 5.0, 9.0)))
    shirt = canvas.fill(head.body(whole(np.concatenate([edge, sleeve[1:], [(broad + 0.4, 30.0)]]))), colour)
    shaded = (-np.sign(shot.light[0]), 1.0)
    dark = head.body(smooth(xy((0.5, 0.7, 3.2, 2.6), (2.2, 6.0, 6.0, 2.4)) * shaded, closed=True))
    canvas.fill(dark, colour * 0.45, alpha=0.5 * shot.contrast, blur=0.55 * unit, within=shirt)
    lit = head.body(smooth(xy((-0.9, -1.0, -1.8, -1.7), (2.3, 3.6, 3.6, 2.7)) * shaded, closed=True))
    bright = np.minimum(colour * 1.3 + 18, 255)
    canvas.fill(lit, bright, alpha=0.45 * shot.contrast, blur=0.25 * unit, within=shirt)
    if p.clothing in ("crew", "vee"):
        hem = lowered(whole(edge[::-1]), 0.07)
        canvas.strokes([head.body(hem)], colour * 0.7, width=0.03 * unit, alpha=0.8)
    elif p.clothing == "turtleneck":
        _draw_turtleneck(canvas, head, edge[-1, 0])
    elif p.clothing == "jacket":
        _draw_jacket(canvas, head, edge[-1, 0])
    else:
        _draw_flaps(canvas, head, edge[-1, 0], np.minimum(colour * 1.18 + 12, 255))


def _neckline(p: Person) -> Points:
    """The right half of the neckline, from the middle to the side of the neck."""
    low, wide = NECKLINES[p.clothing], 0.68 + 0.16 * p.jaw
    return smooth(xy((0, wide * 0.6, wide), (low, low - (0.38 if p.clothing == "vee" else 0.1), 1.98)))


def _draw_turtleneck(canvas: Canvas, head: Head, wide: float) -> None:
    colour, unit = head.person.clothing_colour, head.unit
    tube = whole(smooth(xy((0, wide * 0.75, wide, wide + 0.06, 0), (1.8, 1.72, 1.64, 2.1, 2.3))))
    canvas.fill(head.body(tube), np.minimum(colour * 1.08, 255))
    folds = np.stack([smooth(xy((-wide, 0, wide), (y, y + 0.14, y))) for y in (1.8, 1.92, 2.04)])
    canvas.strokes(head.body(folds), colour * 0.6, width=0.03 * unit, alpha=0.5, blur=0.02 * unit)


def _draw_jacket(canvas: Canvas, head: Head, wide: float) -> None:
    colour, white = head.person.clothing_colour, rgb(238, 236, 232)
    canvas.fill(head.body(whole(xy((0, wide, 0.6, 0), (2.3, 1.95, 2.9, 4.35)))), white)
    lapel = smooth(xy((wide, 1.2, 1.02, 0.1, 0.5), (1.93, 2.25, 3.0, 4.3, 3.0)), closed=True)
    canvas.fill(head.body(lapel * SIDES), colour * 0.78, blur=0.01 * head.unit)
    _draw_flaps(canvas, head, wide, white)
    if head.person.beard != "none":
        tie = whole(xy((0, 0.09, 0.07, 0.2, 0), (2.5, 2.5, 2.68, 4.0, 4.1)))
        canvas.fill(head.body(tie), mix(colour, rgb(140, 40, 48), 0.7))


def _draw_flaps(canvas: Canvas, head: Head, wide: float, colour: Points) -> None:
    flap = xy((0.02, wide * 0.8, wide * 1.06, wide * 1.05, wide * 0.8), (2.42, 1.92, 1.86, 2.1, 2.75))
    below = head.body(lowered(flap, 0.05) * SIDES)
    canvas.fill(below, rgb(20, 20, 24), alpha=0.3, blur=0.04 * head.unit)
    canvas.fill(head.body(flap * SIDES), colour)
