"""`pgtools store merge`: several sources end to end as one store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option, settings_options, yes_option
from pgtools.cli.store import _job
from pgtools.stores.jobs.settings import ConvertSettings, MergeSettings


@click.command(name="merge", short_help="Several sources end to end as one store.")
@click.argument("sources", metavar="SOURCE SOURCE…", type=SOURCE, nargs=-1, required=True)
@click.argument("out", type=OUTPUT)
@settings_options(MergeSettings)
@overwrite_option
@yes_option
@json_option
def command(sources: tuple[Path, ...], out: Path, chosen: dict[str, Any], **how: bool) -> None:
    """Write the images of every SOURCE, one after the other, into OUT.

    All have the same resolution. All have labels or none has: equal class numbers mean the same class.

    \b
    Example:
      pgtools store merge cats.lmdb more-cats.zip all-cats.lmdb
    """
    _job.run(sources, [out], ConvertSettings(**chosen), **how)
