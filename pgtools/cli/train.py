"""`pgtools train`: a store trains a generator."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._measures import EvaluateSettings, Places, make_measures, metric_names
from pgtools.cli._options import OUTPUT, SOURCE, json_option, settings_options
from pgtools.cli._output import print_json, print_table, say
from pgtools.cli._plan import Plan
from pgtools.cli._plan import show as print_plan
from pgtools.errors import UsageError
from pgtools.progan.config import TrainSettings
from pgtools.progan.presets import DEFAULT_PRESET, preset_names, settings_from

if TYPE_CHECKING:
    import torch

    from pgtools.progan.output import Score
    from pgtools.progan.run.progress import Progress
    from pgtools.progan.trainer import Begin
    from pgtools.stores.source import ImageSource


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What the command line says beside single settings."""

    store: Path
    run: Path | None
    preset: str | None
    resume: bool
    resume_from: Path | None


@click.command("train", short_help="Train a Progressive GAN.")
@click.argument("store", type=SOURCE)
@click.option("--out", "run", type=OUTPUT, metavar="RUN", help="Folder of the run.")
@click.option("--preset", type=click.Choice(preset_names()), help=f"Named settings.  [default: {DEFAULT_PRESET}]")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option(
    "--resume-from",
    type=SOURCE,
    metavar="FILE",
    help="Begin a new run with the networks of a checkpoint or of `models import-karras`.",
)
@click.option("--show", is_flag=True, help="Print the settings and a table of phases with estimated times, and stop.")
@json_option
@settings_options(TrainSettings)
def command(
    store: Path,
    run: Path | None,
    preset: str | None,
    resume: bool,
    resume_from: Path | None,
    show: bool,
    as_json: bool,
    chosen: dict[str, Any],
) -> None:
    """Train a Progressive GAN on a store, a ZIP or a folder of images.

    Networks grow from 4×4 to the images' own size; images, logs and checkpoints go to the run folder.
    Ctrl-C writes a checkpoint, --resume goes on from it. Defaults below are those of the preset `compact`.

    Several GPUs, of one machine or more, share every minibatch under torchrun; --minibatch counts all of them.

    \b
    Example:
      pgtools train faces.lmdb --out runs/faces
      pgtools train faces.lmdb --out runs/faces --resume
      pgtools train faces.lmdb --out runs/scored --metrics swd --every 6
      pgtools train celeba-hq.h5 --preset celebahq-1024 --show
      torchrun --nproc-per-node 8 -m pgtools train celeba-hq.h5 --out runs/hq --preset v2-8gpus
    """
    from pgtools.progan.parallel import launched
    from pgtools.progan.trainer import train
    from pgtools.stores.opening import open_source

    asked = _Asked(store, run, preset, resume, resume_from)
    _check(asked, show=show)
    began_with, settings = _settings(asked, _named(chosen), show=show)
    _check_scores(chosen, settings)
    source = open_source(store)
    with launched(settings.device) as place:
        plan = Plan(source, settings, began_with.preset, place.device)
        first = place.processes.rank == 0
        if not resume:
            settings.check_resolution(source.resolution)
            notes = plan.notes()  # in every process, so that all of them fail where one does
            for note in notes if first else ():
                say(note)
        if show:
            print_plan(plan, as_json=as_json)
            return
        if first and not resume:
            say(plan.described())
        score = _scorer(source, settings, place.device) if first else None
        progress = train(source, Path(str(run)), settings, place=place, begin=began_with, score=score)
        if first:
            _print(asked, progress, as_json=as_json)


def _check(asked: _Asked, *, show: bool) -> None:
    store, run = asked.store, asked.run
    if run is None:
        if not show:
            raise UsageError("No folder is named for the run.", hint="Pass --out RUN.")
        return
    if asked.resume and asked.resume_from is not None:
        raise UsageError("--resume goes on with a run, --resume-from begins one.", hint="Pass one of them.")
    if store.is_dir() and store.resolve() in (run.resolve(), *run.resolve().parents):
        raise UsageError(f"{run} lies in {store}: its grids would become training images.", hint="Write beside it.")


def _check_scores(chosen: dict[str, Any], settings: TrainSettings) -> None:
    """What is said of scores is of no use to a run without any."""
    given = [f"--{name.replace('_', '-')}" for name in ("every", "num_images") if name in chosen]
    if given and not settings.metric_names:
        raise UsageError(
            f"{' and '.join(given)} without --metrics: nothing would be scored.",
            hint=f"Add --metrics swd, or leave out {' and '.join(given)}.",
        )


def _named(chosen: dict[str, Any]) -> dict[str, Any]:
    """The settings with metrics by their own names."""
    names = {
        name: ",".join(metric_names([chosen[name]], option=f"--{name}"))
        for name in ("metrics", "best")
        if chosen.get(name)
    }
    return {**chosen, **names}


def _settings(asked: _Asked, chosen: dict[str, Any], *, show: bool) -> tuple[Begin, TrainSettings]:
    """What the sitting begins with, and its settings: those of the run, or of a new one that can be written."""
    from pgtools.progan.run.begun import begin, resumed_settings
    from pgtools.progan.run.folder import RunFolder
    from pgtools.progan.trainer import Begin

    if asked.resume and asked.run is not None:
        settings = resumed_settings(asked.run, chosen, preset=asked.preset)
        return Begin(resume=True, preset=RunFolder(asked.run).read_config().get("preset")), settings
    preset = asked.preset or DEFAULT_PRESET
    began_with = Begin(preset=preset)
    if asked.resume_from is not None:
        networks, chosen = _networks(asked.resume_from, chosen)
        began_with = dataclasses.replace(networks, preset=preset)
    if show or asked.run is None:
        return began_with, settings_from(preset, chosen)
    return began_with, begin(asked.run, preset, chosen)


def _networks(file: Path, chosen: dict[str, Any]) -> tuple[Begin, dict[str, Any]]:
    """Networks to begin a run with, and settings of their shape."""
    from pgtools.progan.config import shape_settings
    from pgtools.progan.run.snapshot import read_networks
    from pgtools.progan.trainer import Begin
    from pgtools.runtime.files import sha256_of

    if file.suffix == ".pkl":
        raise UsageError(
            f"{file} is a pickle; a run begins with a file of pgtools.",
            hint=f"First: pgtools models import-karras {file} {file.with_suffix('.safetensors')}",
        )
    networks = read_networks(file)
    origin = {"file": str(file), "sha256": sha256_of(file), "images": networks.images, "lod": networks.lod}
    shape = shape_settings(networks.generator.shape)
    for name in shape.keys() & chosen.keys():
        if chosen[name] != shape[name]:
            raise UsageError(
                f"The networks in {file} have {name} {shape[name]}; asked for is {chosen[name]}.",
                hint="Leave the option out.",
            )
    return Begin(networks=networks, origin=origin), {**chosen, **shape}


def _print(asked: _Asked, progress: Progress, *, as_json: bool) -> None:
    result = {"run": str(asked.run), "images": progress.images, "seconds": round(progress.seconds, 1)}
    if as_json:
        print_json(result)
    else:
        print_table(("run", "images", "seconds"), [tuple(map(str, result.values()))])


def _scorer(source: ImageSource, settings: TrainSettings, device: torch.device) -> Score | None:
    """Training knows no metrics; it is handed some."""
    if not settings.metric_names:
        return None
    from pgtools.metrics.evaluate import Evaluator, Reading

    shared = EvaluateSettings(num_images=settings.num_images, seed=settings.seed)
    measures = make_measures(settings.metric_names, shared, Places())
    return Evaluator(measures, source, Reading(settings.num_images, settings.seed), device).score
