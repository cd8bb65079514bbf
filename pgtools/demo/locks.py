"""Hair that lies in locks: a lock is what is between two curves, and its strands run between them."""

from __future__ import annotations

import numpy as np

from pgtools.demo.head import SIDES, Head, whole
from pgtools.demo.paint import Canvas, Colour, Points, ellipse, lowered, mix, rgb, smooth, xy
from pgtools.demo.people import Hair, Shot

FALLING = ("long", "waves", "bob", "fringe")
# Hair stands this far before the plane of the face's outline, in face units.
DEPTH = 0.05


def darker(colour: Colour) -> Colour:
    """Return the shade between strands: fair hair keeps more of its own light."""
    return colour * (0.42 + 0.3 * float(colour.mean()) / 255)


def lighter(colour: Colour) -> Colour:
    """Return the gleam on strands."""
    return np.minimum(colour * 1.22 + 24, 250)


def draw_mane(canvas: Canvas, head: Head) -> None:
    """Paint falling hair behind head and neck."""
    hair = head.person.hair
    end, v = _end(hair), hair.volume
    x = (0, 0.6, 1.08 + v * 0.7, 1.18 + v, 1.2 + v, 0.8, 0)
    y = (-1.6 - v, -1.42 - v, -0.7, 0.4, end - 0.3, end, end - 0.05)
    canvas.fill(head.flat(whole(_waved(smooth(xy(x, y)), hair)), -0.3), hair.colour * 0.6, blur=0.012 * head.unit)


def draw_sides(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator, *, parting: float) -> None:
    """Paint the hair on both sides of a parting; that of the wider side lies over the other."""
    hair, unit = head.person.hair, head.unit
    curves = _falling_sides if hair.style in FALLING else _short_sides
    for s in (-1, 1) if parting < 0 else (1, -1):
        inner, outer = (_waved(smooth(curve), hair) for curve in curves(hair, s, parting))
        shadow = head.flat(np.concatenate([lowered(inner, 0.06), outer[::-1]]), DEPTH)
        canvas.fill(shadow, rgb(30, 14, 10), alpha=0.35, blur=0.06 * unit)
        area = head.flat(np.concatenate([inner, outer[::-1]]), DEPTH)
        _draw_lock(canvas, head, (inner, outer, area), rng, lit=_light_on(shot, s))


def draw_fringe(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint a fringe down to the brows."""
    unit, v = head.unit, head.person.hair.volume
    ends = smooth(xy((-0.88, -0.55, -0.1, 0.35, 0.62, 0.88), (-0.3, -0.42, -0.47, -0.44, -0.4, -0.3)))
    crown = smooth(xy((-0.72, -0.4, -0.1, 0.2, 0.45, 0.72), (-1.3, -1.5, -1.56, -1.55, -1.48, -1.3)))
    ends, crown = lowered(ends, rng.normal(0, 0.02, len(ends))), lowered(crown, -v)
    left, right = (smooth([crown[i], (crown[i] + ends[i]) * (0.53, 0.5), ends[i]]) for i in (0, -1))
    area = head.flat(np.concatenate([crown, right, ends[::-1], left[::-1]]), DEPTH)
    canvas.fill(lowered(area, 0.05 * unit), rgb(30, 14, 10), alpha=0.4, blur=0.05 * unit)
    _draw_lock(canvas, head, (left, right, area), rng, lit=_light_on(shot, 0.0))


def draw_sweep(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator, height: float) -> None:
    """Paint short hair brushed to one side, standing up by `height`, with shorter sides."""
    hair, unit = head.person.hair, head.unit
    way = (1.0 if hair.parting >= 0 else -1.0, 1.0)
    x = (0.84, 0.9, 0.965, 0.97, 1.04, 1.06, 1.02, 0.8)
    temple = smooth(xy(x, (-1.0, -0.55, -0.1, 0.22, 0.18, -0.4, -1.0, -1.3)), closed=True)
    temples = head.flat(temple * SIDES, DEPTH)
    canvas.fill(temples, hair.colour * 0.8, alpha=0.95, blur=0.02 * unit)
    hairline = smooth(xy((-0.9, -0.72, -0.3, 0.25, 0.68, 0.92), (-0.8, -1.02, -1.1, -1.08, -1.0, -0.72))) * way
    y = (-0.85, -1.38, -1.62 - height, -1.6 - height * 0.9, -1.34 - height * 0.4, -0.75)
    crest = smooth(xy((-1.02, -0.86, -0.4, 0.25, 0.84, 1.03), y)) * way
    area = head.flat(np.concatenate([hairline, crest[::-1]]), DEPTH)
    canvas.fill(lowered(area, 0.05 * unit), rgb(30, 14, 10), alpha=0.3, blur=0.05 * unit)
    tufts = head.flat(_tufts(hairline, crest, rng), DEPTH)
    dark, light = darker(hair.colour), lighter(hair.colour)
    shade, shine = mix(hair.colour, dark, 0.5), mix(hair.colour, light, 0.4)
    pieces = [(tufts[:26], shade, 0.03 * unit), (tufts[26:50], shine, 0.022 * unit), (tufts[50:], shade, 0.014 * unit)]
    crop = canvas.inlay(area, hair.colour, pieces)
    gleam = head.flat(ellipse((shot.light[0] * 0.7, -1.42 - height * 0.6), 0.4, 0.12), DEPTH)
    canvas.fill(gleam, light, alpha=0.4, blur=0.1 * unit, within=crop)


def _falling_sides(hair: Hair, s: int, parting: float) -> tuple[Points, Points]:
    """Inner and outer curve of long hair on side `s`, from the parting down to the tip."""
    v, end, across = hair.volume, _end(hair), parting + (s - parting) * 0.55
    x = (parting * 0.9, across, s * 0.84, s * 0.93, s * 0.96, s * 0.86, s * 0.86)
    inner = xy(x, (-1.22, -0.98, -0.5, 0.1, 0.9, end * 0.75, end))
    out = (1.0 + v * 0.6, 1.12 + v, 1.22 + v, 1.26 + v, 1.02)
    outer_x = (parting * 0.8, parting * 0.5 + s * 0.55, *(s * o for o in out))
    outer_y = (-1.59 - v + 0.15 * abs(parting), -1.44 - v, -0.85, 0.0, 0.9, end * 0.75, end + 0.08)
    return inner, xy(outer_x, outer_y)


def _short_sides(hair: Hair, s: int, parting: float) -> tuple[Points, Points]:
    """Inner and outer curve of hair that ends at the ear."""
    v, end, across = hair.volume, 0.35 if hair.style == "side" else 0.1, parting + (s - parting) * 0.55
    inner = xy((parting * 0.9, across, s * 0.84, s * 0.94, s * 0.97), (-1.22, -1.03, -0.62, -0.2, end))
    out = (0.98 + v * 0.5, 1.07 + v * 0.3, 1.05)
    outer_x = (parting * 0.8, parting * 0.5 + s * 0.55, *(s * o for o in out))
    outer_y = (-1.59 - v + 0.15 * abs(parting), -1.4 - v * 0.95, -0.9, -0.4, end)
    return inner, xy(outer_x, outer_y)


def _draw_lock(
    canvas: Canvas, head: Head, lock: tuple[Points, Points, Points], rng: np.random.Generator, *, lit: float
) -> None:
    """Fill the area between two curves with strands, a band of gleam where it bends, shade along its outer edge."""
    inner, outer, area = lock
    unit, colour = head.unit, head.person.hair.colour
    dark, light = darker(colour), lighter(colour)
    shares = rng.uniform(0.02, 0.98, (30, 1, 1))
    strands = head.flat((inner + (outer - inner) * shares)[:, ::2] + rng.normal(0, 0.012, (30, 1, 2)), DEPTH)
    pieces = [
        (strands[::3], mix(colour, dark, 0.3), 0.036 * unit),
        (strands[1::3], mix(colour, light, 0.25 * lit), 0.024 * unit),
        (strands[2::3], mix(colour, dark, 0.55), 0.012 * unit),
    ]
    mass = canvas.inlay(area, colour, pieces)
    n = strands.shape[1]
    band = strands[:, n // 6 : n // 2]
    canvas.strokes(band, light, width=0.06 * unit, alpha=0.5 * lit, blur=0.05 * unit, within=mass)
    edge = head.flat(outer + (inner - outer) * 0.12, DEPTH)
    canvas.strokes([edge], dark, width=0.1 * unit, alpha=0.4, blur=0.06 * unit, within=mass)


def _tufts(hairline: Points, crest: Points, rng: np.random.Generator, *, count: int = 70, lean: int = 5) -> Points:
    """Bowed strokes (count, 4, 2) from the hairline up to the crest, leaning over `lean` of its points."""
    i = rng.integers(0, len(hairline) - lean, count)
    low, high = np.sort(rng.uniform(0, 1.02, (2, count, 1)), axis=0)
    rise = crest - hairline
    roots, tips = hairline[i] + rise[i] * low, hairline[i + lean] + rise[i + lean] * high
    bow = rise[i] * 0.12
    return np.stack([roots, roots * 0.6 + tips * 0.4 + bow, roots * 0.25 + tips * 0.75 + bow * 0.8, tips], axis=1)


def _waved(curve: Points, hair: Hair) -> Points:
    """Waves that grow downwards, for wavy hair only."""
    if hair.style != "waves":
        return curve
    growth = np.clip(curve[:, 1] + 0.8, 0, 1.2)
    wave = 0.085 * growth * np.sin(curve[:, 1] * 5.2 + 0.6) * np.sign(curve[:, 0])
    return curve + np.stack([wave, np.zeros(len(curve))], axis=1)


def _end(hair: Hair) -> float:
    return 1.35 + 0.15 * hair.length if hair.style == "bob" else hair.length


def _light_on(shot: Shot, s: float) -> float:
    return float(np.clip(0.8 + 0.6 * shot.light[0] * s, 0.3, 1.2))
