"""Hair and beards: locks between two curves, with strands that follow both."""

from __future__ import annotations

import math

import numpy as np

from pgtools.demo.paint import Canvas, Colour, Points, ellipse, mix, rgb, ribbon, smooth
from pgtools.demo.people import Person, Shot
from pgtools.demo.head import MIRROR, Head, face_outline

FALLING = ("long", "waves", "bob", "fringe")


def draw_hair_behind(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint the hair that neck and face will cover."""
    hair, unit = head.person.hair, head.unit
    dark = hair.colour * 0.6
    if hair.style in FALLING:
        end, v = _length(head.person), hair.volume
        right = [
            (0, -1.6 - v),
            (0.6, -1.42 - v),
            (1.08 + v * 0.7, -0.7),
            (1.18 + v, 0.4),
            (1.2 + v, end - 0.3),
            (0.8, end),
            (0, end - 0.05),
        ]
        half = _waved(smooth(right), hair.style, rng)
        canvas.fill(head.flat(np.concatenate([half, half[::-1] * MIRROR]), -0.3), dark, blur=0.012 * unit)
    elif hair.style == "bun":
        bun = head.flat(_curly((0, -1.92 - hair.volume), 0.52, 0.46, 0.02, rng), -0.4)
        canvas.fill(bun, hair.colour * 0.85)
        swirl = [
            head.flat(ellipse((0, -1.9 - hair.volume), 0.46 * t, 0.4 * t, 24), -0.4)
            for t in (0.35, 0.55, 0.75, 0.92)
        ]
        canvas.strokes(swirl, dark, width=0.03 * unit, alpha=0.6, blur=0.01 * unit)
        canvas.fill(head.flat(ellipse((0, -0.6), 1.02, 1.2), -0.3), dark)
    elif hair.style == "afro":
        mass = head.flat(_curly((0, -0.62), 1.42 + hair.volume, 1.5 + hair.volume, 0.05, rng), -0.2)
        canvas.fill(mass, hair.colour * 0.8, blur=0.015 * unit)
        _draw_curls(canvas, head, mass, shot, rng, count=190)
    elif hair.style != "bald":
        canvas.fill(head.flat(ellipse((0, -0.45), 1.04, 1.15), -0.2), dark)


def draw_hair(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint the hair in front of the face."""
    p = head.person
    style, v = p.hair.style, p.hair.volume
    if style == "bald":
        return
    if style == "buzz":
        _draw_buzz(canvas, head, shot)
    elif style in ("curls", "afro"):
        _draw_curly_top(canvas, head, shot, rng)
    elif style == "fringe":
        for s in (-1, 1):
            _draw_lock(canvas, head, shot, rng, *_side_lock(p, s, 0.0))
        _draw_fringe(canvas, head, shot, rng)
    elif style in ("crop", "quiff"):
        rise = v + (0.2 if style == "quiff" else 0.0)
        _draw_sweep(canvas, head, shot, rng, rise)
    else:
        # The lock of the wider side lies over the other.
        for s in (-1, 1) if p.hair.parting < 0 else (1, -1):
            _draw_lock(canvas, head, shot, rng, *_side_lock(p, s, p.hair.parting))


def draw_beard(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    """Paint stubble, moustache, goatee or full beard; call before the mouth is painted."""
    p, unit = head.person, head.unit
    if p.beard == "none":
        return
    colour = mix(p.hair.colour * 0.85, rgb(40, 32, 30), 0.25)
    jaw = _jaw(p)
    lip = p.mouth_y
    w = p.mouth_width
    goatee = smooth(
        [
            (-w * 1.1, lip - 0.1),
            (0, lip + 0.05),
            (w * 1.1, lip - 0.1),
            (w * 0.95, lip + 0.42),
            (0.25, 1.72 + p.chin),
            (-0.25, 1.72 + p.chin),
            (-w * 0.95, lip + 0.42),
        ],
        closed=True,
    )
    over = smooth(
        [
            (-w * 1.12, lip + 0.06),
            (-w * 0.6, lip - 0.15),
            (0, lip - 0.2),
            (w * 0.6, lip - 0.15),
            (w * 1.12, lip + 0.06),
            (w * 0.5, lip - 0.04),
            (0, lip - 0.06),
            (-w * 0.5, lip - 0.04),
        ],
        closed=True,
    )
    shapes = {"stubble": [jaw, over], "full": [jaw, over], "goatee": [goatee, over], "moustache": [over]}[
        p.beard
    ]
    alpha = 0.3 if p.beard == "stubble" else 0.88
    for shape in shapes:
        area = head(shape)
        canvas.fill(area, colour, alpha=alpha, blur=(0.07 if shape is jaw else 0.03) * unit)
        low, high = shape.min(axis=0), shape.max(axis=0)
        roots = rng.uniform(low, high, (110 if shape is jaw else 50, 2))
        tips = roots + np.stack([0.12 * roots[:, 0], rng.uniform(0.05, 0.11, len(roots))], axis=1)
        hairs = head(np.stack([roots, tips], axis=1))
        for tone, part in ((colour * 0.7, hairs[::2]), (np.minimum(colour * 1.5 + 10, 255), hairs[1::2])):
            canvas.strokes(part, tone, width=0.014 * unit, alpha=0.4 * alpha, within=area)


def _jaw(p: Person) -> Points:
    outline = face_outline(p)
    lower = outline[(outline[:, 1] > 0.25)]
    lower = lower[
        np.argsort(np.arctan2(lower[:, 0], lower[:, 1]))
    ]  # from left ear round the chin to the right
    inner = [(0.82, 0.55), (0.62, 0.9), (0.42, p.mouth_y - 0.14), (0, p.mouth_y - 0.18)]
    right = smooth(inner)
    return np.concatenate([lower * (1.0, 1.015), right, (right * MIRROR)[::-1]])


def _length(p: Person) -> float:
    return {"bob": 1.35 + 0.15 * p.hair.length}.get(p.hair.style, p.hair.length)


def _side_lock(p: Person, s: int, parting: float) -> tuple[Points, Points]:
    """Inner and outer curve of the hair on side `s`, from the parting downwards."""
    v, style = p.hair.volume, p.hair.style
    top = (parting * 0.9, -1.22)
    crown = (parting * 0.8, -1.59 - v + 0.15 * abs(parting))
    if style in FALLING:
        end = _length(p)
        inner = [
            top,
            (parting + (s - parting) * 0.55, -0.98),
            (s * 0.84, -0.5),
            (s * 0.93, 0.1),
            (s * 0.96, 0.9),
            (s * 0.86, end * 0.75),
            (s * 0.86, end),
        ]
        outer = [
            crown,
            (parting * 0.5 + s * 0.55, -1.44 - v),
            (s * (1.0 + v * 0.6), -0.85),
            (s * (1.12 + v), 0.0),
            (s * (1.22 + v), 0.9),
            (s * (1.26 + v), end * 0.75),
            (s * 1.02, end + 0.08),
        ]
    else:
        side = 0.35 if style == "side" else 0.1
        inner = [
            top,
            (parting + (s - parting) * 0.55, -1.03),
            (s * 0.84, -0.62),
            (s * 0.94, -0.2),
            (s * 0.97, side),
        ]
        outer = [
            crown,
            (parting * 0.5 + s * 0.55, -1.4 - v * 0.95),
            (s * (0.98 + v * 0.5), -0.9),
            (s * (1.07 + v * 0.3), -0.4),
            (s * 1.05, side),
        ]
    return np.array(inner), np.array(outer)


def _draw_lock(
    canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator, inner: Points, outer: Points
) -> None:
    """Fill between two curves of the same number of control points and let strands run between them."""
    hair, unit = head.person.hair, head.unit
    a, b = smooth(inner), smooth(outer)
    if hair.style == "waves":
        a, b = _waved(a, hair.style, rng), _waved(b, hair.style, rng)
    shape = head.flat(np.concatenate([a, b[::-1]]), 0.05)
    shadow = head.flat(np.concatenate([a + (0, 0.06), b[::-1]]), 0.05)
    canvas.fill(shadow, rgb(30, 14, 10), alpha=0.35, blur=0.06 * unit)
    canvas.fill(shape, hair.colour, blur=0.008 * unit)
    lit = _light_on(shot, float(np.sign(outer[2, 0])))
    _draw_strands(canvas, head, a, b, shape, rng, lit)


def _draw_strands(
    canvas: Canvas, head: Head, a: Points, b: Points, shape: Points, rng: np.random.Generator, lit: float
) -> None:
    hair, unit = head.person.hair, head.unit
    shares = rng.uniform(0.02, 0.98, (30, 1, 1))
    strands = head.flat(a + (b - a) * shares + rng.normal(0, 0.012, (30, 1, 2)), 0.05)
    canvas.strokes(
        strands[::3], _darker(hair.colour), width=0.045 * unit, alpha=0.4, blur=0.012 * unit, within=shape
    )
    canvas.strokes(
        strands[1::3],
        _lighter(hair.colour),
        width=0.03 * unit,
        alpha=0.35 * lit,
        blur=0.008 * unit,
        within=shape,
    )
    canvas.strokes(strands[2::3], _darker(hair.colour), width=0.012 * unit, alpha=0.5, within=shape)
    n = len(a)
    band = strands[:, n // 6 : n // 2]
    canvas.strokes(
        band, _lighter(hair.colour), width=0.06 * unit, alpha=0.5 * lit, blur=0.05 * unit, within=shape
    )
    edge = head.flat(b + (a - b) * 0.12, 0.05)
    canvas.strokes([edge], _darker(hair.colour), width=0.1 * unit, alpha=0.4, blur=0.06 * unit, within=shape)


def _draw_sweep(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator, height: float) -> None:
    """Short hair brushed to one side, standing up by `height`, with short sides."""
    p, unit = head.person, head.unit
    s = 1.0 if p.hair.parting >= 0 else -1.0
    for side in (-1, 1):
        temple = [
            (side * 0.84, -1.0),
            (side * 0.9, -0.55),
            (side * 0.965, -0.1),
            (side * 0.97, 0.22),
            (side * 1.04, 0.18),
            (side * 1.06, -0.4),
            (side * 1.02, -1.0),
            (side * 0.8, -1.3),
        ]
        area = head.flat(smooth(temple, closed=True), 0.05)
        canvas.fill(area, p.hair.colour * 0.8, alpha=0.95, blur=0.02 * unit)
    hairline = smooth(
        [
            (-s * 0.9, -0.8),
            (-s * 0.72, -1.02),
            (-s * 0.3, -1.1),
            (s * 0.25, -1.08),
            (s * 0.68, -1.0),
            (s * 0.92, -0.72),
        ]
    )
    crest = smooth(
        [
            (-s * 1.02, -0.85),
            (-s * 0.86, -1.38),
            (-s * 0.4, -1.62 - height),
            (s * 0.25, -1.6 - height * 0.9),
            (s * 0.84, -1.34 - height * 0.4),
            (s * 1.03, -0.75),
        ]
    )
    shape = head.flat(np.concatenate([hairline, crest[::-1]]), 0.05)
    canvas.fill(
        head.flat(np.concatenate([hairline + (0, 0.05), crest[::-1]]), 0.05),
        rgb(30, 14, 10),
        alpha=0.3,
        blur=0.05 * unit,
    )
    canvas.fill(shape, p.hair.colour, blur=0.012 * unit)
    lean = 5
    i = rng.integers(0, len(hairline) - lean, 70)
    low, high = np.sort(rng.uniform(0, 1.02, (2, 70, 1)), axis=0)
    rise = crest - hairline
    roots, tips = hairline[i] + rise[i] * low, hairline[i + lean] + rise[i + lean] * high
    bow = rise[i] * 0.12
    tufts = head.flat(
        np.stack(
            [roots, roots * 0.6 + tips * 0.4 + bow, roots * 0.25 + tips * 0.75 + bow * 0.8, tips], axis=1
        ),
        0.05,
    )
    light = _lighter(p.hair.colour)
    canvas.strokes(
        tufts[:26], _darker(p.hair.colour), width=0.03 * unit, alpha=0.5, blur=0.01 * unit, within=shape
    )
    canvas.strokes(tufts[26:50], light, width=0.022 * unit, alpha=0.4, blur=0.008 * unit, within=shape)
    canvas.strokes(tufts[50:], _darker(p.hair.colour), width=0.014 * unit, alpha=0.6, within=shape)
    x = shot.light[0] * 0.7
    gleam = head.flat(ellipse((x, -1.42 - height * 0.6), 0.4, 0.12), 0.05)
    canvas.fill(gleam, light, alpha=0.4, blur=0.1 * unit, within=shape)


def _draw_fringe(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    p = head.person
    v = p.hair.volume
    bottom = smooth(
        [(-0.88, -0.3), (-0.55, -0.42), (-0.1, -0.47), (0.35, -0.44), (0.62, -0.4), (0.88, -0.3)], steps=5
    )
    roots = smooth(
        [
            (-0.72, -1.3 - v),
            (-0.4, -1.5 - v),
            (-0.1, -1.56 - v),
            (0.2, -1.55 - v),
            (0.45, -1.48 - v),
            (0.72, -1.3 - v),
        ],
        steps=5,
    )
    bottom[:, 1] += rng.normal(0, 0.02, len(bottom))
    middle = (bottom + roots) / 2 * (1.06, 1.0)
    locks = np.stack([smooth([r, m, b], steps=5) for r, m, b in zip(roots, middle, bottom, strict=True)])
    shape = head.flat(np.concatenate([roots, locks[-1], bottom[::-1], locks[0][::-1]]), 0.08)
    canvas.fill(shape + (0, 0.05 * head.unit), rgb(30, 14, 10), alpha=0.4, blur=0.05 * head.unit)
    canvas.fill(shape, p.hair.colour, blur=0.008 * head.unit)
    _draw_strands(canvas, head, locks[0], locks[-1], shape, rng, _light_on(shot, 0.0))


def _draw_buzz(canvas: Canvas, head: Head, shot: Shot) -> None:
    p, unit = head.person, head.unit
    line = [
        (0, -1.06),
        (0.5, -1.05),
        (0.78, -0.86),
        (0.86, -0.5),
        (0.95, -0.25),
        (0.97, 0.15),
        (1.05, 0.0),
        (1.06, -0.6),
        (0.9, -1.2),
        (0.5, -1.5),
        (0, -1.6),
    ]
    right = smooth(line)
    area = head.flat(np.concatenate([right, right[::-1] * MIRROR]), 0.1)
    canvas.fill(area, p.hair.colour * 0.9, alpha=0.9, blur=0.035 * unit)
    gleam = head.flat(ellipse((shot.light[0] * 0.7, -1.3), 0.45, 0.14), 0.1)
    canvas.fill(gleam, _lighter(p.hair.colour), alpha=0.4, blur=0.12 * unit, within=area)


def _draw_curly_top(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    p, unit, v = head.person, head.unit, head.person.hair.volume
    big = p.hair.style == "afro"
    line = [(0, -0.98), (0.45, -1.0), (0.74, -0.84), (0.88, -0.45), (0.97, 0.1)]
    out = 0.18 + v if not big else 0.4 + v
    over = [
        (1.08 + 0.3 * out, 0.05),
        (1.04 + out * 0.8, -0.6),
        (0.82 + out * 0.7, -1.25 - out * 0.3),
        (0.4, -1.5 - out),
        (0, -1.56 - out),
    ]
    right = np.concatenate([smooth(line, steps=2), smooth(over, steps=3)])
    knots = np.concatenate([right, right[::-1] * MIRROR])
    area = head.flat(smooth(knots + rng.normal(0, 0.03, knots.shape), closed=True, steps=4), 0.05)
    canvas.fill(area + (0, 0.05 * unit), rgb(24, 12, 10), alpha=0.3, blur=0.05 * unit)
    canvas.fill(area, p.hair.colour * 0.85, blur=0.02 * unit)
    _draw_curls(canvas, head, area, shot, rng, count=130)


def _draw_curls(
    canvas: Canvas, head: Head, area: Points, shot: Shot, rng: np.random.Generator, *, count: int
) -> None:
    unit, colour = head.unit, head.person.hair.colour
    low, high = area.min(axis=0), area.max(axis=0)
    turns = rng.uniform(0, 2 * math.pi, count)
    radii = rng.uniform(0.05, 0.11, count) * unit
    spots = rng.uniform(low, high, (count, 2))
    angle = np.linspace(0, 4.2, 9)
    along = angle + turns[:, None]
    arcs = spots[:, None] + radii[:, None, None] * np.stack([np.cos(along), np.sin(along)], axis=2)
    canvas.strokes(arcs[::2], _darker(colour), width=0.03 * unit, alpha=0.55, blur=0.008 * unit, within=area)
    canvas.strokes(
        arcs[1::2], _lighter(colour), width=0.024 * unit, alpha=0.4, blur=0.006 * unit, within=area
    )
    gleam = head.flat(ellipse((shot.light[0] * 1.1, -1.4), 0.6, 0.3), 0.0)
    canvas.fill(gleam, _lighter(colour), alpha=0.3, blur=0.2 * unit, within=area)


def _curly(
    centre: tuple[float, float], rx: float, ry: float, rough: float, rng: np.random.Generator
) -> Points:
    knots = ellipse((0, 0), rx, ry, 30)
    return smooth(knots * (1 + rng.normal(0, rough, (30, 1))) + np.array(centre), closed=True, steps=4)


def _waved(curve: Points, style: str, rng: np.random.Generator) -> Points:
    """Waves that grow downwards, for wavy hair only."""
    if style != "waves":
        return curve
    growth = np.clip(curve[:, 1] + 0.8, 0, 1.2)
    wave = 0.085 * growth * np.sin(curve[:, 1] * 5.2 + 0.6)
    return curve + np.stack([wave * np.sign(curve[:, 0]), np.zeros(len(curve))], axis=1)


def _light_on(shot: Shot, s: float) -> float:
    return float(np.clip(0.8 + 0.6 * shot.light[0] * s, 0.3, 1.2))


def _darker(colour: Colour) -> Colour:
    """The shade between strands: fair hair keeps more of its own light."""
    return colour * (0.42 + 0.3 * colour.mean() / 255)


def _lighter(colour: Colour) -> Colour:
    return np.minimum(colour * 1.25 + 26, 255)
