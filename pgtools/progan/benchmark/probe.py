"""How long a run will take on this machine, phase by phase, from half a minute of real steps.

Stages are measured from the lowest on while the time lasts. The others are estimated: a step's time is fitted to the
measured ones as a + b·products + c·features, none below zero, and scaled to meet the last that was measured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from pgtools.progan.benchmark.timed import DrawnImages, TimedSteps
from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.schedule import Phase, from_resolution, growth, total_images

SECONDS = 30.0
_MOST_STEPS = 5
# Where a run stands: the upper live level, and whether it fades in.
At = tuple[int, bool]
Work = tuple[float, float, float]


@dataclass(frozen=True)
class StageTime:
    """A step at one stage.

    Attributes:
        level: the upper live level, in pixels.
        fading: whether it fades in.
        minibatch: real images a discriminator step shows.
        seconds: of one full step.
        basis: empty where it was measured; else what it was estimated from, such as "4²–32²".
    """

    level: int
    fading: bool
    minibatch: int
    seconds: float
    basis: str = ""


@dataclass(frozen=True)
class PhaseRow:
    """A phase of a run and what it will take here.

    Attributes:
        level: the upper live level, in pixels.
        fading: whether it fades in.
        begin_kimg, end_kimg: real images shown before and after, in thousands.
        minibatch: images a step.
        learning_rate: Adam's step.
        seconds: of the whole phase.
        basis: empty where its step was measured; else the levels it was estimated from.
    """

    level: int
    fading: bool
    begin_kimg: float
    end_kimg: float
    minibatch: int
    learning_rate: float
    seconds: float
    basis: str


def probe(
    source_resolution: int, settings: TrainSettings, device: torch.device, seconds: float = SECONDS
) -> list[PhaseRow]:
    """Return a run's phases with the time each will take, without scores, grids and waiting for data.

    Args:
        source_resolution: side of the images.
        settings: of the run.
        device: that would train.
        seconds: to measure for, about; the first stages are measured in any case.
    """
    phases = phases_of(source_resolution, settings)
    stages = [(phase.level, phase.fading) for phase in phases]
    times = stage_times(source_resolution, settings, device, stages, seconds=seconds)
    return [_row(phase, times[phase.level, phase.fading], settings) for phase in phases]


def phases_of(resolution: int, settings: TrainSettings) -> list[Phase]:
    """Return all phases of a run, the last one too, cut where the run ends."""
    total = total_images(resolution, settings)
    grown = growth(resolution, settings) if settings.growing else ()
    last = Phase(max((phase.end for phase in grown), default=0.0), float("inf"), resolution, False)
    found = [phase._replace(end=min(phase.end, total)) for phase in (*grown, last)]
    return [phase for phase in found if phase.begin < phase.end]


def stage_times(
    resolution: int,
    settings: TrainSettings,
    device: torch.device,
    stages: Sequence[At],
    *,
    seconds: float,
) -> dict[At, StageTime]:
    """Return the time of a step at each stage (level, fading), measured as far as the seconds last.

    Args:
        resolution: of the networks.
        settings: of the run.
        device: that computes.
        stages: to time, in any order.
        seconds: to measure for, about.
    """
    ordered = sorted(set(stages), key=lambda stage: (stage[0], not stage[1]))
    timed, shape = TimedSteps(resolution, settings, device), settings.architecture(resolution)
    work = {stage: _work(shape, stage, timed.stage(stage[0], fading=stage[1]).minibatch) for stage in ordered}
    measured = _measured_stages(timed, ordered, work, seconds)
    known = sorted(level for level, _ in measured)
    basis = f"{known[0]}²" if known[0] == known[-1] else f"{known[0]}²–{known[-1]}²"
    return {
        stage: StageTime(
            *stage,
            int(from_resolution(settings.minibatch_table, stage[0])),
            measured[stage] if stage in measured else _estimated(measured, work, stage),
            "" if stage in measured else basis,
        )
        for stage in ordered
    }


def _measured_stages(
    timed: TimedSteps, stages: Sequence[At], work: Mapping[At, Work], seconds: float
) -> dict[At, float]:
    """The seconds of a step at each of the first stages: as many as the time lasts for, and the memory."""
    measured: dict[At, float] = {}
    until = time.monotonic() + seconds
    for place, stage in enumerate(stages):
        left = until - time.monotonic()
        if measured and 2 * _estimated(measured, work, stage) > left:
            break  # a warm-up and one step
        try:
            measured[stage] = _measured(timed, stage, left / (len(stages) - place))
        except torch.cuda.OutOfMemoryError:
            if not measured:
                raise
            break  # its time is still of use, on a larger GPU or with --micro-batch
    return measured


def _measured(timed: TimedSteps, stage: At, seconds: float) -> float:
    """The shortest step of a few: what else the machine does only adds."""
    at = timed.stage(stage[0], fading=stage[1])
    supply = DrawnImages(at.minibatch, stage[0], timed.device)
    until = time.monotonic() + seconds
    timed.take(at, supply)
    found = [timed.take(at, supply)]
    while len(found) < _MOST_STEPS and time.monotonic() + found[-1] < until:
        found.append(timed.take(at, supply))
    return min(found)


def _estimated(measured: Mapping[At, float], work: Mapping[At, Work], stage: At) -> float:
    """A step's seconds by its work: fitted in relative terms, so that long steps do not drown short ones."""
    seconds = np.array(list(measured.values()))
    rows = np.array([work[one] for one in measured])
    # Three factors want three steps at least; before that, products alone, which promises too long rather.
    factors = nnls(rows / seconds[:, None], np.ones(len(seconds)))[0] if len(seconds) > 2 else np.array([0.0, 1.0, 0.0])
    last = list(measured)[-1]
    met = float(np.dot(factors, work[last]))
    return float(np.dot(factors, work[stage])) * (measured[last] / met)


def _work(shape: Architecture, stage: At, minibatch: int) -> Work:
    """What a step costs, up to factors: a constant, products and feature numbers of both networks."""
    products = features = 0.0
    for level in (level for level in shape.levels if level <= stage[0]):
        width, below, pixels = shape.width(level), shape.width(max(level // 2, 4)), level**2
        scaling = 4 if shape.fused_scale else 9
        products += 2 * pixels * width * (9 * width + (scaling * below if level > 4 else 0))
        features += 2 * pixels * (2 * width + below)
    products += 16 * shape.width(4) * (shape.latent + shape.fmap(0))
    features *= 1.25 if stage[1] else 1.0
    return 1.0, minibatch * products, minibatch * features


def _row(phase: Phase, time_of: StageTime, settings: TrainSettings) -> PhaseRow:
    images = phase.end - phase.begin
    steps = images / (time_of.minibatch * settings.discriminator_steps)
    return PhaseRow(
        level=phase.level,
        fading=phase.fading,
        begin_kimg=phase.begin / 1000,
        end_kimg=phase.end / 1000,
        minibatch=time_of.minibatch,
        learning_rate=from_resolution(settings.learning_rate_table, phase.level),
        seconds=steps * time_of.seconds,
        basis=time_of.basis,
    )
