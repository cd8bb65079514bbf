"""`pgtools generate`: images and videos from a run's generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, device_option, of_class, overwrite_option, settings_options
from pgtools.cli._output import say
from pgtools.progan.sampling.settings import GenerateSettings
from pgtools.progan.sampling.video_settings import VideoSettings


@click.command("generate", short_help="Write images of a generator.")
@click.argument("run", type=SOURCE)
@click.argument("out", type=OUTPUT, required=False)
@click.option("--grid", type=OUTPUT, metavar="FILE.png", help="Write all images into one PNG.")
@click.option(
    "--interpolation", type=OUTPUT, metavar="FILE", help="Write a loop through the latents: .mp4, .gif, .webp."
)
@click.option("--training-progress", type=OUTPUT, metavar="FILE", help="Write a video of all snapshots of a run.")
@settings_options(GenerateSettings)
@settings_options(VideoSettings)
@device_option
@overwrite_option
def command(run: Path, out: Path | None, chosen: dict[str, Any], device: str, overwrite: bool, **files: Path) -> None:
    """Write images of a generator: into a folder as OUT/000000.png, …, into a store, or into one grid.

    RUN is a folder that `pgtools train` wrote, a snapshot or checkpoint, networks that `pgtools models import-karras`
    wrote, or the authors' pickle. OUT is a ZIP, an LMDB or an HDF5 store if it is named so (.zip, .lmdb, .h5), with
    every level and the classes, else a folder.

    \b
    Examples:
      pgtools generate runs/faces --count 1000 fakes/
      pgtools generate runs/faces --snapshot best --count 50000 fakes.lmdb
      pgtools generate runs/faces --images 0-15,42 --truncation 0.7 --grid faces.png
      pgtools generate runs/digits --class-rows --grid digits.png
      pgtools generate runs/faces --interpolation faces.mp4 --training-progress growing.mp4
    """
    from pgtools.progan.sampling.job import Request, Targets, generate, video_settings
    from pgtools.runtime.device import resolve_device

    settings, targets = GenerateSettings(**of_class(GenerateSettings, chosen)), Targets(out, **files)
    video = video_settings(of_class(VideoSettings, chosen), settings, targets)
    for line in generate(Request(run, targets, settings, video, overwrite), resolve_device(device)):
        say(line)
