"""How much sooner a growing run has shown its images than one at full resolution from the start.

Neither run is run: the time of a step at every stage is measured, or estimated as `probe` does, and added up over the
schedule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pgtools.progan.benchmark.probe import StageTime, phases_of, stage_times
from pgtools.progan.config import TrainSettings
from pgtools.progan.schedule import Phase, total_images

# Karras et al. 2018, section 6.1: two to six times, 5.4 at 1024² with 6.4 million images.
PAPER_RANGE, PAPER_POINT = (2.0, 6.0), (1024, 5.4)
Times = Mapping[tuple[int, bool], StageTime]


@dataclass(frozen=True)
class GrowingRow:
    """Two runs to the same number of images at one final resolution.

    Attributes:
        resolution: the final one, in pixels.
        images: real images that both show.
        growing_seconds: of the run that grows.
        full_seconds: of the run at full resolution from the start.
        ratio: the second over the first.
        basis: empty where every step was measured; else the levels that some were estimated from.
    """

    resolution: int
    images: int
    growing_seconds: float
    full_seconds: float
    ratio: float
    basis: str


def bench_growing(
    resolution: int, settings: TrainSettings, device: torch.device, *, seconds: float
) -> list[GrowingRow]:
    """Return a row for every final resolution from 8 up to `resolution`.

    Args:
        resolution: the highest final resolution.
        settings: schedule and networks; both runs show the images of the growing one.
        device: that computes.
        seconds: to measure for, about.
    """
    finals = [2**i for i in range(3, resolution.bit_length()) if 2**i > settings.start_resolution]
    runs = {final: _both(final, settings) for final in finals}
    stages = [(phase.level, phase.fading) for both in runs.values() for phases in both for phase in phases]
    times = stage_times(resolution, settings, device, stages, seconds=seconds)
    return [_row(final, *both, times, settings) for final, both in runs.items()]


def _both(resolution: int, settings: TrainSettings) -> tuple[list[Phase], list[Phase]]:
    grown = dataclasses.replace(settings, growing=True)
    return phases_of(resolution, grown), phases_of(resolution, dataclasses.replace(settings, growing=False))


def _row(
    resolution: int, grown: Sequence[Phase], full: Sequence[Phase], times: Times, settings: TrainSettings
) -> GrowingRow:
    growing_seconds, full_seconds = (
        sum(_seconds(phase, times[phase.level, phase.fading], settings) for phase in phases) for phases in (grown, full)
    )
    used = [times[phase.level, phase.fading].basis for phase in (*grown, *full)]
    return GrowingRow(
        resolution=resolution,
        images=total_images(resolution, settings),
        growing_seconds=growing_seconds,
        full_seconds=full_seconds,
        ratio=full_seconds / growing_seconds,
        basis=next(filter(None, used), ""),
    )


def _seconds(phase: Phase, stage: StageTime, settings: TrainSettings) -> float:
    return (phase.end - phase.begin) / (stage.minibatch * settings.discriminator_steps) * stage.seconds


def plot_growing(rows: Sequence[GrowingRow], path: Path, *, form: str) -> None:
    """Draw how many times sooner growing was at each final resolution, beside what the paper reports.

    Args:
        rows: of `bench_growing`.
        path: of the picture.
        form: "png" or "svg".
    """
    with mpl.rc_context({"svg.hashsalt": "pgtools", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.axhspan(*PAPER_RANGE, color="0.92", label="paper: 2–6 times")
        axes.plot(*PAPER_POINT, "k*", markersize=10, label="paper: 5.4 at 1024²")
        sides, ratios = [row.resolution for row in rows], [row.ratio for row in rows]
        axes.plot(sides, ratios, color="tab:blue", label="here")
        for filled, label in ((True, "steps measured"), (False, "some estimated")):
            chosen = [row for row in rows if bool(row.basis) != filled]
            face = "tab:blue" if filled else "white"
            if chosen:
                axes.scatter(
                    [row.resolution for row in chosen],
                    [row.ratio for row in chosen],
                    color="tab:blue",
                    facecolor=face,
                    zorder=3,
                    label=label,
                )
        axes.set_xscale("log", base=2)
        ticks = sorted({*sides, PAPER_POINT[0]})
        axes.set_xticks(ticks, [f"{side}²" for side in ticks])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("final resolution")
        axes.set_ylabel("times sooner than without growing")
        axes.legend(frameon=False, fontsize="small")
        figure.savefig(path, format=form, dpi=150, metadata={"Date": None} if form == "svg" else {"Software": None})
