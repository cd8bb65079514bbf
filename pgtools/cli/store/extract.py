"""`pgtools store extract`: image files out of a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option, settings_options, yes_option
from pgtools.cli.store import _job
from pgtools.stores.jobs.settings import ConvertSettings, ExtractSettings


@click.command(name="extract", short_help="Image files out of a source.")
@click.argument("source", type=SOURCE)
@click.argument("folder", type=OUTPUT)
@settings_options(ExtractSettings)
@overwrite_option
@yes_option
@json_option
def command(source: Path, folder: Path, chosen: dict[str, Any], **how: bool) -> None:
    """Write the chosen images of SOURCE into FOLDER as image files under their own names.

    \b
    Example:
      pgtools store extract celeba-hq.lmdb faces/ --indices 0:100 --level 256
    """
    _job.run([source], [folder], ConvertSettings(to="folder", **chosen), **how)
