"""How far the networks have grown after so many images: level of detail, minibatch, learning rate.

Phases, counted in real images shown: stable at 4×4, fade to 8×8, stable at 8×8, fade to 16×16, … and stable
at full resolution until the end. Without growing there is the last one alone. Source: Karras et al. 2018, section 2
and appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from pgtools.progan.config import TrainSettings

FINAL_PHASES = 3


class Live(NamedTuple):
    """The levels that take part.

    Attributes:
        upper: the level of the images.
        lower: the level it fades in from, or `upper` itself when nothing fades.
        weight: of the lower in the mix, in [0, 1): a number, or a 0-dimensional tensor where a recorded step reads it
            anew each time.
    """

    upper: int
    lower: int
    weight: float | Tensor

    @property
    def fading(self) -> bool:
        """Whether two levels are mixed."""
        return self.lower != self.upper


@dataclass(frozen=True)
class Wanted:
    """A minibatch of real images: the `count` that follow the first `shown`, at a level in pixels."""

    shown: int
    count: int
    level: int


@dataclass(frozen=True)
class Stage:
    """Where training stands.

    Attributes:
        lod: level of detail, from log2(resolution / 4) down to 0; its fraction is the weight of the lower
            level.
        live: the levels that take part: one, or two while the upper fades in.
        minibatch: images a step.
        learning_rate: Adam's step.
    """

    lod: float
    live: Live
    minibatch: int
    learning_rate: float

    @property
    def resolution(self) -> int:
        """The upper live level, in pixels."""
        return self.live.upper


class Phase(NamedTuple):
    """A stretch of growth.

    Attributes:
        begin, end: real images shown before and after it.
        level: the upper live level, in pixels.
        fading: whether it fades in, or is alone.
    """

    begin: float
    end: float
    level: int
    fading: bool


def live_levels(resolution: int, lod: float) -> Live:
    """Return the levels that take part at a level of detail; a whole lod is a level alone."""
    upper = max(resolution >> math.floor(lod), 4)
    weight = lod - math.floor(lod)
    return Live(upper, max(upper // 2, 4) if weight else upper, weight)


def lod_at(images: int, resolution: int, settings: TrainSettings) -> float:
    """Return the level of detail after `images` real images were shown."""
    for phase in growth(resolution, settings) if settings.growing else ():
        if images < phase.end:
            left = (phase.end - images) / (phase.end - phase.begin) if phase.fading else 0.0
            return math.log2(resolution / phase.level) + left
    return 0.0


def images_at(lod: float, resolution: int, settings: TrainSettings) -> int:
    """Return the least number of real images after which the level of detail is `lod` or less.

    It is where a run goes on that begins with networks which had reached this level of detail elsewhere.
    """
    if not settings.growing:
        return 0
    low, high = 0, math.ceil(max((phase.end for phase in growth(resolution, settings)), default=0.0))
    while low < high:  # the level of detail never rises
        middle = (low + high) // 2
        low, high = (low, middle) if lod_at(middle, resolution, settings) <= lod else (middle + 1, high)
    return low


def growth(resolution: int, settings: TrainSettings) -> tuple[Phase, ...]:
    """Return the phases before the last one, which stays at full resolution until the end."""
    phases: list[Phase] = []
    shown = 0.0
    for level in (2**i for i in range(settings.start_resolution.bit_length() - 1, resolution.bit_length())):
        fade = 1000 * from_resolution(settings.fade_kimg_table, level) if level > settings.start_resolution else 0.0
        stable = 1000 * from_resolution(settings.stable_kimg_table, level) if level < resolution else 0.0
        phases += [Phase(shown, shown + fade, level, True), Phase(shown + fade, shown + fade + stable, level, False)]
        shown += fade + stable
    return tuple(phase for phase in phases if phase.end > phase.begin)


def stage_at(images: int, resolution: int, settings: TrainSettings) -> Stage:
    """Return where training stands after `images` real images, for data of this resolution."""
    lod = lod_at(images, resolution, settings)
    live = live_levels(resolution, lod)
    return Stage(
        lod=lod,
        live=live,
        minibatch=int(from_resolution(settings.minibatch_table, live.upper)),
        learning_rate=from_resolution(settings.learning_rate_table, live.upper),
    )


def from_resolution(table: dict[int, float], resolution: int) -> float:
    """Return the value that a table (resolution → value from there on) has at a resolution."""
    return table[max(level for level in table if level <= resolution)]


def total_images(resolution: int, settings: TrainSettings) -> int:
    """Return how many real images the run shows: as asked for, or growth and three more phases.

    A run without growing shows as many as the same run with it.
    """
    if settings.total_kimg is not None:
        return round(settings.total_kimg * 1000)
    grown = max((phase.end for phase in growth(resolution, settings)), default=0.0)
    return round(grown + FINAL_PHASES * 1000 * from_resolution(settings.stable_kimg_table, resolution))


def plan(images: int, resolution: int, settings: TrainSettings) -> Iterator[Wanted]:
    """Yield the minibatches of real images in the order that training takes them, once `images` were shown."""
    total = total_images(resolution, settings)
    while images < total:
        stage = stage_at(images, resolution, settings)
        for _ in range(settings.minibatch_repeats * settings.discriminator_steps):
            yield Wanted(images, stage.minibatch, stage.resolution)
            images += stage.minibatch


def crossed(before: int, after: int, every_kimg: float) -> bool:
    """Return whether a multiple of `every_kimg` lies in (before, after] images."""
    every = every_kimg * 1000
    return math.floor(after / every) > math.floor(before / every)
