"""`pgtools store subset`: some images of a source as a store of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option, settings_options, yes_option
from pgtools.cli.store import _job
from pgtools.stores.jobs.settings import ConvertSettings, SubsetSettings


@click.command(name="subset", short_help="Some images of a source as a store.")
@click.argument("source", type=SOURCE)
@click.argument("out", type=OUTPUT, nargs=-1, required=True)
@settings_options(SubsetSettings)
@overwrite_option
@yes_option
@json_option
def command(source: Path, out: tuple[Path, ...], chosen: dict[str, Any], **how: bool) -> None:
    """Write the chosen images of SOURCE into OUT: those that meet every condition, in their order in SOURCE.

    Scores and splits are attributes of the images: `pgtools build-celebahq` and data sets' own files give them.
    Classes keep their numbers.

    \b
    Examples:
      pgtools store subset celeba-hq.lmdb best.lmdb --best 10000
      pgtools store subset faces.h5 part.h5 part.lmdb --indices 0:1000,5000 --label 3,7
    """
    _job.run([source], out, ConvertSettings(**chosen), **how)
