"""`pgtools msssim`: how alike the images of one set are, or how near those of two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import SOURCE, device_option, json_option, settings_options
from pgtools.cli._results import print_result
from pgtools.cli._sources import open_images
from pgtools.errors import UsageError
from pgtools.metrics.settings import MsssimSettings

if TYPE_CHECKING:
    from pgtools.runtime.results import MetricResult
    from pgtools.stores.source import ImageSource


@click.command(short_help="How alike the images of one set are (MS-SSIM).")
@click.argument("source", type=SOURCE)
@click.option(
    "--against",
    type=SOURCE,
    help="Another set of as many images: image i of SOURCE is compared with image i of this one, and higher is better.",
)
@settings_options(MsssimSettings)
@device_option
@json_option
def command(source: Path, against: Path | None, chosen: dict[str, Any], device: str, as_json: bool) -> None:
    """Print the mean MS-SSIM over random pairs of the images of one set; lower means more varied.

    SOURCE is a folder, a ZIP, an LMDB or HDF5 store, or a training run. Compare it with the value of the real
    images: a set less varied than they are has lost modes; a value below theirs is no better.

    With --against, images of two sets are compared one by one, e.g. reconstructions with their originals.

    \b
    Examples:
      pgtools msssim fake.zip
      pgtools msssim runs/faces --num-images 2000 --pairs 10000
      pgtools msssim restored.zip --against originals.zip
    """
    settings = MsssimSettings(**chosen)
    if against is not None and settings.pairs is not None:
        raise UsageError("--pairs draws pairs of one set; with --against, image i of both sets make a pair.")
    images = open_images(source, count=settings.num_images, seed=settings.seed, device=device)
    if against is None:
        result = _varied(images, settings, device)
    else:
        others = open_images(against, count=settings.num_images, seed=settings.seed, device=device)
        result = _near(images, others, settings, device)
    print_result(result, as_json=as_json)


def _varied(images: ImageSource, settings: MsssimSettings, device: str) -> MetricResult:
    from pgtools.metrics.evaluate import Evaluator, Reading
    from pgtools.metrics.msssim.measure import MsssimMeasure
    from pgtools.runtime.device import resolve_device

    reading = Reading(settings.num_images, settings.seed, 2 * settings.batch)
    with Evaluator([MsssimMeasure(settings)], None, reading, resolve_device(device), progress=True) as evaluator:
        (result,) = evaluator.score(images)
    return result


def _near(images: ImageSource, others: ImageSource, settings: MsssimSettings, device: str) -> MetricResult:
    from pgtools.metrics.evaluate import Reading
    from pgtools.metrics.msssim.against import score_against
    from pgtools.runtime.device import resolve_device

    reading = Reading(settings.num_images, settings.seed, settings.batch)
    return score_against(images, others, reading, resolve_device(device), progress=True)
