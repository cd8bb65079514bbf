"""`pgtools neighbours`: the training images nearest to generated ones, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, device_option, json_option, overwrite_option, settings_options
from pgtools.cli._output import print_json, print_table, say
from pgtools.cli._sources import open_images
from pgtools.errors import UsageError
from pgtools.metrics.neighbours.settings import INCEPTION, NeighboursSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgtools.metrics.measure import Recipe
    from pgtools.metrics.neighbours.find import Found


@click.command(short_help="Show the training images nearest to generated ones.")
@click.argument("training", type=SOURCE)
@click.argument("fake", type=SOURCE)
@click.option("--out", type=OUTPUT, required=True, metavar="FILE.png", help="The picture.")
@settings_options(NeighboursSettings)
@click.option("--weights", type=SOURCE, help="Of the Inception network, if they are not in pgtools' cache folder.")
@overwrite_option
@device_option
@json_option
def command(
    training: Path,
    fake: Path,
    out: Path,
    chosen: dict[str, Any],
    weights: Path | None,
    overwrite: bool,
    device: str,
    as_json: bool,
) -> None:
    """Write a picture of generated images and the images of TRAINING nearest to them: has it learnt by heart?

    A row shows a generated image, and to its right its neighbours, the nearest first. FAKE is a training run, a
    snapshot, a folder, a ZIP or a store. Distances between pixels are in levels of 255. A generated image that equals
    a training image is told.

    \b
    Example:
      pgtools neighbours faces.lmdb runs/faces --out neighbours.png --crop 0.5
    """
    from pgtools.imaging.photo import encode_png
    from pgtools.metrics.neighbours.find import check, find_neighbours, picture_of
    from pgtools.runtime.device import resolve_device
    from pgtools.runtime.files import check_writable, written_aside
    from pgtools.stores.opening import open_source

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out is {out}; the picture is a PNG.", hint="Name a file that ends in .png.")
    settings, where = NeighboursSettings(**chosen), resolve_device(device)
    check_writable(out, overwrite=overwrite, what="file")
    reals = open_source(training)
    fakes = open_images(fake, count=settings.count, seed=settings.seed, device=device)
    check(reals, fakes, settings)
    features = _features(settings, weights)
    found = find_neighbours(reals, fakes, settings, where, features=features, progress=True)
    with written_aside(out) as aside:
        aside.write_bytes(encode_png(picture_of(reals, fakes, found)))
    _print(found, settings, training=training, fake=fake, out=out, as_json=as_json)


def _features(settings: NeighboursSettings, weights: Path | None) -> Recipe | None:
    """Return what collects features, where these are compared; the weights are looked for now."""
    if settings.space != INCEPTION:
        if weights is not None:
            raise UsageError("--weights is of --space inception.", hint="Leave it out, or pass --space inception.")
        return None
    from pgtools.models.weights import find

    network = find("inception-2015-12-05", weights)  # before the seconds that the network's library takes to import
    from pgtools.metrics.inception.cache import FeatureCache
    from pgtools.metrics.inception.features import recipe_for
    from pgtools.metrics.inception.network import NetworkFile

    return recipe_for(NetworkFile.of(network), FeatureCache())


def _print(
    found: Sequence[Found], settings: NeighboursSettings, *, training: Path, fake: Path, out: Path, as_json: bool
) -> None:
    from dataclasses import asdict

    copies = sum(one.is_copy for one in found)
    if as_json:
        facts = {"training": str(training), "fake": str(fake), "picture": str(out), "settings": settings.as_dict()}
        print_json({**facts, "copies": copies, "neighbours": [asdict(one) for one in found]})
    else:
        what = {"l2": "root mean square of the pixels' difference", "l1": "mean difference of the pixels"}
        inception = "Euclidean distance of Inception's features"
        click.echo(f"distance: {inception if settings.space == INCEPTION else what[settings.distance]}\n")
        rows = [_row(one) for one in found]
        last = f"distance of no. {settings.nearest}"
        print_table(["generated image", "nearest training image", "distance", last, "copy"], rows)
    noun = "is an exact copy of a training image" if copies == 1 else "are exact copies of training images"
    say(f"{copies or 'None'} of {len(found)} generated images {noun}. The picture is {out}.")


def _row(one: Found) -> list[str]:
    first, last = one.nearest[0], one.nearest[-1]
    cells = [one.name, first.name, f"{first.distance:.3f}", f"{last.distance:.3f}"]
    return [*cells, "yes" if one.is_copy else ""]
