"""`pgtools precision-recall`: how many generated images lie among the real ones, and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._features import FeatureOptions, feature_options, print_score
from pgtools.cli._options import SOURCE, settings_options
from pgtools.metrics.settings import PrecisionRecallSettings


@click.command(short_help="How believable images are, how much they cover.")
@click.argument("real", type=SOURCE)
@click.argument("fake", type=SOURCE)
@settings_options(PrecisionRecallSettings)
@feature_options
def command(real: Path, fake: Path, chosen: dict[str, Any], options: FeatureOptions) -> None:
    """Print precision and recall of generated images; higher is better.

    Precision is the share of FAKE that looks like some of REAL, recall the share of REAL that FAKE comes near to:
    a generator that drops kinds of images keeps its precision and loses recall. REAL and FAKE are folders, ZIPs,
    LMDB or HDF5 stores; FAKE may also be a training run. The figures are torch-fidelity's on the features
    of the Inception network (`pgtools models fetch inception-2015-12-05`), not of VGG-16.

    \b
    Example:
      pgtools precision-recall real.lmdb fakes.zip --num-images 10000
    """
    from pgtools.metrics.inception.measure import PrecisionRecallMeasure

    measure = PrecisionRecallMeasure(PrecisionRecallSettings(**chosen), options.network(), options.cache())
    print_score(measure, real, fake, options)
