"""`pgtools store convert`: any source becomes any format that pgtools writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option, settings_options, yes_option
from pgtools.cli.store import _job
from pgtools.stores.jobs.settings import ConvertSettings


@click.command(name="convert", short_help="Any source into any format.")
@click.argument("source", type=SOURCE)
@click.argument("out", type=OUTPUT, nargs=-1, required=True)
@settings_options(ConvertSettings)
@overwrite_option
@yes_option
@json_option
def command(source: Path, out: tuple[Path, ...], chosen: dict[str, Any], **how: bool) -> None:
    """Write the images of SOURCE into OUT, or into several at once.

    The name of an output tells its format (NAME.lmdb, NAME.h5 and whatever else pgtools writes), or --to does. Names,
    attributes and labels come along. Each output is written aside and renamed when it is whole. Images of a folder, a
    ZIP or a data set may have any size: --crop and --resize make them squares.

    \b
    Examples:
      pgtools store convert photos/ photos.lmdb photos.h5 --crop centre --resize 256
      pgtools store convert celeba-hq.lmdb celeba-hq-256.h5 --level 256 --best 10000
    """
    _job.run([source], out, ConvertSettings(**chosen), **how)
