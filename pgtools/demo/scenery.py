"""The backdrop, and what lens and film do to the picture in the end."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.demo.paint import Canvas, Planes, ellipse, mix, rgb, smooth, xy
from pgtools.demo.people import Shot
from pgtools.imaging.conventions import LUMA

# A backdrop is out of focus, so it is painted this small (pixels along the longer side) and enlarged.
SKETCH = 80
# Standard deviation of the whole numbers -127 to 127.
GRAIN_STD = (254 * 256 / 12) ** 0.5
SQUARE = xy((0, 1, 1, 0), (0, 0, 1, 1))


def paint_backdrop(width: int, height: int, shot: Shot, rng: np.random.Generator) -> Planes:
    """Return an out-of-focus scene, float32 RGB (3, height, width) in 0..255."""
    scale = SKETCH / max(width, height)
    size = np.array([max(8, round(width * scale)), max(8, round(height * scale))])
    canvas = Canvas(_gradient(size, shot, rng))
    if shot.backdrop in ("bokeh", "evening"):
        _draw_bokeh(canvas, size, shot, rng)
    elif shot.backdrop == "outdoors":
        _draw_outdoors(canvas, size, shot, rng)
    elif shot.backdrop == "curtain":
        _draw_curtain(canvas, size, shot, rng)
    elif shot.backdrop == "pictures":
        _draw_pictures(canvas, size, shot, rng)
    elif shot.backdrop == "window":
        _draw_window(canvas, size, shot, rng)
    sigma = float(rng.uniform(0.8, 2.0))
    planes = np.empty((3, height, width), np.float32)
    for sketch, plane in zip(canvas.planes, planes, strict=True):
        cv2.resize(cv2.GaussianBlur(sketch, (0, 0), sigma), (width, height), dst=plane)
    return planes


def finish(planes: Planes, shot: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture (H, W, 3) as the camera stores it: blur, vignette, grain, 8 bits, tint, saturation.

    The planes are used up.
    """
    height, width = planes.shape[1:]
    if shot.blur:
        planes = np.stack([cv2.GaussianBlur(plane, (0, 0), shot.blur) for plane in planes])
    planes *= _vignette(width, height)
    # A little grain even on a clean photograph keeps the soft gradients free of bands.
    grain = rng.integers(-127, 128, (height, width), dtype=np.int8) * np.float32(max(shot.noise, 0.5) / GRAIN_STD)
    stored = cv2.merge([cv2.add(plane, grain, dtype=cv2.CV_8U) for plane in planes])
    grey = np.repeat(LUMA[None], 3, axis=0)
    colours = np.diag(shot.exposure * shot.tint) @ (grey + (np.eye(3) - grey) * shot.saturation)
    finished: NDArray[np.uint8] = cv2.transform(stored, colours)
    return finished


@functools.lru_cache(maxsize=8)
def _vignette(width: int, height: int) -> NDArray[np.float32]:
    x, y = (np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in (width, height))
    return 1 - np.float32(0.09) * (x + y[:, None])


def _gradient(size: NDArray[np.int64], shot: Shot, rng: np.random.Generator) -> Planes:
    """Two tones along a random direction, and a glow behind the head."""
    second = np.clip(shot.tone * rng.uniform(0.45, 1.25) + rng.normal(0, 14, 3), 8, 250)
    angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4, 2)
    x, y = np.linspace(-1, 1, size[0])[None], np.linspace(-1, 1, size[1])[:, None]
    share = 0.5 + 0.5 * np.tanh(x * np.cos(angle) + y * np.sin(angle))
    first, second, white = (colour[:, None, None] for colour in (shot.tone, second, rgb(250, 250, 250)))
    glow = 0.28 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 0.6)
    return mix(mix(first, second, share), white, glow).astype(np.float32)


def _draw_bokeh(canvas: Canvas, size: NDArray[np.int64], shot: Shot, rng: np.random.Generator) -> None:
    if shot.backdrop == "evening":
        canvas.planes *= np.float32(0.35)
    for _ in range(int(rng.integers(10, 24))):
        radius = float(rng.uniform(2.5, 8))
        own = np.clip(shot.tone * rng.uniform(0.8, 1.8) + rng.normal(0, 40, 3), 0, 255)
        disc = ellipse(rng.uniform(0, 1, 2) * size, radius, radius)
        canvas.fill(disc, mix(rgb(255, 226, 170), own, 0.6), alpha=float(rng.uniform(0.12, 0.5)))


def _draw_outdoors(canvas: Canvas, size: NDArray[np.int64], shot: Shot, rng: np.random.Generator) -> None:
    w, h = size
    horizon = h * rng.uniform(0.4, 0.72)
    zenith, haze = (colour[:, None, None] for colour in (rgb(118, 166, 214), rgb(232, 234, 232)))
    canvas.planes[:] = 0.2 * canvas.planes + 0.8 * mix(zenith, haze, np.linspace(0, 1, h)[:, None])
    for layer in range(3):
        ridge = smooth(xy(np.linspace(-5, w + 5, 9), horizon + (layer - 1) * h * 0.1 + rng.normal(0, h * 0.05, 9)))
        land = mix(rgb(150, 172, 178), mix(rgb(78, 104, 58), shot.tone, 0.25), (layer + 1) / 3)
        canvas.fill(np.concatenate([ridge, [(w + 5, h + 5), (-5, h + 5)]]), land)
    for _ in range(int(rng.integers(0, 26))):
        leaf = ellipse((rng.uniform(0, w), horizon + abs(rng.normal(0, h * 0.18)) - 4), *rng.uniform(2.0, 6.5, 2))
        canvas.fill(leaf, rgb(64, 92, 48) * rng.uniform(0.6, 1.6), alpha=0.6)


def _draw_curtain(canvas: Canvas, size: NDArray[np.int64], shot: Shot, rng: np.random.Generator) -> None:
    step = float(rng.uniform(6, 17))
    folds = [SQUARE * (step * 0.45, size[1]) + (x, 0) for x in np.arange(rng.uniform(-step, 0), size[0], step)]
    canvas.fill(folds, shot.tone * 0.8, alpha=0.5)


def _draw_pictures(canvas: Canvas, size: NDArray[np.int64], shot: Shot, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 4))):
        frame = rng.uniform((9, 9), (28, 24))
        corner = rng.uniform((0, 0), size * (1.0, 0.5))
        canvas.fill(SQUARE * frame + corner, shot.tone * 0.5)
        canvas.fill((SQUARE * 0.82 + 0.09) * frame + corner, rng.uniform(40, 230, 3))


def _draw_window(canvas: Canvas, size: NDArray[np.int64], shot: Shot, rng: np.random.Generator) -> None:
    left, wide = float(rng.uniform(-0.1, 0.7) * size[0]), float(rng.uniform(0.35, 0.7) * size[0])
    canvas.planes *= np.float32(0.75)
    for row in range(3):
        corners = [(left + column * wide * 0.5, size[1] * (0.02 + row * 0.22)) for column in range(2)]
        panes = [SQUARE * (wide * 0.44, size[1] * 0.19) + corner for corner in corners]
        canvas.fill(panes, mix(rgb(250, 250, 240), shot.tone, 0.1 + 0.1 * row))
