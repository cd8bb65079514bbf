"""What `pgtools generate` does: everything is checked, then the generator read, then each target written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pgtools.errors import InputError, UsageError
from pgtools.progan.run.folder import is_run
from pgtools.progan.run.snapshot import Snapshot
from pgtools.progan.sampling.conditions import Conditions
from pgtools.progan.sampling.settings import GenerateSettings
from pgtools.progan.sampling.source import GeneratorSource, read_generator
from pgtools.progan.sampling.video import check_frames, check_video, write_interpolation, write_training_progress
from pgtools.progan.sampling.video_settings import VideoSettings
from pgtools.progan.sampling.write import (
    by_class,
    check_grid,
    check_space,
    check_target,
    target,
    write_grid,
    write_images,
)
from pgtools.runtime.files import check_writable
from pgtools.stores.source import ImageSource

NO_ROWS = "Leave --class-rows out."


@dataclass(frozen=True)
class Targets:
    """What is to be written; None for what is not.

    Attributes:
        out: a folder of images, or a store, by its suffix.
        grid: a PNG of all images.
        interpolation: a video of a loop through the latents.
        training_progress: a video of a run's snapshots.
    """

    out: Path | None = None
    grid: Path | None = None
    interpolation: Path | None = None
    training_progress: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Option → file, of all but `out`."""
        named = {
            "--grid": self.grid,
            "--interpolation": self.interpolation,
            "--training-progress": self.training_progress,
        }
        return {option: file for option, file in named.items() if file is not None}

    @property
    def videos(self) -> tuple[Path, ...]:
        """The videos."""
        return tuple(file for file in (self.interpolation, self.training_progress) if file is not None)

    def check(self) -> None:
        """Raise UsageError if there is nothing to write, or one target would replace another.

        Raises:
            UsageError: so it is.
        """
        if self.out is None and not self.files:
            raise UsageError("There is nothing to write.", hint="Name a folder OUT, or pass --grid FILE.png.")
        taken: dict[Path, str] = {}
        for option, file in self.files.items():
            place = file.resolve()
            if self.out is not None and place.is_relative_to(self.out.resolve()):
                raise UsageError(
                    f"{option} {file} lies in {self.out}, which holds nothing but the images.",
                    hint="Name another file.",
                )
            if place in taken:
                raise UsageError(f"{taken[place]} and {option} name the same file, {file}.", hint="Name another file.")
            taken[place] = option


@dataclass(frozen=True)
class Request:
    """All that `pgtools generate` was told.

    Attributes:
        run: a run folder or the file of a network.
        targets: what to write.
        settings: which images.
        video: how videos show them.
        overwrite: replace what stands at the targets.
    """

    run: Path
    targets: Targets
    settings: GenerateSettings
    video: VideoSettings
    overwrite: bool = False

    def check(self) -> None:
        """Raise an error now for what would fail later: options that contradict, targets that cannot be written.

        Raises:
            UsageError: options contradict one another, or would do nothing; a file's name says another format.
            InputError: --training-progress of what is no run; a library for videos is missing.
            OutputError: a target stands there and `overwrite` is off, or cannot be written.
        """
        targets, settings = self.targets, self.settings
        targets.check()
        self._check_options()
        if targets.out is not None:
            check_target(target(targets.out), settings.numbers, overwrite=self.overwrite)
        if targets.grid is not None:
            if targets.grid.suffix.lower() != ".png":
                raise UsageError(f"--grid is {targets.grid}; the grid is a PNG.", hint="Name a file that ends in .png.")
            check_writable(targets.grid, overwrite=self.overwrite, what="file")
        for file in targets.videos:
            check_video(file, self.video, overwrite=self.overwrite)
        if targets.training_progress is not None and not is_run(self.run):
            raise InputError(
                f"{self.run} is no run folder; --training-progress shows a run's snapshots.",
                hint="Name the folder that `pgtools train` wrote.",
            )

    def check_frames(self, resolution: int) -> None:
        """Raise UsageError now if the frames of a video would be larger than a video can be.

        Args:
            resolution: of the generator; it has to be read to know it.

        Raises:
            UsageError: they would.
        """
        if self.targets.interpolation is not None:
            check_frames(self.targets.interpolation, resolution, self.video)
        if self.targets.training_progress is not None:
            check_frames(self.targets.training_progress, resolution, self.video, caption=True)

    def _check_options(self) -> None:
        """An option that would do nothing is a misunderstanding."""
        targets, settings = self.targets, self.settings
        if settings.class_rows and targets.grid is None:
            raise UsageError("--class-rows is of --grid, which is not given.")
        if settings.columns is not None and not targets.files:
            raise UsageError("--columns is of --grid and of videos, which are not given.")
        if targets.out is None and targets.grid is None and (settings.count or settings.images):
            option = "--count" if settings.count else "--images"
            raise UsageError(f"{option} is of OUT and --grid; a video shows --rows times --columns images.")


def video_settings(given: dict[str, Any], settings: GenerateSettings, targets: Targets) -> VideoSettings:
    """Return how videos show the images.

    Args:
        given: field of `VideoSettings` → value, of those that have options of their own.
        settings: says the rest.
        targets: what is to be written.

    Raises:
        UsageError: something is given, and there is no video to write; or it is out of range.
    """
    if not targets.videos:
        if given:
            option = "--" + min(given).replace("_", "-")
            raise UsageError(f"{option} is of videos.", hint="Pass --interpolation or --training-progress FILE.mp4.")
        return VideoSettings()
    columns = {} if settings.columns is None else {"columns": settings.columns}
    return VideoSettings(**given, **columns, seed=settings.seed)


def generate(request: Request, device: torch.device) -> Iterator[str]:
    """Write every target, and yield a line that says so after each.

    Args:
        request: what to make, of what.
        device: where the network runs.

    Raises:
        UsageError, InputError, OutputError: see `Request.check` and `Request.check_frames`; the generator cannot be
            read, or does not know the classes; the disk is too small. Nothing is written then.
    """
    request.check()
    settings, targets = request.settings, request.targets
    conditions = Conditions(settings.truncation, settings.classes)
    snapshot = read_generator(request.run, settings.which_snapshot)
    request.check_frames(snapshot.generator.shape.resolution)
    source = GeneratorSource(
        snapshot, name=str(request.run), count=0, seed=settings.seed, device=device, conditions=conditions
    ).picked(settings.numbers)
    if targets.out is not None:
        check_space(target(targets.out), source)
    sheet = None if targets.grid is None else _sheet(source, request)
    if targets.grid is not None and sheet is not None:
        write_grid(sheet, targets.grid, settings.row_length if settings.class_rows else settings.columns)
        yield f"Wrote a grid of {len(sheet)} images to {targets.grid}."
    if targets.out is not None:
        write_images(source, target(targets.out))
        yield f"Wrote {len(source)} images to {targets.out}."
    yield from _videos(request, snapshot, conditions, device)


def _sheet(source: GeneratorSource, request: Request) -> ImageSource:
    """The images of the grid, in the order of its places."""
    sheet: ImageSource = source
    if request.settings.class_rows:
        if source.classes is None:
            raise InputError(f"{source.name} knows no classes; it was trained without labels.", hint=NO_ROWS)
        classes = request.settings.classes or range(source.classes)
        check_grid(len(classes) * request.settings.row_length, source.resolution)
        sheet = by_class(source, classes, request.settings.row_length)
    check_grid(len(sheet), source.resolution)
    return sheet


def _videos(request: Request, snapshot: Snapshot, conditions: Conditions, device: torch.device) -> Iterator[str]:
    targets, video = request.targets, request.video
    if targets.interpolation is not None:
        write_interpolation(snapshot, targets.interpolation, video, device, conditions=conditions)
        yield f"Wrote {video.loop_frames} frames to {targets.interpolation}."
    if targets.training_progress is not None:
        write_training_progress(request.run, targets.training_progress, video, device, conditions=conditions)
        yield f"Wrote the run's snapshots to {targets.training_progress}."
