"""Eyes, brows, nose, mouth, lines of age and glasses: placed by `Head`, so that the landmarks are theirs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pgtools.demo.head import MIRROR, NOSE_LIFT, SIDES, Head, mouth_corner, shadow_of
from pgtools.demo.paint import Canvas, Piece, Points, ellipse, lowered, mix, rgb, ribbon, smooth
from pgtools.demo.people import Shot

IRIS = 0.108
# Glasses → exponent of their superellipse (1 an ellipse, 0 a rectangle) and half its width and height.
LENSES = {"round": (1.0, (0.32, 0.31)), "square": (0.5, (0.36, 0.26)), "half": (0.66, (0.36, 0.25))}


def draw_features(canvas: Canvas, head: Head, shot: Shot, rng: np.random.Generator) -> None:
    """Paint eyes, brows, nose and mouth, and the lines of age."""
    if head.person.freckles:
        _draw_freckles(canvas, head, rng)
    _draw_folds(canvas, head)
    _draw_nose(canvas, head, shot)
    _draw_mouth(canvas, head)
    _draw_eyes(canvas, head, shot)
    _draw_brows(canvas, head, rng)


def draw_glasses(canvas: Canvas, head: Head) -> None:
    """Paint the glasses, if there are any: lenses, a reflection, frame, bridge, temples."""
    p, unit = head.person, head.unit
    if p.glasses == "none":
        return
    power, size = LENSES[p.glasses]
    width = max((0.05 if p.glasses == "square" else 0.032) * unit, 1.0)
    middle = np.array([p.eye_distance * 1.02, 0.05])
    unit_lens = ellipse((0, 0), 1, 1, 48)
    lens = np.sign(unit_lens) * abs(unit_lens) ** power * size + middle
    rims = head.both(lens, 0.12)
    glass = canvas.fill(rims, rgb(235, 242, 250), alpha=0.1)
    streak = np.array([(-0.2, -0.2), (-0.08, -0.22), (-0.2, 0.16), (-0.27, 0.1)])
    streaks = head(streak + middle * SIDES, 0.12)
    canvas.fill(streaks, rgb(255, 255, 255), alpha=0.18, within=glass)
    frame = np.concatenate([rims, rims[:, :1]], axis=1) if p.glasses != "half" else rims[:, 24:]
    canvas.strokes(lowered(frame, 0.05 * unit), rgb(40, 26, 20), width=width, alpha=0.2, blur=0.03 * unit)
    temples = head.both([(p.eye_distance + 0.34, -0.04), (0.99, -0.06)], 0.1)
    inner = p.eye_distance - 0.33
    bridge = head(smooth([(-inner, 0.0), (0, -0.06), (inner, 0.0)]), 0.2)
    canvas.strokes([frame, temples, bridge], p.glasses_colour, width=width)


def _draw_eyes(canvas: Canvas, head: Head, shot: Shot) -> None:
    p, unit, shadow = head.person, head.unit, shadow_of(head.person.skin)
    w, h = 0.215 * p.eye_size, 0.105 * p.eye_open * p.eye_size

    tilted, beside = np.array([[1.0, -p.eye_tilt / w], [0.0, 1.0]]), np.array([p.eye_distance, 0.0])

    def place(points: Points) -> Points:
        """Both eyes' curves from one about the pupil; x grows to the temple, where the tilt lifts it."""
        return head.both(points @ tilted + beside)

    upper = smooth([(-w, 0.025), (-w * 0.55, -h * 0.72), (0.0, -h * 1.02), (w * 0.6, -h * 0.7), (w, -0.01)])
    lower = smooth([(w, -0.01), (w * 0.55, h * 0.62), (0.0, h * 0.8), (-w * 0.55, h * 0.62), (-w, 0.025)])
    lid = np.concatenate([upper, lowered(upper, -0.085)[::-1]])
    canvas.fill(place(lid), mix(p.skin, shadow, 0.55 + 0.3 * p.makeup), alpha=0.6, blur=0.03 * unit)
    white = mix(rgb(240, 236, 232), p.skin, 0.1)
    corner = place(ellipse((-w * 0.93, 0.02), 0.03, 0.03, 12))
    pieces = [(corner, mix(rgb(210, 150, 142), p.skin, 0.3), None), *_irises(head, shot, place)]
    opening = canvas.inlay(place(np.concatenate([upper, lower[1:-1]])), white, pieces)
    lid_shadow = np.concatenate([upper, lowered(upper, 0.05)[::-1]])
    canvas.fill(place(lid_shadow), rgb(40, 28, 30), alpha=0.4, blur=0.02 * unit, within=opening)
    lash = mix(rgb(26, 18, 18), p.brow_colour, 0.2)
    line = (0.035 + 0.025 * p.makeup) * unit
    lashes = ribbon(place(lowered(upper, -0.006)), line, taper=(0.15, 0.9))
    if p.makeup > 0.35:
        wing = smooth([(w * 0.7, -h * 0.5), (w, -0.012), (w * 1.22, -0.07)])
        canvas.fill(ribbon(place(wing), 0.035 * unit, taper=(0.6, 0.0)), lash, alpha=0.9)
    canvas.fill(lashes, lash, alpha=0.92)
    canvas.fill(ribbon(place(lower), 0.02 * unit), mix(shadow, lash, 0.3 + 0.4 * p.makeup), alpha=0.6)
    crease = smooth([(-w * 0.9, -0.05), (-w * 0.5, -h - 0.055), (w * 0.1, -h - 0.085), (w * 1.02, -0.075)])
    canvas.fill(ribbon(place(crease), 0.024 * unit), shadow * 0.75, alpha=0.6)
    bag = smooth([(-w * 0.7, h + 0.04), (0, h + 0.1), (w * 0.75, h + 0.05)])
    canvas.fill(ribbon(place(bag), 0.035 * unit), shadow, alpha=0.15 + 0.4 * p.age, blur=0.015 * unit)


def _irises(head: Head, shot: Shot, place: Callable[[Points], Points]) -> list[Piece]:
    """Iris, its paler middle, pupil and catch-light."""
    colour = head.person.eye_colour
    # The window the photographer stands at, in both eyes on the same side.
    spot = ellipse((0.05 * np.sign(shot.light[0]), -0.04), 0.028, 0.028, 12)
    eyes = np.array([[head.person.eye_distance, 0.0]]) * SIDES
    return [
        (place(ellipse((0, 0), IRIS, IRIS)), colour * 0.45, None),
        (place(ellipse((0, 0), IRIS * 0.84, IRIS * 0.84)), colour, None),
        (place(ellipse((0, 0.035), IRIS * 0.55, IRIS * 0.45)), colour * 1.3 + 8, None),
        (place(ellipse((0, 0), IRIS * 0.42, IRIS * 0.42, 20)), rgb(14, 11, 12), None),
        (head(spot + eyes), mix(colour, rgb(255, 255, 255), 0.9), None),
    ]


def _draw_brows(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    p, unit = head.person, head.unit
    e, y, thick = p.eye_distance, -p.brow_height, 0.085 * p.brow_weight
    spine = smooth([(e - 0.29, y + 0.012), (e - 0.12, y - 0.022), (e + 0.1, y - 0.045), (e + 0.31, y + 0.045)], steps=8)
    along = np.linspace(0, 1, len(spine))
    width = np.interp(along, [0, 0.15, 0.55, 1], [0.6, 1, 0.85, 0.12])[:, None] * thick
    top, bottom = spine - width * (0, 0.5), spine + width * (0, 0.5)
    canvas.fill(head.both(np.concatenate([top, bottom[::-1]])), p.brow_colour, alpha=0.62, blur=0.018 * unit)
    roots = rng.integers(0, len(spine) - 4, (2, 20))
    slant = rng.uniform(0.1, 0.9, (2, 20, 1))
    tips = top[roots + 3] * slant + bottom[roots + 3] * (1 - slant)
    hairs = np.stack([bottom[roots] + (top - bottom)[roots] * slant * 0.4, tips], axis=2)
    hairs[0] *= MIRROR
    canvas.strokes(head(hairs.reshape(-1, 2, 2)), p.brow_colour * 0.8, width=0.012 * unit, alpha=0.55)


def _draw_nose(canvas: Canvas, head: Head, shot: Shot) -> None:
    p, unit, shadow = head.person, head.unit, shadow_of(head.person.skin)
    tip, wide = p.nose_length, p.nose_width
    side = -np.sign(shot.light[0])
    ridge = smooth([(side * 0.09, -0.2), (side * 0.085, tip - 0.3), (side * 0.13, tip - 0.03)])
    canvas.fill(ribbon(head(ridge, 0.05), 0.1 * unit), shadow, alpha=0.38 * shot.contrast, blur=0.035 * unit)
    under = smooth([(-wide, tip + 0.09), (0, tip + 0.16), (wide, tip + 0.09), (0, tip + 0.3)], closed=True)
    canvas.fill(head(under, 0.03), shadow * 0.9, alpha=0.4, blur=0.04 * unit)
    wing = [
        (wide * 0.82, tip - 0.09),
        (wide * 1.04, tip + 0.01),
        (wide * 0.98, tip + 0.095),
        (wide * 0.72, tip + 0.12),
    ]
    canvas.fill(ribbon(head.both(smooth(wing), 0.05), 0.035 * unit), shadow * 0.8, alpha=0.6)
    nostrils = head.both(ellipse((wide * 0.5, tip + 0.1), wide * 0.27, 0.033, 16), 0.1)
    canvas.fill(nostrils, mix(shadow * 0.35, rgb(40, 16, 14), 0.4), alpha=0.85)
    base = [(-wide * 0.5, tip + 0.115), (0, tip + 0.145), (wide * 0.5, tip + 0.115), (0, tip + 0.16)]
    canvas.fill(head(smooth(base, closed=True), 0.12), shadow * 0.7, alpha=0.5)
    shine = head(ellipse((0, tip), 0.05, 0.045, 16), NOSE_LIFT)
    canvas.fill(shine, rgb(255, 250, 244), alpha=p.nose_shine, blur=0.03 * unit)


def _draw_mouth(canvas: Canvas, head: Head) -> None:
    p, unit, shadow = head.person, head.unit, shadow_of(head.person.skin)
    (w, corner_y), y, full = mouth_corner(p), p.mouth_y, p.lips
    gap, sag = 0.17 * p.teeth * (0.5 + 0.5 * p.smile), 0.03 * p.smile

    def across(*points: tuple[float, float]) -> Points:
        """A curve from corner to corner, from its control points right of the middle."""
        right = np.array([*points, (w, corner_y)])
        return smooth(np.concatenate([right[:0:-1] * MIRROR, right]))

    top = across((0, y - 0.075 * full), (0.07, y - 0.105 * full), (w * 0.55, y - 0.06 * full))
    upper = across((0, y + 0.005 + sag), (0.08, y - 0.006 + sag), (w * 0.5, y + sag))
    lower = across((0, y + 0.005 + sag + gap), (0.1, y + sag + gap), (w * 0.55, y + sag + gap * 0.8))
    base_y = y + sag + gap
    base = across(
        (0, base_y + 0.125 * full), (w * 0.35, base_y + 0.115 * full), (w * 0.72, y + 0.06 * full + gap * 0.7)
    )
    below = head(ellipse((0, base_y + 0.2 * full), w * 0.5, 0.05))
    canvas.fill(below, shadow, alpha=0.5, blur=0.035 * unit)
    dimples = head.both(ellipse((w + 0.02, corner_y + 0.005), 0.035, 0.03, 12))
    canvas.fill(dimples, shadow * 0.8, alpha=0.45, blur=0.018 * unit)
    pieces: list[Piece] = [(head(np.concatenate([top, upper[::-1]])), p.lip_colour * 0.8, None)]
    if gap:
        edge = across((0, y + sag + gap * 0.72), (0.08, y + sag + gap * 0.71), (w * 0.5, y + sag + gap * 0.55))
        pieces += _teeth(head, upper, lower, edge)
    line = ribbon(head(upper), (0.018 if gap else 0.03) * unit, taper=(0.45, 0.45))
    pieces += [(line, p.lip_colour * 0.42, None)]
    lips = canvas.inlay(head(np.concatenate([top, base[::-1]])), p.lip_colour, pieces)
    if gap:
        lip_shadow = head(np.concatenate([upper, lowered(upper, 0.035)[::-1]]))
        canvas.fill(lip_shadow, rgb(60, 24, 24), alpha=0.4, blur=0.012 * unit, within=lips)
    gloss = head(ellipse((0, base_y + 0.062 * full), w * 0.4, 0.022 * full))
    canvas.fill(gloss, rgb(255, 236, 230), alpha=0.22 + 0.3 * p.makeup, blur=0.022 * unit)


def _teeth(head: Head, upper: Points, lower: Points, edge: Points) -> list[Piece]:
    """The open mouth between the lips' inner curves, with teeth down to `edge`."""
    step = len(upper) // 8
    return [
        (head(np.concatenate([upper, lower[::-1]])), rgb(74, 24, 26), None),
        (head(np.concatenate([upper, edge[::-1]])), rgb(240, 234, 224), None),
        (head(np.stack([upper, edge], axis=1)[step:-step:2]), rgb(208, 198, 188), 0.01 * head.unit),
    ]


def _draw_folds(canvas: Canvas, head: Head) -> None:
    p, unit, shadow = head.person, head.unit, shadow_of(head.person.skin)
    start, (w, y) = (p.nose_width * 1.12, p.nose_length), (p.mouth_width, p.mouth_y)
    fold = ribbon(head.both(smooth([start, (w + 0.07, y - 0.2), (w + 0.13, y + 0.02)])), 0.05 * unit)
    canvas.fill(fold, shadow, alpha=min(0.14 + 0.3 * p.smile + 0.4 * p.age, 0.75), blur=0.02 * unit)
    if p.age > 0.45:
        brow = smooth([(-0.5, 0.0), (-0.2, -0.02), (0.2, -0.02), (0.5, 0.0)])
        brows = head(np.stack([lowered(brow, y) for y in (-0.62, -0.75, -0.87)]))
        feet = np.array([[(0.76, y), (0.84, y + d)] for y, d in ((-0.03, -0.06), (0.03, 0.01), (0.08, 0.07))])
        canvas.strokes(
            [brows, head(feet), head(feet * MIRROR)], shadow, width=0.024 * unit, alpha=0.28 * p.age, blur=0.012 * unit
        )


def _draw_freckles(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    spots = rng.normal((0, 0.4), (0.42, 0.14), (46, 2))
    dots = head(np.stack([spots, lowered(spots, 0.004)], axis=1))
    for some, width in ((dots, 0.014), (dots[::2], 0.022)):
        canvas.strokes(some, shadow_of(head.person.skin), width=width * head.unit, alpha=0.4)
