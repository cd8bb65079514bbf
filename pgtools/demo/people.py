"""Who is on the picture, how, and under which light: the chances of a drawn photograph.

Lengths are in face units: half the width of the face is 1; the origin is midway between the eyes,
y points down.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pgtools.demo.paint import Colour, mix, ramp_over, rgb

T = TypeVar("T")
SKINS = tuple(
    rgb(*stop)
    for stop in (
        (242, 212, 194),
        (236, 196, 168),
        (228, 180, 144),
        (206, 150, 112),
        (172, 116, 80),
        (124, 80, 56),
        (88, 58, 44),
    )
)
DARK_HAIR = (rgb(30, 26, 27), rgb(44, 33, 29), rgb(62, 43, 33))
LIGHT_HAIR = (
    rgb(92, 62, 42),
    rgb(132, 94, 62),
    rgb(176, 132, 82),
    rgb(218, 182, 122),
    rgb(234, 210, 164),
    rgb(160, 74, 38),
    rgb(112, 48, 32),
)
GREY_HAIR = (rgb(148, 144, 142), rgb(206, 203, 199))
DYED_HAIR = (rgb(206, 104, 140), rgb(74, 110, 176), rgb(58, 140, 132), rgb(128, 84, 160))
EYES = (
    rgb(92, 58, 34),
    rgb(70, 44, 28),
    rgb(118, 92, 48),
    rgb(86, 112, 72),
    rgb(88, 130, 168),
    rgb(112, 128, 140),
)
CLOTHES = (
    rgb(52, 62, 84),
    rgb(40, 42, 48),
    rgb(228, 226, 220),
    rgb(150, 52, 52),
    rgb(64, 104, 92),
    rgb(196, 158, 78),
    rgb(112, 134, 170),
    rgb(126, 88, 116),
    rgb(206, 128, 104),
    rgb(96, 112, 70),
)
SHORT = ("buzz", "crop", "side", "quiff", "curls", "bald")
LONG = ("long", "waves", "bob", "fringe", "bun", "afro")
CLOTHING = ("crew", "vee", "collar", "turtleneck", "jacket")
BACKDROPS = ("studio", "bokeh", "evening", "outdoors", "window", "curtain", "pictures")


@dataclass(frozen=True)
class Hair:
    """Style, colour, how far it stands off the skull, where it parts (x) and where it ends (y)."""

    style: str
    colour: Colour
    volume: float
    parting: float
    length: float


@dataclass(frozen=True)
class Person:
    """One sampled face.

    Attributes:
        skin: base colour in even light.
        depth: 0 light to 1 dark skin, for what depends on it (lips, brows, blush).
        width, jaw, chin: width of the face, squareness of the jaw, length of the chin.
        eye_distance: half the distance of the eyes.
        eye_size, eye_open, eye_tilt: scale, opening, height of the outer corner.
        nose_length, nose_width, nose_shine: y of the tip, half width of the wings, gloss on the tip (0 to 1).
        mouth_y, mouth_width, lips: y of the mouth, half its width, fullness.
        smile: 0 earnest to 1 broad; teeth: how far the lips part.
        makeup: 0 none to 1 full.
        age: 0 young to 1 old.
        beard: "none", "stubble", "moustache", "goatee" or "full".
        glasses: "none", "round", "square" or "half".
    """

    skin: Colour
    depth: float
    width: float
    jaw: float
    chin: float
    eye_colour: Colour
    eye_distance: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    brow_height: float
    brow_weight: float
    brow_colour: Colour
    nose_length: float
    nose_width: float
    nose_shine: float
    mouth_y: float
    mouth_width: float
    lips: float
    lip_colour: Colour
    smile: float
    teeth: float
    makeup: float
    age: float
    freckles: bool
    earrings: bool
    hair: Hair
    beard: str
    glasses: str
    glasses_colour: Colour
    clothing: str
    clothing_colour: Colour


@dataclass(frozen=True)
class Pose:
    """Where the face is: origin and face unit in pixels, angles in radians (roll > 0 is clockwise)."""

    x: float
    y: float
    unit: float
    roll: float
    yaw: float
    pitch: float


@dataclass(frozen=True)
class Shot:
    """What the photographer chose: light (unit vector towards it), backdrop, lens, film, file.

    Attributes:
        blur: Gaussian sigma in pixels; noise: standard deviation of the grain, in levels.
        quality: JPEG quality, 30 to 95.
    """

    light: tuple[float, float, float]
    contrast: float
    backdrop: str
    tone: Colour
    tint: Colour
    exposure: float
    saturation: float
    blur: float
    noise: float
    quality: int


def sample_person(rng: np.random.Generator) -> Person:
    """Return a random person."""
    depth = float(rng.beta(1.1, 1.5))
    skin = ramp_over(SKINS, depth) + rng.normal(0, 3, 3) + rng.normal(0, 4) * rgb(1, 0, -1)
    feminine = bool(rng.random() < 0.52)
    age = float(rng.beta(1.3, 2.2))
    hair = _sample_hair(rng, feminine=feminine, depth=depth, age=age)
    makeup = float(rng.uniform(0.2, 1)) if feminine and rng.random() < 0.7 else 0.0
    smile = float(np.clip(rng.normal(0.45, 0.4), 0, 1))
    lip_base = mix(skin, mix(rgb(196, 96, 96), rgb(112, 58, 62), depth), 0.5 + 0.1 * feminine)
    lipstick = (rgb(190, 48, 66), rgb(206, 96, 104), rgb(150, 42, 66), rgb(214, 112, 92))[rng.integers(4)]
    brow_colour = mix(hair.colour, rgb(52, 38, 32), 0.5) if depth < 0.6 else rgb(34, 27, 25)
    return Person(
        skin=skin,
        depth=depth,
        width=float(rng.normal(0.97 if feminine else 1.0, 0.035)),
        jaw=float(np.clip(rng.normal(0.25 if feminine else 0.65, 0.22), 0, 1)),
        chin=float(rng.normal(0.0, 0.06)),
        eye_colour=_pick(rng, EYES, _eye_chances(depth)) + rng.normal(0, 6, 3),
        eye_distance=float(rng.normal(0.46, 0.018)),
        eye_size=float(rng.normal(1.06 if feminine else 0.97, 0.06)),
        eye_open=float(np.clip(rng.normal(1.0 - 0.14 * smile, 0.14), 0.6, 1.3)),
        eye_tilt=float(rng.normal(0.02, 0.025)),
        brow_height=float(rng.normal(0.30 if feminine else 0.27, 0.03)),
        brow_weight=float(np.clip(rng.normal(0.75 if feminine else 1.15, 0.22), 0.4, 1.8)),
        brow_colour=brow_colour,
        nose_length=float(rng.normal(0.55, 0.04)),
        nose_width=float(np.clip(rng.normal(0.19 + 0.05 * depth, 0.022), 0.14, 0.29)),
        nose_shine=float(rng.uniform(0.15, 0.5)),
        mouth_y=float(rng.normal(0.99, 0.035)),
        mouth_width=float(rng.normal(0.34, 0.025) * (1 + 0.16 * smile)),
        lips=float(np.clip(rng.normal(0.9 + 0.25 * feminine + 0.25 * depth, 0.18), 0.5, 1.6)),
        lip_colour=mix(lip_base, lipstick, 0.75 * makeup),
        smile=smile,
        teeth=float(rng.uniform(0.5, 1)) if smile > 0.45 and rng.random() < 0.75 else 0.0,
        makeup=makeup,
        age=age,
        freckles=bool(depth < 0.35 and rng.random() < 0.12),
        earrings=bool(feminine and rng.random() < 0.4),
        hair=hair,
        beard="none" if feminine else _pick(rng, BEARDS, (0.46, 0.22, 0.08, 0.1, 0.14)),
        glasses=_pick(rng, GLASSES, (0.8, 0.07, 0.08, 0.05)),
        glasses_colour=(rgb(32, 30, 32), rgb(92, 58, 38), rgb(128, 128, 132), rgb(120, 34, 40))[rng.integers(4)],
        clothing=CLOTHING[int(rng.integers(len(CLOTHING)))],
        clothing_colour=CLOTHES[int(rng.integers(len(CLOTHES)))] + rng.normal(0, 10, 3),
    )


BEARDS = ("none", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "round", "square", "half")


def sample_pose(rng: np.random.Generator, width: int, height: int, *, aligned: bool) -> Pose:
    """Return a random pose in a picture of this size; aligned: eyes on CelebA's line, level, at its scale."""
    yaw, pitch = (float(np.clip(rng.normal(0, s), -c, c)) for s, c in ((0.14, 0.32), (0.06, 0.14)))
    if aligned:
        jitter = rng.normal(0, 1, 4) * (1.2, 1.2, 1.0, 0.015)
        return Pose(88.5 + jitter[0], 111 + jitter[1], 42.5 + jitter[2], float(jitter[3]), yaw, pitch)
    unit = min(width, height) * float(rng.uniform(0.115, 0.235))
    x = width * float(np.clip(rng.normal(0.5, 0.1), 0.28, 0.72))
    y = height * float(np.clip(rng.normal(0.4, 0.07), 0.25, 0.6))
    roll = float(np.clip(rng.normal(0, 0.14), -0.6, 0.6))
    return Pose(x, y, unit, roll, yaw, pitch)


def sample_shot(rng: np.random.Generator, unit: float) -> Shot:
    """Return random light, backdrop and film; the lens blurs large faces by more pixels."""
    side, up = float(rng.uniform(-0.75, 0.75)), float(rng.uniform(0.1, 0.65))
    length = math.sqrt(side**2 + up**2 + 0.7)
    tone = _hue(float(rng.random()), float(rng.beta(1.4, 3) * 0.6), float(rng.uniform(0.25, 0.9)))
    warmth = float(rng.normal(0, 0.035))
    soft = bool(rng.random() < 0.3)
    return Shot(
        light=(side / length, -up / length, math.sqrt(0.7) / length),
        contrast=float(rng.uniform(0.35, 0.85)),
        backdrop=_pick(rng, BACKDROPS, (0.2, 0.14, 0.12, 0.2, 0.14, 0.1, 0.1)),
        tone=tone,
        tint=rgb(1 + warmth, 1, 1 - warmth),
        exposure=float(rng.normal(1.0, 0.06)),
        saturation=0.0 if rng.random() < 0.03 else float(rng.normal(1.0, 0.08)),
        blur=float(rng.uniform(0.3, 1.1)) * (unit / 42.5) ** 0.5 if soft else 0.0,
        noise=float(rng.gamma(1.4, 1.2)),
        quality=int(rng.integers(30, 96)),
    )


def _sample_hair(rng: np.random.Generator, *, feminine: bool, depth: float, age: float) -> Hair:
    if feminine:
        style = _pick(rng, LONG + SHORT[1:5], (0.22, 0.2, 0.14, 0.13, 0.09, 0.08, 0.03, 0.03, 0.03, 0.05))
    else:
        style = _pick(rng, (*SHORT, "long", "afro"), (0.13, 0.22, 0.24, 0.15, 0.1, 0.08, 0.05, 0.03))
    luck = rng.random()
    if age > 0.55 and luck < 0.6:
        colour = GREY_HAIR[int(rng.integers(2))]
    elif luck > 0.975:
        colour = DYED_HAIR[int(rng.integers(4))]
    elif rng.random() < 0.25 + 0.7 * depth:
        colour = DARK_HAIR[int(rng.integers(3))]
    else:
        colour = LIGHT_HAIR[int(rng.integers(7))]
    return Hair(
        style=style,
        colour=np.clip(colour + rng.normal(0, 6), 12, 250),
        volume=float(rng.uniform(0.08, 0.3)),
        parting=float((-1, 1)[rng.integers(2)] * rng.uniform(0.0, 0.5)),
        length=float(rng.uniform(1.9, 3.6)),
    )


def _eye_chances(depth: float) -> tuple[float, ...]:
    dark = 0.25 + 0.7 * min(depth * 1.5, 1.0)
    rest = (1 - dark) / 4
    return (dark / 2, dark / 2, rest, rest, rest, rest)


def _pick(rng: np.random.Generator, options: Sequence[T], chances: Sequence[float]) -> T:
    """A random option; `rng.choice` does the same, ten times slower."""
    ends = list(itertools.accumulate(chances))
    return options[bisect.bisect_right(ends, rng.random() * ends[-1])]


def _hue(hue: float, saturation: float, value: float) -> Colour:
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    colour: Colour = 255 * value * (1 - saturation * (1 - wheel))
    return colour
