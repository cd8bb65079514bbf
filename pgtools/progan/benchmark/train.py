"""Images a second of the full training step, the engine beside the plain version, in interleaved rounds."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from pgtools.errors import InputError
from pgtools.progan.benchmark.plain import PlainStep, is_plain
from pgtools.progan.benchmark.timed import DrawnImages, PeakMemory, TimedSteps, finish
from pgtools.progan.config import TrainSettings
from pgtools.progan.feed import Feed, FeedSettings
from pgtools.progan.schedule import Stage, Wanted
from pgtools.stores.source import ImageSource

# Takes so many steps and returns the seconds.
Route = Callable[[int], float]
# A round of fewer seconds than this would tell of the clock.
_SECONDS = 0.2


@dataclass(frozen=True)
class TrainSpeed:
    """The full step of one stage: discriminator with gradient penalty, generator, both Adams, average.

    Attributes:
        level: of the images, in pixels.
        fading: whether it fades in.
        minibatch: images a step.
        precision: of the engine's products and convolutions.
        images_per_second: median over rounds.
        images_per_second_low, images_per_second_high: range over rounds.
        peak_bytes: memory of a step beyond networks; None where the system does not tell.
        waiting: share of the time spent waiting for images; None where they were drawn.
        plain_images_per_second: of the plain version; None where it was left out or there is none.
        plain_peak_bytes: of the plain version.
        ratio: the engine's speed over the plain version's, median over rounds.
        ratio_low, ratio_high: range over rounds.
    """

    level: int
    fading: bool
    minibatch: int
    precision: str
    images_per_second: float
    images_per_second_low: float
    images_per_second_high: float
    peak_bytes: int | None
    waiting: float | None = None
    plain_images_per_second: float | None = None
    plain_peak_bytes: int | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None


@dataclass(frozen=True)
class Protocol:
    """How it is measured.

    Attributes:
        rounds: how often the versions take turns.
        plain: whether the plain version is timed too, where there is one.
        source: gives the real images; drawn ones, already on the device, if None.
    """

    rounds: int = 5
    plain: bool = True
    source: ImageSource | None = None


class PlainTimed:
    """The plain version at one stage, on drawn images.

    Args:
        timed: the engine whose networks and settings it copies.
        stage: where it trains.
    """

    def __init__(self, timed: TimedSteps, stage: Stage) -> None:
        self._step = PlainStep(timed.networks.generator, timed.networks.discriminator, timed.settings)
        self._images = DrawnImages(stage.minibatch, stage.resolution, timed.device).next().images
        self._timed, self._stage = timed, stage

    def take(self, steps: int) -> float:
        """Take steps and return the seconds they took in all."""
        finish(self._timed.device)
        began = time.perf_counter()
        for _ in range(steps):
            self._take()
        finish(self._timed.device)
        return time.perf_counter() - began

    def _take(self) -> None:
        images, live = self._images, self._stage.live
        reals = images.float() / 127.5 - 1
        if self._timed.settings.mirror:
            turned = torch.rand(len(reals), device=reals.device) < 0.5
            reals = torch.where(turned[:, None, None, None], reals.flip(3), reals)
        if live.fading:
            reals = torch.lerp(reals, F.interpolate(F.avg_pool2d(reals, 2), scale_factor=2), live.weight)
        latent = self._timed.settings.latent
        latents = [torch.randn(len(reals), latent, device=reals.device) for _ in range(2)]
        self._step(reals, (latents[0], latents[1]), torch.rand(len(reals), device=reals.device), live)


def bench_train(
    stages: Sequence[tuple[int, bool]], settings: TrainSettings, device: torch.device, protocol: Protocol
) -> Iterator[TrainSpeed]:
    """Yield the speed at each stage (level, fading), of networks that end there.

    In a round the versions take turns, so that whatever else the machine does hits both.

    Raises:
        InputError: the source has no images at a level.
    """
    source = protocol.source
    for level, _ in stages:
        if source is not None and level not in source.levels:
            raise InputError(f"{source.name} has no level {level}; it ends at {source.resolution}.")
    for level, fading in stages:
        timed = TimedSteps(level, settings, device)
        yield _speed(timed, timed.stage(level, fading=fading), protocol)


def _speed(timed: TimedSteps, stage: Stage, protocol: Protocol) -> TrainSpeed:
    with contextlib.ExitStack() as stack:
        supply: Feed | DrawnImages = DrawnImages(stage.minibatch, stage.resolution, timed.device)
        if protocol.source is not None:
            supply = stack.enter_context(_feed(protocol.source, stage, timed))
        routes: dict[str, Route] = {"pgtools": lambda steps: timed.take(stage, supply, steps=steps)}
        if protocol.plain and is_plain(timed.settings.architecture(timed.resolution), timed.settings):
            routes["plain"] = PlainTimed(timed, stage).take
        peaks = {name: _peak(timed.device, take) for name, take in routes.items()}
        steps = math.ceil(_SECONDS / min(_SECONDS, *[take(1) for take in routes.values()]))
        waited, seconds = supply.waited, {name: list[float]() for name in routes}
        for _ in range(protocol.rounds):
            for name, take in routes.items():
                seconds[name].append(take(steps))
        waiting = (supply.waited - waited) / sum(seconds["pgtools"])
    images = steps * timed.images(stage)
    speed = TrainSpeed(
        level=stage.resolution,
        fading=stage.live.fading,
        minibatch=stage.minibatch,
        precision=str(timed.dtype).removeprefix("torch."),
        images_per_second=images / statistics.median(seconds["pgtools"]),
        images_per_second_low=images / max(seconds["pgtools"]),
        images_per_second_high=images / min(seconds["pgtools"]),
        peak_bytes=peaks["pgtools"],
        waiting=None if protocol.source is None else waiting,
    )
    if "plain" not in routes:
        return speed
    ratios = [theirs / ours for ours, theirs in zip(seconds["pgtools"], seconds["plain"], strict=True)]
    return dataclasses.replace(
        speed,
        plain_images_per_second=images / statistics.median(seconds["plain"]),
        plain_peak_bytes=peaks["plain"],
        ratio=statistics.median(ratios),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
    )


def _peak(device: torch.device, take: Route) -> int | None:
    """The highest memory of the first step, which also makes Adam's moments."""
    memory = PeakMemory(device)
    take(1)
    return memory.bytes()


def _feed(source: ImageSource, stage: Stage, timed: TimedSteps) -> Feed:
    shown = itertools.count(0, stage.minibatch)
    wanted = (Wanted(images, stage.minibatch, stage.resolution) for images in shown)
    settings = FeedSettings(timed.settings.memory, timed.settings.workers)
    return Feed(source, wanted, seed=timed.settings.seed, device=timed.device, rows=np.arange, settings=settings)
