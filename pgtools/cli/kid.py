"""`pgtools kid`: the distance between real and generated images by a kernel on the features of a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._features import FeatureOptions, feature_options, print_score
from pgtools.cli._options import SOURCE, settings_options
from pgtools.metrics.settings import KidSettings


@click.command(short_help="Kernel distance of Inception features (KID).")
@click.argument("real", type=SOURCE)
@click.argument("fake", type=SOURCE)
@settings_options(KidSettings)
@feature_options
def command(real: Path, fake: Path, chosen: dict[str, Any], options: FeatureOptions) -> None:
    """Print the kernel Inception distance (KID) between two sets of images; lower is better.

    REAL and FAKE are folders, ZIPs, LMDB or HDF5 stores; FAKE may also be a training run. Unlike FID, it does not
    rise where images are few: a perfect generator gets 0 on average, at times a little less. The figure is
    torch-fidelity's, with its network of 2015-12-05 (`pgtools models fetch inception-2015-12-05`).

    \b
    Example:
      pgtools kid real.lmdb fakes.zip --num-images 5000
    """
    from pgtools.metrics.inception.measure import KidMeasure

    print_score(KidMeasure(KidSettings(**chosen), options.network(), options.cache()), real, fake, options)
