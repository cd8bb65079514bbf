"""`pgtools fid`: the distance between real and generated images in the features of a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._features import FeatureOptions, feature_options, print_score
from pgtools.cli._options import SOURCE, settings_options
from pgtools.errors import UsageError
from pgtools.metrics.settings import FidSettings


@click.command(short_help="Distance of Inception features (FID).")
@click.argument("images", nargs=-1, type=SOURCE, metavar="[REAL] FAKE")
@settings_options(FidSettings)
@click.option("--real-stats", type=SOURCE, help="mu and sigma of the real images in an .npz, in place of REAL.")
@feature_options
def command(images: tuple[Path, ...], chosen: dict[str, Any], real_stats: Path | None, options: FeatureOptions) -> None:
    """Print the Fréchet Inception distance (FID) between two sets of images; lower is better.

    REAL and FAKE are folders, ZIPs, LMDB or HDF5 stores; FAKE may also be a training run. They may differ in
    number, but a figure is comparable only with others of the same numbers: fewer images, higher FID. The figure is
    torch-fidelity's, with its network of 2015-12-05 (`pgtools models fetch inception-2015-12-05`).

    \b
    Example:
      pgtools fid real.lmdb fakes.zip --num-images 10000
      pgtools fid fakes.zip --real-stats celeba-stats.npz
    """
    from pgtools.metrics.inception.measure import FidAgainstStatistics, FidMeasure
    from pgtools.metrics.inception.statistics import StatisticsFile

    if len(images) != (2 if real_stats is None else 1):
        raise _wrong_count(len(images), real_stats)
    settings = FidSettings(**chosen)
    if real_stats is None:
        print_score(FidMeasure(settings, options.network(), options.cache()), images[0], images[1], options)
        return
    statistics = StatisticsFile.of(real_stats)
    statistics.read(int(settings.layer))
    measure = FidAgainstStatistics(settings, options.network(), statistics, options.cache())
    print_score(measure, None, images[0], options)


def _wrong_count(count: int, real_stats: Path | None) -> UsageError:
    found = (
        "No set of images is" if count == 0 else "1 set of images is" if count == 1 else f"{count} sets of images are"
    )
    if real_stats is not None:
        return UsageError(f"{found} named; expected FAKE alone, since --real-stats stands for REAL.")
    hint = "Name the real images first, or pass --real-stats FILE.npz in their place." if count == 1 else ""
    return UsageError(f"{found} named; expected REAL and FAKE.", hint=hint or "Try `pgtools fid --help`.")
