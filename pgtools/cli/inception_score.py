"""`pgtools inception-score`: how sure and how varied a classifier finds the images of one set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import SOURCE, device_option, json_option, settings_options
from pgtools.cli._results import print_result
from pgtools.cli._sources import open_images
from pgtools.metrics.settings import InceptionSettings


@click.command()
@click.argument("fake", type=SOURCE)
@settings_options(InceptionSettings)
@click.option("--weights", type=SOURCE, help="The network's file, if it is not in pgtools' cache folder.")
@device_option
@json_option
def command(fake: Path, chosen: dict[str, Any], weights: Path | None, device: str, as_json: bool) -> None:
    """Print the Inception Score of a set of images; higher is better.

    FAKE is a folder, a ZIP, an LMDB or HDF5 store, or a training run. The figure is torch-fidelity's, with
    its network of 2015-12-05 (`pgtools models fetch inception-2015-12-05`). The score says something for images
    like ImageNet's and CIFAR-10's; for faces, use swd.

    \b
    Example:
      pgtools inception-score fakes.zip --weights weights-inception-2015-12-05-6726825d.pth
    """
    from pgtools.metrics.evaluate import score_inception
    from pgtools.models.weights import find
    from pgtools.runtime.device import resolve_device

    settings, where = InceptionSettings(**chosen), resolve_device(device)
    network = find("inception-2015-12-05", weights)
    images = open_images(fake, count=settings.num_images, seed=settings.seed, device=device)
    result = score_inception(images, settings, network, where, progress=True)
    print_result(result, spread="over splits", as_json=as_json)
