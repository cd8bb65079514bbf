"""The training run: from a source of images and settings to a run folder, in as many sittings as it takes.

Everything random is named by the seed and the number of images shown, so a run that was stopped anywhere,
mid-fade or by SIGKILL, goes on from its last checkpoint just as if it had not been (bit for bit on one CPU).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pgtools.errors import InputError, PgtoolsError
from pgtools.imaging.grid import tile
from pgtools.progan.checkpoint import Snapshot, read_checkpoint, read_snapshot, write_checkpoint, write_snapshot
from pgtools.progan.config import TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.folder import RunFolder, check_same_data, describe
from pgtools.progan.generator import Generator
from pgtools.progan.layers import parameter_count
from pgtools.progan.losses import WganGp
from pgtools.progan.reals import Reals
from pgtools.progan.sampling import GeneratorSource, grid_count
from pgtools.progan.schedule import Stage, crossed, stage_at, total_images
from pgtools.progan.step import (
    FIGURES,
    Draws,
    Networks,
    Optimizers,
    discriminator_step,
    generator_step,
    prepare_reals,
    update_average,
)
from pgtools.runtime.device import resolve_device
from pgtools.runtime.files import folder_lock
from pgtools.runtime.interrupt import interruptible
from pgtools.runtime.progress import bar
from pgtools.runtime.results import MetricResult
from pgtools.runtime.seeds import stream
from pgtools.stores.source import ImageSource

Score = Callable[[ImageSource], MetricResult]


@dataclass
class Progress:
    """Where a run stands, beside its networks.

    Attributes:
        images: real images shown.
        seconds: time spent training, without reading data, drawing grids, scoring and pauses.
        live: levels that took part in the last update; Adam begins anew when they change.
        sums: sums of the figures since the last log line, in the order of FIGURES.
        steps: steps since then.
        since_images, since_seconds: where the last log line stood.
    """

    images: int = 0
    seconds: float = 0.0
    live: tuple[int, ...] = ()
    sums: tuple[float, ...] = (0.0,) * len(FIGURES)
    steps: int = 0
    since_images: int = 0
    since_seconds: float = 0.0


def train(
    source: ImageSource, run: Path, settings: TrainSettings, *, resume: bool = False, score: Score | None = None
) -> Progress:
    """Train on a source until all images were shown, and return where the run stands then.

    Args:
        source: the real images.
        run: the run folder; new, or with `resume` one that an earlier call wrote.
        settings: when resuming, those of `resumed_settings`.
        resume: go on from the run's last checkpoint.
        score: measures a generator's images at every snapshot.

    Raises:
        OutputError: the run folder exists already, or another process holds it.
        InputError: the data are not those that the run began with, or its checkpoint is damaged or lost.
        PgtoolsError: the loss is no longer finite, or the run was interrupted; the last checkpoint is kept.
        UsageError: a new run's networks would be too narrow for images of this size.
    """
    folder, device = RunFolder(run), resolve_device(settings.device)
    if resume:
        folder.check_not_lost()
    else:
        folder.check_new()
        settings.check_resolution(source.resolution)
    total = total_images(source.resolution, settings)
    settings = dataclasses.replace(settings, total_kimg=total / 1000)
    data = describe(source)
    if resume:
        check_same_data(folder.read_config()["data"], data)
    with folder_lock(run):
        if not resume:
            folder.check_new()  # describing the data took time
        trainer = Trainer(source, folder, settings, device, score)
        if resume and folder.checkpoint.exists():
            trainer.restore(read_checkpoint(folder.checkpoint))
        folder.write_config(settings, data, trainer.parameters)
        trainer.run(total)
    return trainer.progress


class Trainer:
    """A run in memory: networks, optimizers, progress. `restore` takes up a checkpoint, `run` trains."""

    def __init__(
        self,
        source: ImageSource,
        folder: RunFolder,
        settings: TrainSettings,
        device: torch.device,
        score: Score | None,
    ) -> None:
        self.settings, self.folder, self.device, self.score = settings, folder, device, score
        self.source, self.resolution = source, source.resolution
        self.reals = Reals(source, settings.seed)
        shape = settings.architecture(source.resolution)
        generator = Generator(shape, settings.seed).to(device)
        average = copy.deepcopy(generator).eval().requires_grad_(False)
        self.networks = Networks(generator, Discriminator(shape, settings.seed).to(device), average)
        self.loss = WganGp(settings.gp_weight, settings.gp_target, settings.drift_weight)
        self.progress = Progress()
        self.optimizers = self._new_optimizers()
        self._saved = time.monotonic()
        self.parameters = {
            "generator": parameter_count(generator),
            "discriminator": parameter_count(self.networks.discriminator),
        }

    @property
    def stage(self) -> Stage:
        """Where the schedule stands now."""
        return stage_at(self.progress.images, self.resolution, self.settings)

    def run(self, total: int) -> None:
        """Train until `total` images were shown, writing logs, grids, snapshots and checkpoints on the way."""
        if self.progress.images == 0:
            self._write_reals()
            self._save()
        self._score_newest()
        with interruptible() as stopped, bar("Training, images", total, done=self.progress.images) as advance:
            while self.progress.images < total:
                before = self.progress.images
                self._update()
                advance(self.progress.images - before)
                self._write_due(before, last=self.progress.images >= total)
                if stopped() and self.progress.images < total:
                    self._save()
                    raise PgtoolsError(
                        f"Stopped after {self.progress.images / 1000:.1f} of {total / 1000:.1f} kimg.",
                        hint="The checkpoint is written: the same command with --resume goes on from here.",
                    )

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint, and drop what the logs say of later moments.

        Raises:
            InputError: the checkpoint is of other networks.
        """
        try:
            for name in ("generator", "discriminator", "average"):
                getattr(self.networks, name).load_state_dict(state["networks"][name])
            for name in ("generator", "discriminator"):
                getattr(self.optimizers, name).load_state_dict(state["optimizers"][name])
            self.progress = Progress(**state["progress"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.folder.checkpoint} does not fit this run ({reason}).") from None
        self.progress.live, self.progress.sums = tuple(self.progress.live), tuple(self.progress.sums)
        self.folder.rewind(self.progress.images)

    def _update(self) -> None:
        """Some steps at one point of the schedule; what they measured is added to the sums."""
        stage, progress = self.stage, self.progress
        self.reals.prepare(stage.resolution)
        began = time.perf_counter()
        if stage.live != progress.live:
            self.optimizers, progress.live = self._new_optimizers(), stage.live
        for optimizer in (self.optimizers.generator, self.optimizers.discriminator):
            optimizer.param_groups[0]["lr"] = stage.learning_rate
        figures = torch.stack([self._step(stage) for _ in range(self.settings.minibatch_repeats)]).sum(dim=0)
        found = figures.double().tolist()
        if not all(map(math.isfinite, found)):
            raise self._diverged()
        progress.sums = tuple(a + b for a, b in zip(progress.sums, found, strict=True))
        progress.steps += self.settings.minibatch_repeats
        progress.seconds += time.perf_counter() - began

    def _step(self, stage: Stage) -> torch.Tensor:
        """One generator step after the discriminator's; returns the figures, in the order of FIGURES."""
        networks, size = self.networks, stage.minibatch
        for _ in range(self.settings.discriminator_steps):
            draws = Draws(self.settings.seed, self.progress.images, self.device)
            pixels = torch.from_numpy(self.reals.batch(self.progress.images, size, stage.resolution))
            mirrored = draws.mirrored(size) if self.settings.mirror else None
            reals = prepare_reals(pixels.to(self.device), stage.lod % 1, mirrored)
            judged = discriminator_step(
                networks, self.optimizers.discriminator, reals, stage.lod, loss=self.loss, draws=draws
            )
            self.progress.images += size
        fooled = generator_step(networks, self.optimizers.generator, size, stage.lod, loss=self.loss, draws=draws)
        update_average(networks, self.settings.ema)
        return torch.cat([fooled[None], judged])

    def _new_optimizers(self) -> Optimizers:
        def adam(network: torch.nn.Module) -> torch.optim.Adam:
            betas = (float(self.settings.beta1), float(self.settings.beta2))
            return torch.optim.Adam(network.parameters(), self.settings.learning_rate, betas, eps=1e-8)

        return Optimizers(adam(self.networks.generator), adam(self.networks.discriminator))

    def _write_due(self, before: int, *, last: bool) -> None:
        """Write what is due at this moment: log line, grid, snapshot, checkpoint, score."""
        now, settings = self.progress.images, self.settings
        if last or crossed(before, now, settings.log_kimg):
            self._log()
        if last or crossed(before, now, settings.grid_kimg):
            count = grid_count(self.resolution)
            self.folder.write_grid(f"fakes-{now:09d}", tile(self._images(self._snapshot(), count).read(range(count))))
        if last or crossed(before, now, settings.snapshot_kimg):
            self._save(snapshot=True)
            self._score_newest()
        elif settings.checkpoint_minutes and time.monotonic() - self._saved >= 60 * settings.checkpoint_minutes:
            self._save()

    def _log(self) -> None:
        stage, progress = self.stage, self.progress
        means = {name: total / progress.steps for name, total in zip(FIGURES, progress.sums, strict=True)}
        rate = (progress.images - progress.since_images) / max(progress.seconds - progress.since_seconds, 1e-9)
        line = {
            "images": progress.images,
            "kimg": progress.images / 1000,
            "lod": stage.lod,
            "resolution": stage.resolution,
            "minibatch": stage.minibatch,
            "learning_rate": stage.learning_rate,
            **means,
            "images_per_second": rate,
            "seconds": progress.seconds,
        }
        self.folder.append(self.folder.log, line)
        progress.sums, progress.steps = (0.0,) * len(FIGURES), 0
        progress.since_images, progress.since_seconds = progress.images, progress.seconds

    def _score_newest(self) -> None:
        """Score the newest snapshot, unless it is: the last sitting may have ended before it was.

        It is read from its file, as the checkpoint may be of a later moment. A score that fails costs no training.
        """
        snapshots = self.folder.snapshots()
        if self.score is None or not snapshots or self.folder.is_scored(int(snapshots[-1].stem)):
            return
        try:
            snapshot = read_snapshot(snapshots[-1])
            result = self.score(self._images(snapshot, self.settings.score_images)).as_dict()
            line = {"images": snapshot.images, "kimg": snapshot.images / 1000, "result": result}
            self.folder.append(self.folder.scores, line)
        except (PgtoolsError, RuntimeError) as error:  # CUDA out of memory is a RuntimeError
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"{snapshots[-1].name} has no score: {reason}", file=sys.stderr)

    def _images(self, snapshot: Snapshot, count: int) -> GeneratorSource:
        """A generator's images, those of `pgtools generate` with the same seed."""
        name, seed = str(self.folder.path), self.settings.seed
        return GeneratorSource(snapshot, name=name, count=count, seed=seed, device=self.device)

    def _snapshot(self) -> Snapshot:
        return Snapshot(self.networks.average, self.stage.lod, self.progress.images)

    def _write_reals(self) -> None:
        count = min(grid_count(self.resolution), len(self.source))
        chosen = stream(self.settings.seed, "grid").permutation(len(self.source))[:count]
        self.folder.write_grid("reals", tile(self.source.read(chosen.tolist())))

    def _save(self, *, snapshot: bool = False) -> None:
        """Write a checkpoint, after a snapshot if asked for; weights that are not finite never replace a good one.

        The losses are those from before the last optimizer step, so they do not vouch for the weights.
        """
        networks, optimizers = self.networks, self.optimizers
        parts = (networks.generator, networks.discriminator, networks.average)
        if not all(bool(torch.isfinite(weights).all()) for part in parts for weights in part.parameters()):
            raise self._diverged()
        if snapshot:
            write_snapshot(self.folder.snapshot(self.progress.images), self._snapshot())
        state = {
            "networks": {
                name: getattr(networks, name).state_dict() for name in ("generator", "discriminator", "average")
            },
            "optimizers": {name: getattr(optimizers, name).state_dict() for name in ("generator", "discriminator")},
            "progress": dataclasses.asdict(self.progress),
        }
        write_checkpoint(self.folder.checkpoint, state)
        self._saved = time.monotonic()

    def _diverged(self) -> PgtoolsError:
        return PgtoolsError(
            f"The loss is not finite at {self.progress.images / 1000:.1f} kimg (lod {self.stage.lod:.2f}).",
            hint=f"{self.folder.checkpoint} is the last good state; a lower --learning-rate may help.",
        )
