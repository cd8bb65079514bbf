"""Full training steps of networks in memory, on drawn images, and how long each took."""

from __future__ import annotations

import copy
import math
import time

import torch

from pgtools.progan.config import TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.feed import Fetched
from pgtools.progan.generator import Generator
from pgtools.progan.precision import resolve_precision
from pgtools.progan.schedule import Live, Stage, from_resolution
from pgtools.progan.step import Networks, Stepper, Supply
from pgtools.runtime.memory import highest_resident, resident_from_here


class DrawnImages:
    """Gives the same minibatch of noise for ever, already on the device.

    Attributes:
        waited: 0, as nobody waits.
    """

    waited = 0.0

    def __init__(self, count: int, level: int, device: torch.device) -> None:
        stream = torch.Generator().manual_seed(level)
        pixels = torch.randint(0, 256, (count, 3, level, level), dtype=torch.uint8, generator=stream)
        self._fetched = Fetched(pixels.to(device), None)

    def next(self) -> Fetched:
        """Return the minibatch."""
        return self._fetched


class TimedSteps:
    """The engine as `pgtools train` has it, of networks without classes, at any of their stages.

    Args:
        resolution: of the networks.
        settings: of the run that is imitated.
        device: that computes.
    """

    def __init__(self, resolution: int, settings: TrainSettings, device: torch.device) -> None:
        self.resolution, self.settings, self.device = resolution, settings, device
        self.dtype = resolve_precision(settings.precision, device)
        shape = settings.architecture(resolution)
        generator, discriminator = Generator(shape).to(device), Discriminator(shape).to(device)
        average = copy.deepcopy(generator).eval().requires_grad_(False)
        self.networks = Networks(generator, discriminator, average)
        self.stepper = Stepper(self.networks, settings, device, dtype=self.dtype)
        self._shown = 0

    def stage(self, level: int, *, fading: bool) -> Stage:
        """Return the stage at a level, half-way through its fade-in or after it."""
        lod = math.log2(self.resolution / level)
        live = Live(level, level // 2, 0.5) if fading else Live(level, level, 0.0)
        minibatch = int(from_resolution(self.settings.minibatch_table, level))
        rate = from_resolution(self.settings.learning_rate_table, level)
        return Stage(lod + 0.5 * fading, live, minibatch, rate)

    def take(self, stage: Stage, supply: Supply, *, steps: int = 1) -> float:
        """Take steps at a stage and return the seconds they took in all."""
        finish(self.device)
        began = time.perf_counter()
        for _ in range(steps):
            self.stepper.begin(stage)
            self.stepper.step(supply, stage, self._shown)
            self._shown += self.images(stage)
        finish(self.device)
        return time.perf_counter() - began

    def images(self, stage: Stage) -> int:
        """Return how many real images a step shows."""
        return stage.minibatch * self.settings.discriminator_steps


def finish(device: torch.device) -> None:
    """Wait until a GPU has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PeakMemory:
    """How much memory is taken from here on beyond what is held now.

    Args:
        device: whose memory; a CPU's is this process's.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before: int | None = torch.cuda.memory_allocated(device)
        else:
            self._before = resident_from_here()

    def bytes(self) -> int | None:
        """Return the highest so far, None where the system does not tell."""
        on_gpu = self._device.type == "cuda"
        highest = torch.cuda.max_memory_allocated(self._device) if on_gpu else highest_resident()
        return None if highest is None or self._before is None else max(0, highest - self._before)
