"""`pgtools train`: a store trains a generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, settings_options
from pgtools.cli._output import print_json, print_table, say
from pgtools.errors import UsageError
from pgtools.progan.config import (
    DEFAULT_PRESET,
    TrainSettings,
    preset_description,
    preset_names,
)

if TYPE_CHECKING:
    from pgtools.progan.trainer import Score
    from pgtools.stores.source import ImageSource


@click.command("train", short_help="Train a compact Progressive GAN.")
@click.argument("store", type=SOURCE)
@click.option("--out", "run", type=OUTPUT, required=True, metavar="RUN", help="Folder of the run.")
@click.option("--preset", type=click.Choice(preset_names()), help=f"Named settings.  [default: {DEFAULT_PRESET}]")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--dry-run", is_flag=True, help="Print the settings and stop.")
@json_option
@settings_options(TrainSettings)
def command(
    store: Path,
    run: Path,
    preset: str | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    chosen: dict[str, Any],
) -> None:
    """Train a compact Progressive GAN on a store, a ZIP or a folder of images.

    Networks grow from 4×4 to the images' own size; images, logs and checkpoints go to the run folder.
    Ctrl-C writes a checkpoint, --resume goes on from it. Defaults below are those of the preset `compact`.

    \b
    Example:
      pgtools train faces.lmdb --out runs/faces
      pgtools train faces.lmdb --out runs/faces --resume
      pgtools train celeba-hq.h5 --out runs/paper --preset paper --device cuda
    """
    from pgtools.progan.trainer import train
    from pgtools.stores.opening import open_source

    settings = _settings(run, preset, resume, chosen)
    if dry_run:
        print_json(settings.as_dict())
        return
    if store.is_dir() and store.resolve() in (run.resolve(), *run.resolve().parents):
        raise UsageError(f"{run} lies in {store}: its grids would become training images.", hint="Write beside it.")
    source = open_source(store)
    if not resume:
        settings.check_resolution(source.resolution)
        say(preset_description(preset or DEFAULT_PRESET))
    progress = train(source, run, settings, resume=resume, score=_scorer(source, settings))
    result = {"run": str(run), "images": progress.images, "seconds": round(progress.seconds, 1)}
    if as_json:
        print_json(result)
    else:
        print_table(("run", "images", "seconds"), [tuple(map(str, result.values()))])


def _settings(run: Path, preset: str | None, resume: bool, chosen: dict[str, Any]) -> TrainSettings:
    """Those that the run began with, or those of a new run that can be written."""
    from pgtools.progan.folder import begin, resumed_settings

    if resume:
        return resumed_settings(run, chosen, preset=preset)
    return begin(run, preset or DEFAULT_PRESET, chosen)


def _scorer(source: ImageSource, settings: TrainSettings) -> Score | None:
    """Training knows no metrics; it is handed one."""
    if not settings.score_images:
        return None
    from pgtools.metrics.evaluate import Evaluator, Reading
    from pgtools.metrics.settings import SwdSettings
    from pgtools.metrics.swd.measure import SwdMeasure
    from pgtools.runtime.device import resolve_device

    measure = SwdMeasure(SwdSettings(num_images=settings.score_images, seed=settings.seed))
    reading = Reading(settings.score_images, settings.seed)
    evaluator = Evaluator([measure], source, reading, resolve_device(settings.device))
    return lambda images: evaluator.score(images)[0]
