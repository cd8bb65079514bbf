"""What surrounds a face: backdrop, clothes, and what lens and film do to the picture in the end."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.demo.paint import Canvas, Colour, Points, ellipse, mix, rgb, smooth
from pgtools.demo.people import Shot
from pgtools.demo.head import MIRROR, Head
from pgtools.imaging.conventions import LUMA, quantise

# A backdrop is out of focus, so it is painted this small (pixels along the longer side) and enlarged.
SKETCH = 80


def paint_backdrop(width: int, height: int, shot: Shot, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an out-of-focus scene, float32 RGB (height, width, 3) in 0..255."""
    scale = SKETCH / max(width, height)
    w, h = max(8, round(width * scale)), max(8, round(height * scale))
    canvas = Canvas(_gradient(w, h, shot, rng))
    painters = {"bokeh": _bokeh, "outdoors": _outdoors, "wall": _wall, "window": _window, "evening": _bokeh}
    if shot.backdrop in painters:
        painters[shot.backdrop](canvas, w, h, shot, rng)
    sketch = cv2.GaussianBlur(canvas.picture(), (0, 0), float(rng.uniform(0.8, 2.0)))
    enlarged: NDArray[np.float32] = cv2.resize(sketch, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged


def draw_clothes(canvas: Canvas, head: Head, shot: Shot) -> None:
    """Paint shoulders and what they wear."""
    p, unit, colour = head.person, head.unit, head.person.clothing_colour
    neckline = {"crew": 2.34, "vee": 2.85, "collar": 2.3, "turtleneck": 1.95, "jacket": 2.75}[p.clothing]
    inner = 0.68 + 0.16 * p.jaw
    broad = 2.25 + 0.4 * p.jaw
    right = [(0.0, neckline), (inner * 0.6, neckline - (0.1 if p.clothing != "vee" else 0.38)), (inner, 1.98)]
    right += [(1.45, 2.27), (broad - 0.1, 2.62), (broad + 0.2, 3.3), (broad + 0.4, 5.0), (broad + 0.45, 9.0)]
    half = np.concatenate([smooth(right[:3]), smooth(right[2:])[1:], [(broad + 0.4, 30.0)]])
    shirt = head.body(np.concatenate([half, half[::-1] * MIRROR]))
    canvas.fill(shirt, colour, blur=0.008 * unit)
    side = -np.sign(shot.light[0])
    dark = head.body(
        smooth([(side * 0.5, 2.2), (side * 0.7, 6.0), (side * 3.2, 6.0), (side * 2.6, 2.4)], closed=True)
    )
    canvas.fill(dark, colour * 0.45, alpha=0.6 * shot.contrast, blur=0.35 * unit, within=shirt)
    lit = head.body(
        smooth([(-side * 0.9, 2.3), (-side * 1.0, 3.6), (-side * 1.8, 3.6), (-side * 1.7, 2.7)], closed=True)
    )
    canvas.fill(
        lit, np.minimum(colour * 1.3 + 18, 255), alpha=0.45 * shot.contrast, blur=0.25 * unit, within=shirt
    )
    _draw_collar(canvas, head, (inner, neckline), half[: len(smooth(right[:3]))])


def finish(image: NDArray[np.float32], shot: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture as the camera stores it: vignette, tint, saturation, blur, grain, 8 bits."""
    height, width = image.shape[:2]
    x, y = np.linspace(-1, 1, width, dtype=np.float32) ** 2, np.linspace(-1, 1, height, dtype=np.float32) ** 2
    falloff = 1 - np.float32(0.09) * (x[None] + y[:, None])
    grey = np.repeat(LUMA[None], 3, axis=0)
    colours = np.diag(shot.exposure * shot.tint) @ (grey + (np.eye(3) - grey) * shot.saturation)
    image = cv2.transform(image, colours) * falloff[..., None]
    if shot.blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), shot.blur)
    # A little grain even on a clean photograph keeps the soft gradients free of bands.
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    image += grain * np.float32(max(shot.noise, 0.5))
    return quantise(image)


def _draw_collar(canvas: Canvas, head: Head, opening: tuple[float, float], edge: Points) -> None:
    inner, neckline = opening
    p, unit, colour = head.person, head.unit, head.person.clothing_colour
    rim = head.body(np.concatenate([edge[::-1], edge * MIRROR]))
    if p.clothing in ("crew", "vee"):
        canvas.strokes([rim + (0, 0.07 * unit)], colour * 0.7, width=0.03 * unit, alpha=0.8)
    if p.clothing == "turtleneck":
        tube = smooth([(0, 1.8), (inner * 0.75, 1.72), (inner, 1.64), (inner + 0.06, 2.1), (0, 2.3)])
        canvas.fill(head.body(np.concatenate([tube, tube[::-1] * MIRROR])), np.minimum(colour * 1.08, 255))
        folds = [head.body(smooth([(-inner, y), (0, y + 0.14), (inner, y)])) for y in (1.8, 1.92, 2.04)]
        canvas.strokes(folds, colour * 0.6, width=0.03 * unit, alpha=0.5, blur=0.02 * unit)
    if p.clothing in ("collar", "jacket"):
        pale = rgb(238, 236, 232) if p.clothing == "jacket" else np.minimum(colour * 1.18 + 12, 255)
        for s in (-1, 1):
            if p.clothing == "jacket":
                shirt = [(0, neckline + 1.6), (s * 0.02, 2.3), (s * inner, 1.95), (s * 0.6, 2.9)]
                canvas.fill(head.body(shirt), pale)
                lapel = smooth(
                    [(s * inner, 1.93), (s * 1.2, 2.25), (s * 1.02, 3.0), (s * 0.1, 4.3), (s * 0.5, 3.0)],
                    closed=True,
                )
                canvas.fill(head.body(lapel), colour * 0.78, blur=0.01 * unit)
            flap = [
                (s * 0.02, 2.42),
                (s * inner * 0.8, 1.92),
                (s * inner * 1.06, 1.86),
                (s * inner * 1.05, 2.1),
                (s * inner * 0.8, 2.75),
            ]
            canvas.fill(head.body(np.array(flap) + (0, 0.05)), rgb(20, 20, 24), alpha=0.3, blur=0.04 * unit)
            canvas.fill(head.body(flap), pale)
    if p.clothing == "jacket" and p.beard != "none":
        tie = [(-0.09, 2.5), (0.09, 2.5), (0.07, 2.68), (0.2, 4.0), (-0.2, 4.0), (-0.07, 2.68)]
        canvas.fill(head.body(tie), mix(colour, rgb(140, 40, 48), 0.7))


def _gradient(w: int, h: int, shot: Shot, rng: np.random.Generator) -> NDArray[np.float32]:
    second = np.clip(shot.tone * rng.uniform(0.45, 1.25) + rng.normal(0, 14, 3), 8, 250)
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    share = 0.5 + 0.5 * np.tanh(x * np.cos(angle) + y * np.sin(angle))
    centre = rng.uniform(-0.4, 0.4, 2)
    glow = 0.28 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 0.6)
    image = shot.tone + (second - shot.tone) * share[..., None]
    return (image + glow[..., None] * (250 - image)).astype(np.float32)


def _bokeh(canvas: Canvas, w: int, h: int, shot: Shot, rng: np.random.Generator) -> None:
    if shot.backdrop == "evening":
        canvas.planes *= np.float32(0.35)
    for _ in range(int(rng.integers(14, 34))):
        spot = rng.uniform((0, 0), (w, h))
        radius = float(rng.uniform(2, 7.5))
        colour = mix(
            rgb(255, 226, 170), np.clip(shot.tone * rng.uniform(0.8, 1.8) + rng.normal(0, 40, 3), 0, 255), 0.6
        )
        canvas.fill(ellipse(spot, radius, radius), colour, alpha=float(rng.uniform(0.12, 0.5)), blur=0.8)


def _outdoors(canvas: Canvas, w: int, h: int, shot: Shot, rng: np.random.Generator) -> None:
    horizon = h * rng.uniform(0.4, 0.72)
    zenith, haze = (colour[:, None, None] for colour in (rgb(118, 166, 214), rgb(232, 234, 232)))
    canvas.planes[:] = 0.2 * canvas.planes + 0.8 * mix(zenith, haze, np.linspace(0, 1, h)[:, None])
    for layer in range(3):
        x = np.linspace(-5, w + 5, 9)
        ridge = smooth(np.stack([x, horizon + (layer - 1) * h * 0.1 + rng.normal(0, h * 0.05, 9)], axis=1))
        land = mix(rgb(150, 172, 178), mix(rgb(78, 104, 58), shot.tone, 0.25), (layer + 1) / 3)
        canvas.fill(np.concatenate([ridge, [(w + 5, h + 5), (-5, h + 5)]]), land)
    for _ in range(int(rng.integers(0, 40))):
        leaf = (rng.uniform(0, w), horizon + abs(rng.normal(0, h * 0.18)) - 4)
        green = rgb(64, 92, 48) * rng.uniform(0.6, 1.6)
        canvas.fill(ellipse(leaf, *rng.uniform(1.5, 5.5, 2)), np.clip(green, 0, 255), alpha=0.6, blur=0.8)


def _wall(canvas: Canvas, w: int, h: int, shot: Shot, rng: np.random.Generator) -> None:
    step = float(rng.uniform(6, 17))
    if rng.random() < 0.5:
        for x in np.arange(rng.uniform(0, step), w, step):
            canvas.fill(
                np.array([(x, 0), (x + step * 0.45, 0), (x + step * 0.45, h), (x, h)]),
                shot.tone * 0.8,
                alpha=0.5,
            )
    else:
        for _ in range(int(rng.integers(1, 4))):
            corner, size = rng.uniform((0, 0), (w, h * 0.5)), rng.uniform((9, 9), (28, 24))
            frame = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * size + corner
            canvas.fill(frame, shot.tone * 0.5)
            canvas.fill(
                (frame - frame.mean(axis=0)) * 0.82 + frame.mean(axis=0),
                np.clip(rng.uniform(40, 230, 3), 0, 255),
            )


def _window(canvas: Canvas, w: int, h: int, shot: Shot, rng: np.random.Generator) -> None:
    left, wide = float(rng.uniform(-0.1, 0.7) * w), float(rng.uniform(0.35, 0.7) * w)
    canvas.planes *= np.float32(0.75)
    for i in range(2):
        for j in range(3):
            corner = np.array([left + i * wide * 0.5, h * (0.02 + j * 0.22)])
            pane = (
                corner
                + np.array([(0, 0), (0.44, 0), (0.44, 0), (0, 0)]) * wide
                + np.array([(0, 0), (0, 0), (0, 1), (0, 1)]) * h * 0.19
            )
            canvas.fill(pane, mix(rgb(250, 250, 240), shot.tone, 0.1 + 0.1 * j), blur=0.8)
