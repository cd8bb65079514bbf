"""The training run: from a source of images and settings to a run folder, in as many sittings as it takes.

Everything random is named by the seed and the number of images shown, so a run that was stopped anywhere,
mid-fade or by SIGKILL, goes on from its last checkpoint just as if it had not been (bit for bit on one CPU).
"""

from __future__ import annotations

import contextlib
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

from pgtools.errors import InputError, PgtoolsError, StoppedError, UsageError
from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.feed import Feed, FeedSettings
from pgtools.progan.generator import Generator
from pgtools.progan.layers import parameter_count
from pgtools.progan.output import Output, Score
from pgtools.progan.parallel import Place, check_shares, others_answering
from pgtools.progan.precision import resolve_precision
from pgtools.progan.run.begun import check_same_data, describe
from pgtools.progan.run.checkpoint import PLAYERS, Checkpoint, spread
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.progress import Progress
from pgtools.progan.run.record import check_tensorboard
from pgtools.progan.run.snapshot import TrainedNetworks
from pgtools.progan.schedule import Stage, images_at, plan, stage_at, total_images
from pgtools.progan.step import Networks, Stepper
from pgtools.runtime.device import deterministic
from pgtools.runtime.files import folder_lock
from pgtools.runtime.interrupt import interruptible
from pgtools.runtime.progress import bar
from pgtools.stores.source import ImageSource

# Rolled back so often without reaching the next checkpoint, a run stops: other latents do not help it.
MOST_ROLLBACKS = 3


@dataclass(frozen=True)
class Begin:
    """What a sitting begins with, if not with fresh networks in a new folder.

    Attributes:
        resume: go on from the run's last checkpoint.
        networks: those a new run begins with, at the first moment of the schedule with their level of detail.
        origin: what config.json says of these networks: file and SHA-256.
        preset: that a new run's settings came from, for config.json; one that goes on keeps its own.
    """

    resume: bool = False
    networks: TrainedNetworks | None = None
    origin: dict[str, Any] | None = None
    preset: str | None = None


NEW, RESUMED = Begin(), Begin(resume=True)


def train(
    source: ImageSource,
    run: Path,
    settings: TrainSettings,
    *,
    place: Place,
    begin: Begin = NEW,
    score: Score | None = None,
) -> Progress:
    """Train on a source until all images were shown, and return where the run stands then.

    Every process of `place` calls it alike; the first writes the folder, which all must see.

    Args:
        source: the real images.
        run: the run folder; new, or when resuming one that an earlier call wrote.
        settings: when resuming, those of `resumed_settings`.
        place: the device and the processes.
        begin: whether to resume, or which networks to begin with.
        score: measures a generator's images.

    Raises:
        OutputError: the run folder exists already, or another process holds it.
        InputError: the data are not those that the run began with, or its checkpoint is damaged or lost, or the
            networks to begin with have another shape.
        PgtoolsError: the loss is no longer finite; the last checkpoint is kept.
        StoppedError: the run was asked to stop, and wrote a checkpoint.
        UsageError: a new run's networks would be too narrow for images of this size, or its minibatches cannot be
            shared by the processes.
    """
    folder, processes = RunFolder(run, keep=settings.keep_checkpoints), place.processes
    settings = _resolved(settings, source, place)
    with contextlib.ExitStack() as held:

        def opened() -> dict[str, Any]:
            data = _checked(source, folder, settings, processes.count, resume=begin.resume)
            held.enter_context(folder_lock(run))
            if not begin.resume:
                folder.check_new()  # describing the data took time
            return data

        data = processes.agreed(opened)
        if settings.deterministic:
            held.enter_context(deterministic())
        trainer = Trainer(source, folder, settings, place)
        origin = trainer.resume() if begin.resume else begin.origin
        if begin.networks is not None:
            trainer.start_from(begin.networks)
        if processes.rank == 0:
            preset = folder.read_config().get("preset") if begin.resume else begin.preset
            folder.write_config(
                settings, data, trainer.parameters, preset=preset, device=str(place.device), began_from=origin
            )
        with others_answering(processes):
            trainer.run(score)
    return trainer.progress


def _resolved(settings: TrainSettings, source: ImageSource, place: Place) -> TrainSettings:
    """The settings as config.json records them: with what was left open decided."""
    precision = resolve_precision(settings.precision, place.device)
    return dataclasses.replace(
        settings,
        total_kimg=total_images(source.resolution, settings) / 1000,
        precision="bfloat16" if precision == torch.bfloat16 else "float32",
    )


def _checked(
    source: ImageSource, folder: RunFolder, settings: TrainSettings, processes: int, *, resume: bool
) -> dict[str, Any]:
    """Return what config.json says of the data, once it is sure that the run can begin or go on with them."""
    if settings.tensorboard:
        check_tensorboard()
    shape = shape_of(source, settings)
    check_shares(shape, settings.minibatch_table, processes=processes, micro_batch=settings.micro_batch)
    if resume:
        folder.check_not_lost()
    else:
        folder.check_new()
        settings.check_resolution(source.resolution)
    data = describe(source)
    if resume:
        check_same_data(folder.read_config()["data"], data)
    return data


class Trainer:
    """A run in memory: networks, optimizers, progress. `restore` takes up a checkpoint, `run` trains."""

    def __init__(self, source: ImageSource, folder: RunFolder, settings: TrainSettings, place: Place) -> None:
        self.source, self.folder, self.settings, self.place = source, folder, settings, place
        shape = shape_of(source, settings)
        generator = Generator(shape, settings.seed).to(place.device)
        average = copy.deepcopy(generator).eval().requires_grad_(False)
        networks = Networks(generator, Discriminator(shape, settings.seed).to(place.device), average)
        self.stepper = Stepper(
            networks,
            settings,
            place.device,
            dtype=resolve_precision(settings.precision, place.device),
            processes=place.processes,
            classes=source.labels if shape.labels else None,
        )
        self.progress = Progress(processes=place.processes.count)
        self.parameters = {player: parameter_count(self.stepper.kinds[player]) for player in PLAYERS}
        self._total = total_images(source.resolution, settings)
        self._went_back_to, self._times = -1, 0  # the checkpoint of the last rollback, and how often to it

    @property
    def stage(self) -> Stage:
        """Where the schedule stands now."""
        return stage_at(self.progress.images, self.source.resolution, self.settings)

    def start_from(self, networks: TrainedNetworks) -> None:
        """Take up somebody's networks, where the schedule first has their level of detail; Adam begins anew.

        Raises:
            InputError: they are of another shape.
            UsageError: the run would end before it begins.
        """
        mine, theirs = self.stepper.networks.generator.shape, networks.generator.shape
        if mine != theirs:
            field = next(field.name for field in dataclasses.fields(mine) if _differ(mine, theirs, field.name))
            raise InputError(
                f"The networks to begin with have {field} {getattr(theirs, field)}; this run has "
                f"{getattr(mine, field)}.",
                hint="Train on images of the side and classes that the networks are for.",
            )
        for kind, network in self.stepper.kinds.items():
            network.load_state_dict(getattr(networks, kind).state_dict())
        images = images_at(networks.lod, self.source.resolution, self.settings)
        if images >= self._total:
            raise UsageError(
                f"These networks have grown as far as a run of {images / 1000:g} kimg; --total-kimg is "
                f"{self._total / 1000:g}.",
                hint="Name a larger --total-kimg, or leave it out.",
            )
        self.progress = Progress(images=images, since_images=images, processes=self.progress.processes)

    def resume(self) -> dict[str, Any] | None:
        """Take up the run's latest checkpoint, and return what its config says of the networks it began with.

        Raises:
            InputError: the checkpoint is damaged or of other networks, or there is none yet and the networks that the
                run began with are nowhere.
            UsageError: more images were shown than the run is now asked for.
        """
        config, latest = self.folder.read_config(), self.folder.read_latest()
        origin: dict[str, Any] | None = config.get("began_from")
        if latest is None:
            if origin is not None:
                raise InputError(
                    f"{self.folder.path} was stopped before it had written the networks it began with.",
                    hint=f"Remove it, and begin again with --resume-from {origin.get('file')}.",
                )
            return None
        if self._total <= latest.images and self._total < round(1000 * (config["settings"]["total_kimg"] or 0)):
            raise UsageError(
                f"--total-kimg is {self._total / 1000:g}; the run has shown {latest.images / 1000:g} already.",
                hint="Leave it out, or name more.",
            )
        self.restore(latest)
        return origin

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint, and drop what the folder says of later moments.

        Raises:
            InputError: the checkpoint is of other networks.
        """
        stepper = self.stepper
        try:
            spread(checkpoint, stepper.kinds, stepper.adams)
            progress = Progress(**checkpoint.progress)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.folder.latest()} does not fit this run ({reason}).") from None
        stepper.resume(progress.live, progress.fooled)
        count = self.place.processes.count
        if self.place.processes.rank == 0:
            self.folder.rewind(progress.images)
            if count != progress.processes:
                told = f"This run was trained by {progress.processes} processes and goes on with {count}"
                print(
                    f"{told}: sums round otherwise, so it is not bit for bit the run it would have been.",
                    file=sys.stderr,
                )
        self.progress = dataclasses.replace(progress, processes=count)

    def run(self, score: Score | None) -> None:
        """Train until all images were shown, writing logs, grids, snapshots and checkpoints on the way."""
        first = self.place.processes.rank == 0
        with contextlib.ExitStack() as held:
            output = None
            if first:
                output = held.enter_context(Output(self.folder, self.settings, self.source, self.stepper, score))
                output.begin(self.progress, self.stage)
            stopped = held.enter_context(interruptible())
            shown = bar("Training, images", self._total, done=self.progress.images, shown=first)
            advance = held.enter_context(shown)
            while not self._train_on(output, stopped, advance):
                before = self.progress.images
                self._roll_back()
                if output is not None:
                    output.rewound()
                advance(self.progress.images - before)

    def _train_on(self, output: Output | None, stopped: Callable[[], bool], advance: Callable[[int], None]) -> bool:
        """Train to the end and return True, or to figures that are not finite and return False."""
        with self._feed() as feed:
            while (before := self.progress.images) < self._total:
                if not self._update(feed):
                    return False
                done = self.progress.images >= self._total
                advance(self.progress.images - before)
                if output is not None:
                    output.write_due(before, self.progress, self.stage, last=done)
                if not done and self._any(stopped()):
                    if output is not None:
                        output.save(self.progress, self.stage)
                    raise StoppedError(
                        f"Stopped after {self.progress.images / 1000:.1f} of {self._total / 1000:.1f} kimg.",
                        hint="The checkpoint is written: the same command with --resume goes on from here.",
                    )
        return True

    def _any(self, asked: bool) -> bool:
        """Whether any process was asked to stop; the same in all of them."""
        return bool(self.place.processes.mean(torch.tensor([float(asked)])) > 0)

    def _update(self, feed: Feed) -> bool:
        """Take some steps at one point of the schedule, and add what they measured to the sums.

        Returns:
            Whether all figures and weights are finite; the same in every process.
        """
        stage, progress, settings = self.stage, self.progress, self.settings
        began, waited = time.perf_counter(), feed.waited
        self.stepper.begin(stage)
        figures = []
        for _ in range(settings.minibatch_repeats):
            figures.append(self.stepper.step(feed, stage, progress.images, rollbacks=progress.rollbacks))
            progress.images += stage.minibatch * settings.discriminator_steps
        # The last figures were measured before the last change of weights, and do not vouch for it.
        measured = torch.cat([torch.stack(figures).sum(dim=0), self.stepper.weights_norm()[None]]).double()
        found = self.place.processes.mean(measured.cpu()).tolist()
        progress.sums = tuple(a + b for a, b in zip(progress.sums, found[:-1], strict=True))
        progress.steps += settings.minibatch_repeats
        progress.live = self.stepper.live
        progress.fooled = float(self.stepper.fooled)
        progress.seconds += time.perf_counter() - began
        progress.waited += feed.waited - waited
        return all(map(math.isfinite, found))

    def _roll_back(self) -> None:
        """Go back to the last checkpoint, to go on from there with other latents.

        Raises:
            PgtoolsError: the run is to stop instead, or has gone back too often since a checkpoint.
        """
        at, latest = f"{self.progress.images / 1000:.1f} kimg (lod {self.stage.lod:.2f})", self.folder.read_latest()
        reached = -1 if latest is None else latest.images
        self._times = self._times + 1 if reached == self._went_back_to else 1
        self._went_back_to = reached
        if self.settings.on_nan == "stop" or latest is None or self._times > MOST_ROLLBACKS:
            again = f", after {MOST_ROLLBACKS} rollbacks" if self._times > MOST_ROLLBACKS else ""
            raise diverged(f"{at}{again}", self.folder.latest())
        rollbacks = self.progress.rollbacks + 1
        self.restore(latest)
        self.progress.rollbacks = rollbacks
        if self.place.processes.rank == 0:
            print(
                f"The loss is not finite at {at}: rolled back to {self.progress.images / 1000:.1f} kimg, "
                f"going on with other latents (rollback {rollbacks}).",
                file=sys.stderr,
            )

    def _feed(self) -> Feed:
        settings, processes = self.settings, self.place.processes
        return Feed(
            self.source,
            plan(self.progress.images, self.source.resolution, settings),
            seed=settings.seed,
            device=self.place.device,
            rows=self.stepper.places,
            settings=FeedSettings(settings.memory, settings.workers, settings.labels, share=processes.here),
        )


def diverged(at: str, latest: Path | None) -> PgtoolsError:
    """Return the error that says where training was lost, and which checkpoint is left."""
    kept = "No checkpoint was written yet" if latest is None else f"{latest} is the last good state"
    return PgtoolsError(
        f"The loss is not finite at {at}.", hint=f"{kept}; a lower --learning-rate may help, or --on-nan rollback."
    )


def shape_of(source: ImageSource, settings: TrainSettings) -> Architecture:
    """Return the shape of networks for these images, and with `labels` for their classes.

    Raises:
        InputError: classes are asked for and the source has none.
    """
    if not settings.labels:
        return settings.architecture(source.resolution)
    if source.classes is None:
        raise InputError(
            f"{source.name} has no labels; --labels asks for them.",
            hint="Leave out --labels, or name a source with classes.",
        )
    return settings.architecture(source.resolution, labels=source.classes)


def _differ(one: object, other: object, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))
