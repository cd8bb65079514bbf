"""`pgtools models train-restorer`: photographs train a network that restores or enlarges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, settings_options
from pgtools.cli._output import print_json, say
from pgtools.errors import UsageError
from pgtools.restoration.training.settings import RestorerSettings

# Keys of a validation's figures: without the network, and with it.
PSNR = ("psnr_before", "psnr")


@click.command("train-restorer", short_help="Train a compact restorer on photographs.")
@click.argument("photos", type=SOURCE)
@click.argument("run", type=OUTPUT)
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@settings_options(RestorerSettings)
@json_option
def command(photos: Path, run: Path, resume: bool, chosen: dict[str, Any], as_json: bool) -> None:
    """Train a compact network on the folder PHOTOS; everything goes to the folder RUN.

    The task dejpeg learns to take JPEG's artifacts off, whatever the quality, and to leave a clean photo alone; sr4
    learns to enlarge four times. JPEGs are learnt from at half their size and below, where their own artifacts are
    gone. Every twelfth photo is kept for validation. RUN/dejpeg.safetensors or RUN/sr4.safetensors is the result, for
    `build-celebahq --restore` and `--superres`. Ctrl-C writes a checkpoint, --resume goes on from it.

    \b
    Example:
      pgtools models train-restorer photos/ runs/dejpeg --task dejpeg
      pgtools models train-restorer photos/ runs/dejpeg --resume
    """
    from pgtools.restoration.training.run import RestorerRun
    from pgtools.restoration.training.trainer import train_restorer

    if photos.is_dir() and photos.resolve() in (run.resolve(), *run.resolve().parents):
        raise UsageError(f"{run} lies in {photos}, the folder of the photographs.", hint="Write beside it.")
    settings = RestorerRun(run).resumed_settings(chosen) if resume else RestorerSettings(**chosen)
    trained = train_restorer(photos, run, settings, resume=resume)
    figures = trained.last_validation()
    if as_json:
        print_json({"weights": str(trained.weights), "steps": settings.steps, "validation": figures})
        return
    click.echo(str(trained.weights))
    for name, values in figures.items():
        decibels = " -> ".join("equal" if (value := values[key]) is None else f"{value:.2f} dB" for key in PSNR)
        say(f"{name}: PSNR {decibels}, SSIM {values['ssim']:.4f}")
