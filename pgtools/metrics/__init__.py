"""The metrics: functions on tensors, accumulators for a training loop, and one pass over stores for all of them.

    from pgtools.metrics import SlicedWasserstein, ms_ssim, swd_figures

Importing this package imports nothing heavy; a name imports its module when it is asked for. docs/evaluating.md shows
each at work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgtools.metrics.catalogue import CATALOGUE, Metric
    from pgtools.metrics.evaluate import Evaluator, PartlyScoredError, Reading
    from pgtools.metrics.inception.manifold import precision_recall
    from pgtools.metrics.inception.measure import (
        FidMeasure,
        InceptionScoreMeasure,
        KidMeasure,
        PrecisionRecallMeasure,
    )
    from pgtools.metrics.inception.network import NetworkFile
    from pgtools.metrics.inception.scores import (
        Statistics,
        feature_statistics,
        frechet_distance,
        inception_score,
        kernel_distance,
    )
    from pgtools.metrics.measure import Collector, Measure, Recipe
    from pgtools.metrics.msssim.measure import MsssimMeasure
    from pgtools.metrics.msssim.score import ms_ssim
    from pgtools.metrics.named import (
        FrechetInceptionDistance,
        InceptionScore,
        KernelInceptionDistance,
        MultiScaleSsim,
        PrecisionRecall,
        SlicedWasserstein,
        score_images,
        swd_figures,
    )
    from pgtools.metrics.settings import (
        FidSettings,
        InceptionSettings,
        KidSettings,
        MsssimSettings,
        PrecisionRecallSettings,
        SwdSettings,
    )
    from pgtools.metrics.streaming import Streaming
    from pgtools.metrics.swd.distance import normalise, sliced_wasserstein
    from pgtools.metrics.swd.measure import SwdMeasure
    from pgtools.metrics.swd.pyramid import laplacian_levels
    from pgtools.runtime.results import Figures, MetricResult

__all__ = [
    "CATALOGUE",
    "Collector",
    "Evaluator",
    "FidMeasure",
    "FidSettings",
    "Figures",
    "FrechetInceptionDistance",
    "InceptionScore",
    "InceptionScoreMeasure",
    "InceptionSettings",
    "KernelInceptionDistance",
    "KidMeasure",
    "KidSettings",
    "Measure",
    "Metric",
    "MetricResult",
    "MsssimMeasure",
    "MsssimSettings",
    "MultiScaleSsim",
    "NetworkFile",
    "PartlyScoredError",
    "PrecisionRecall",
    "PrecisionRecallMeasure",
    "PrecisionRecallSettings",
    "Reading",
    "Recipe",
    "SlicedWasserstein",
    "Statistics",
    "Streaming",
    "SwdMeasure",
    "SwdSettings",
    "feature_statistics",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "laplacian_levels",
    "ms_ssim",
    "normalise",
    "precision_recall",
    "score_images",
    "sliced_wasserstein",
    "swd_figures",
]

# Module → the public names in it. Subpackages bear the metrics' short names (swd, msssim), so no function here does.
_HOMES = {
    "pgtools.metrics.catalogue": "CATALOGUE Metric",
    "pgtools.metrics.evaluate": "Evaluator PartlyScoredError Reading",
    "pgtools.metrics.inception.manifold": "precision_recall",
    "pgtools.metrics.inception.measure": "FidMeasure InceptionScoreMeasure KidMeasure PrecisionRecallMeasure",
    "pgtools.metrics.inception.network": "NetworkFile",
    "pgtools.metrics.inception.scores": (
        "Statistics feature_statistics frechet_distance inception_score kernel_distance"
    ),
    "pgtools.metrics.measure": "Collector Measure Recipe",
    "pgtools.metrics.msssim.measure": "MsssimMeasure",
    "pgtools.metrics.msssim.score": "ms_ssim",
    "pgtools.metrics.named": (
        "FrechetInceptionDistance InceptionScore KernelInceptionDistance MultiScaleSsim PrecisionRecall "
        "SlicedWasserstein score_images swd_figures"
    ),
    "pgtools.metrics.settings": (
        "FidSettings InceptionSettings KidSettings MsssimSettings PrecisionRecallSettings SwdSettings"
    ),
    "pgtools.metrics.streaming": "Streaming",
    "pgtools.metrics.swd.distance": "normalise sliced_wasserstein",
    "pgtools.metrics.swd.measure": "SwdMeasure",
    "pgtools.metrics.swd.pyramid": "laplacian_levels",
    "pgtools.runtime.results": "Figures MetricResult",
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Return a public name, importing its module now."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
