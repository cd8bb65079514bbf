"""`pgtools swd`: the distance between real and generated patches, level by level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import SOURCE, device_option, json_option, settings_options
from pgtools.cli._results import print_result
from pgtools.cli._sources import open_images, open_real
from pgtools.metrics.settings import SwdSettings


@click.command(short_help="Distance of patches, level by level (SWD).")
@click.argument("real", type=SOURCE)
@click.argument("fake", type=SOURCE)
@settings_options(SwdSettings)
@device_option
@json_option
def command(real: Path, fake: Path, chosen: dict[str, Any], device: str, as_json: bool) -> None:
    """Print the sliced Wasserstein distance (× 1000) between two sets of images; lower is better.

    REAL and FAKE are folders, ZIPs, LMDB or HDF5 stores; FAKE may also be a training run. The distance is
    measured on patches of every level from the images' size down to 16², each on its own: the level tells
    which size of detail is off. A perfect generator would not get 0 but the floor, which falls with the
    number of images; the verdict says of every level whether the distance is above it.

    \b
    Example:
      pgtools swd real.lmdb fake.zip --num-images 2048
    """
    from pgtools.metrics.evaluate import Evaluator, Reading
    from pgtools.metrics.swd.measure import SwdMeasure
    from pgtools.runtime.device import resolve_device

    settings, where = SwdSettings(**chosen), resolve_device(device)
    reals = open_real(real)
    fakes = open_images(fake, count=settings.num_images or len(reals), seed=settings.seed, device=device)
    reading = Reading(settings.num_images, settings.seed, settings.batch)
    with Evaluator([SwdMeasure(settings)], reals, reading, where, progress=True) as evaluator:
        (result,) = evaluator.score(fakes)
    print_result(result, as_json=as_json)
