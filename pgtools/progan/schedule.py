"""How far the networks have grown after so many images: level of detail, minibatch, learning rate.

Phases, counted in real images shown: stable at 4×4, fade to 8×8, stable at 8×8, fade to 16×16, … and stable
at full resolution until the end. Source: Karras et al. 2018, section 2 and appendix A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pgtools.progan.config import TrainSettings

FINAL_PHASES = 3


@dataclass(frozen=True)
class Stage:
    """Where training stands.

    Attributes:
        lod: level of detail, from log2(resolution / 4) down to 0; its fraction is the weight of the lower
            level.
        resolution: the upper live level, in pixels.
        minibatch: images a step.
        learning_rate: Adam's step.
        live: the levels that take part: one, or two while the upper fades in.
    """

    lod: float
    resolution: int
    minibatch: int
    learning_rate: float
    live: tuple[int, ...]


def live_levels(resolution: int, lod: float) -> tuple[int, int, float]:
    """Return the upper live level, the one below it and the weight of the lower in the mix, in [0, 1).

    A whole lod is a level alone (weight 0). At the lowest level both are 4.
    """
    upper = max(resolution >> math.floor(lod), 4)
    return upper, max(upper // 2, 4), lod - math.floor(lod)


def lod_at(images: int, resolution: int, settings: TrainSettings) -> float:
    """Return the level of detail after `images` real images were shown."""
    stable, fading = settings.stable_kimg * 1000, settings.fade_kimg * 1000
    phase, into = divmod(images, stable + fading)
    faded = (into - stable) / fading if into > stable else 0.0
    return max(math.log2(resolution / 4) - phase - faded, 0.0)


def stage_at(images: int, resolution: int, settings: TrainSettings) -> Stage:
    """Return where training stands after `images` real images, for data of this resolution."""
    lod = lod_at(images, resolution, settings)
    upper, lower, weight = live_levels(resolution, lod)
    return Stage(
        lod=lod,
        resolution=upper,
        minibatch=int(from_resolution(settings.minibatch_table, upper)),
        learning_rate=from_resolution(settings.learning_rate_table, upper),
        live=(upper, lower) if weight else (upper,),
    )


def from_resolution(table: dict[int, float], resolution: int) -> float:
    """Return the value that a table (resolution → value from there on) has at a resolution."""
    return table[max(level for level in table if level <= resolution)]


def total_images(resolution: int, settings: TrainSettings) -> int:
    """Return how many real images the run shows: as asked for, or growth and three more phases."""
    if settings.total_kimg is not None:
        return round(settings.total_kimg * 1000)
    growth = math.log2(resolution / 4) * (settings.stable_kimg + settings.fade_kimg)
    return round(1000 * (growth + FINAL_PHASES * settings.stable_kimg))


def crossed(before: int, after: int, every_kimg: float) -> bool:
    """Return whether a multiple of `every_kimg` lies in (before, after] images."""
    every = every_kimg * 1000
    return math.floor(after / every) > math.floor(before / every)
