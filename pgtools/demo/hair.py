"""Hair by style: what falls behind head and neck, what lies before the face, and beards."""

from __future__ import annotations

import numpy as np

from pgtools.demo import curls, locks
from pgtools.demo.head import Head, face_outline, whole
from pgtools.demo.locks import FALLING, darker, lighter
from pgtools.demo.paint import Canvas, Points, ellipse, mix, rgb, smooth, xy
from pgtools.demo.people import Person, Shot


def draw_hair_behind(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint the hair that neck and face will cover."""
    hair = head.person.hair
    if hair.style in FALLING:
        locks.draw_mane(canvas, head)
    elif hair.style == "bun":
        _draw_bun(canvas, head)
    elif hair.style == "afro":
        curls.draw_cloud(canvas, head, shot, rng)
    elif hair.style != "bald":
        canvas.fill(head.flat(ellipse((0, -0.45), 1.04, 1.15), -0.2), hair.colour * 0.6)


def draw_hair(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint the hair before the face."""
    hair = head.person.hair
    if hair.style == "buzz":
        _draw_buzz(canvas, head, shot)
    elif hair.style in ("curls", "afro"):
        curls.draw_curly_top(canvas, head, shot, rng)
    elif hair.style in ("crop", "quiff"):
        locks.draw_sweep(canvas, head, shot, rng, hair.volume + (0.2 if hair.style == "quiff" else 0.0))
    elif hair.style == "fringe":
        locks.draw_sides(canvas, head, shot, rng, parting=0.0)
        locks.draw_fringe(canvas, head, shot, rng)
    elif hair.style != "bald":
        locks.draw_sides(canvas, head, shot, rng, parting=hair.parting)


def draw_beard(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    """Paint stubble, moustache, goatee or full beard; the lips come after it."""
    p, unit = head.person, head.unit
    if p.beard == "none":
        return
    colour = mix(p.hair.colour * 0.85, rgb(40, 32, 30), 0.25)
    strength, longest = (0.3, 0.035) if p.beard == "stubble" else (0.88, 0.11)
    area = {"goatee": [_goatee(p)], "moustache": []}.get(p.beard, [_jaw(p)])
    for shape, edge, count in [*((s, 0.06, 90) for s in area), (_moustache(p), 0.03, 40)]:
        within = canvas.fill(head(shape), colour, alpha=strength, blur=edge * unit)
        roots = rng.uniform(shape.min(axis=0), shape.max(axis=0), (count, 2))
        tips = roots + np.stack([0.12 * roots[:, 0], rng.uniform(0.4, 1, count) * longest], axis=1)
        hairs = head(np.stack([roots, tips], axis=1))
        for tone, some in ((colour * 0.7, hairs[::2]), (lighter(colour), hairs[1::2])):
            canvas.strokes(some, tone, width=0.014 * unit, alpha=0.4 * strength, within=within)


def _draw_bun(canvas: Canvas, head: Head) -> None:
    hair, unit = head.person.hair, head.unit
    middle = (0, -1.9 - hair.volume)
    canvas.fill(head.flat(ellipse(middle, 0.52, 0.46), -0.4), hair.colour * 0.85)
    swirl = head.flat(np.stack([ellipse(middle, 0.46 * t, 0.4 * t) for t in (0.35, 0.55, 0.75, 0.92)]), -0.4)
    canvas.strokes(swirl, darker(hair.colour), width=0.03 * unit, alpha=0.6)
    canvas.fill(head.flat(ellipse((0, -0.6), 1.02, 1.2), -0.3), hair.colour * 0.6)


def _draw_buzz(canvas: Canvas, head: Head, shot: Shot) -> None:
    hair, unit = head.person.hair, head.unit
    hairline = xy((0, 0.5, 0.78, 0.86, 0.95, 0.97), (-1.06, -1.05, -0.86, -0.5, -0.25, 0.15))
    skull = xy((1.05, 1.06, 0.9, 0.5, 0), (0.0, -0.6, -1.2, -1.5, -1.6))
    area = head.flat(whole(smooth(np.concatenate([hairline, skull]))), 0.1)
    cap = canvas.fill(area, hair.colour * 0.9, alpha=0.9, blur=0.035 * unit)
    gleam = head.flat(ellipse((shot.light[0] * 0.7, -1.3), 0.45, 0.14), 0.1)
    canvas.fill(gleam, lighter(hair.colour), alpha=0.4, blur=0.12 * unit, within=cap)


def _jaw(p: Person) -> Points:
    outline = face_outline(p)
    right = outline[(outline[:, 0] >= 0) & (outline[:, 1] > 0.25)]
    below = right[np.argsort(right[:, 1])] * (1.0, 1.015)  # from the ear down to the chin
    above = smooth(xy((0, 0.42, 0.62, 0.82), (p.mouth_y - 0.18, p.mouth_y - 0.14, 0.9, 0.55)))
    return whole(np.concatenate([above, below]))


def _goatee(p: Person) -> Points:
    w, y = p.mouth_width, p.mouth_y
    return whole(
        smooth(xy((0, w * 1.1, w * 0.95, 0.25, 0), (y - 0.05, y - 0.1, y + 0.42, 1.7 + p.chin, 1.74 + p.chin)))
    )


def _moustache(p: Person) -> Points:
    w, y = p.mouth_width, p.mouth_y
    return whole(smooth(xy((0, w * 0.6, w * 1.12, w * 0.5, 0), (y - 0.2, y - 0.15, y + 0.06, y - 0.04, y - 0.06))))
