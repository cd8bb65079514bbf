"""`pgtools msssim`: how alike the images of one set are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import SOURCE, device_option, json_option, settings_options
from pgtools.cli._results import print_result
from pgtools.cli._sources import open_images
from pgtools.metrics.settings import MsssimSettings


@click.command()
@click.argument("fake", type=SOURCE)
@settings_options(MsssimSettings)
@device_option
@json_option
def command(fake: Path, chosen: dict[str, Any], device: str, as_json: bool) -> None:
    """Print the mean MS-SSIM over random pairs of the images of one set; lower means more varied.

    FAKE is a folder, a ZIP, an LMDB or HDF5 store, or a training run. Compare it with the value of the real
    images: a set less varied than they are has lost modes; a value below theirs is no better.

    \b
    Examples:
      pgtools msssim fake.zip
      pgtools msssim runs/faces --num-images 2000 --pairs 10000
    """
    from pgtools.metrics.evaluate import score_msssim
    from pgtools.runtime.device import resolve_device

    settings, where = MsssimSettings(**chosen), resolve_device(device)
    images = open_images(fake, count=settings.num_images, seed=settings.seed, device=device)
    result = score_msssim(images, settings, where, progress=True)
    print_result(result, spread="standard error", as_json=as_json)
