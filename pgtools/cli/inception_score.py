"""`pgtools inception-score`: how sure and how varied a classifier finds the images of one set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._features import FeatureOptions, feature_options, print_score
from pgtools.cli._options import SOURCE, settings_options
from pgtools.metrics.settings import InceptionSettings


@click.command(short_help="How sure and varied a classifier finds images.")
@click.argument("fake", type=SOURCE)
@settings_options(InceptionSettings)
@feature_options
def command(fake: Path, chosen: dict[str, Any], options: FeatureOptions) -> None:
    """Print the Inception Score of a set of images; higher is better.

    FAKE is a folder, a ZIP, an LMDB or HDF5 store, or a training run. The figure is torch-fidelity's, with
    its network of 2015-12-05 (`pgtools models fetch inception-2015-12-05`). The score says something for images
    like ImageNet's and CIFAR-10's; for faces, use swd.

    \b
    Example:
      pgtools inception-score fakes.zip --weights weights-inception-2015-12-05-6726825d.pth
    """
    from pgtools.metrics.inception.measure import InceptionScoreMeasure

    measure = InceptionScoreMeasure(InceptionSettings(**chosen), options.network(), options.cache())
    print_score(measure, None, fake, options)
