"""`pgtools models measure`: how good a network is, on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import SOURCE, json_option, settings_options
from pgtools.cli._output import print_json, print_table
from pgtools.restoration.measuring.settings import MeasureSettings


@click.command("measure", short_help="Measure a network on photographs.")
@click.argument("network")
@click.argument("photos", type=SOURCE, nargs=-1, required=True)
@settings_options(MeasureSettings)
@json_option
def command(network: str, photos: tuple[Path, ...], chosen: dict[str, Any], as_json: bool) -> None:
    """Measure NETWORK, a name or a weights file, on PHOTOS: files, or folders of them.

    A restorer sees each photo as JPEG of quality 10 to 95: PSNR (RGB), SSIM and blockiness before and after. It also
    sees the clean photo: how much it changes, and what that costs an enlargement that follows. An enlarger sees each
    photo shrunk by antialiased bicubic: PSNR and SSIM of luminance, beside bicubic and Lanczos.

    \b
    Examples:
      pgtools models measure pgtools-dejpeg photos/
      pgtools models measure pgtools-sr4 photos/ --json > sr4.json
    """
    from pgtools.restoration.measuring.evaluate import evaluate, plain
    from pgtools.restoration.measuring.tables import tables_of

    found = evaluate(network, photos, MeasureSettings(**chosen))
    if as_json:
        print_json(plain(found))
        return
    for table in tables_of(found):
        print_table(table.columns, table.rows, title=table.title)
        click.echo()
