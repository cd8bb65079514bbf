"""Features in, figures out: torch-fidelity's own functions, so that every figure equals the library's, bit for bit.

Nothing here reads files or knows of sources, and nothing is printed.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.errors import ComputeError, InputError
from pgtools.metrics.settings import InceptionSettings, KidSettings

with warnings.catch_warnings():
    # Importing it puts its own filters before the user's; this takes them back.
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

Array = NDArray[Any]


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of a set's features.

    Attributes:
        mu: (d,).
        sigma: float64 (d, d).
    """

    mu: Array
    sigma: Array


def inception_score(logits: Array, settings: InceptionSettings | None = None) -> tuple[float, float]:
    """Return the Inception Score, exp(mean KL) as the mean over splits, and its deviation over them (population).

    Args:
        logits: float32 (N, classes), N ≥ splits.
        settings: splits, and whether and by which seed the rows are shuffled before they are split.

    Raises:
        InputError: fewer rows than splits.

    Source: Salimans et al. 2016.
    """
    settings = settings or InceptionSettings()
    check_splits(len(logits), settings.splits)
    found = isc_features_to_metric(
        torch.from_numpy(np.ascontiguousarray(logits)), settings.splits, settings.shuffle, settings.seed
    )
    return _number(found[KEY_METRIC_ISC_MEAN]), float(found[KEY_METRIC_ISC_STD])


def feature_statistics(features: Array) -> Statistics:
    """Return mean (float32, as the features) and covariance (float64, divided by N − 1) of features (N, d), N ≥ 2.

    Raises:
        InputError: there is no second row.
    """
    if len(features) < 2:
        raise InputError(f"Found {len(features)} image; a covariance takes at least 2.", hint="Give more images.")
    found = fid_features_to_statistics(torch.from_numpy(np.ascontiguousarray(features)))
    return Statistics(found["mu"], found["sigma"])


def frechet_distance(fake: Statistics, real: Statistics) -> float:
    """Return the Fréchet distance between two Gaussians, |μ1 − μ2|² + tr(Σ1 + Σ2 − 2 (Σ1 Σ2)^½).

    Rounding may leave equal sets a little under or over 0.

    Raises:
        InputError: they are of different layers.
        ComputeError: the covariances have no eigenvalues that can be computed.

    Source: Heusel et al. 2017.
    """
    if fake.mu.shape != real.mu.shape:
        raise InputError(
            f"The real statistics have {len(real.mu)} features, the generated ones {len(fake.mu)}.",
            hint="Both must be of one layer: see --layer.",
        )
    kind = np.result_type(fake.mu, real.mu)
    tables = [{"mu": each.mu.astype(kind), "sigma": each.sigma.astype(np.float64)} for each in (fake, real)]
    try:
        found = fid_statistics_to_metric(*tables, verbose=False)
    except np.linalg.LinAlgError as error:
        raise ComputeError(f"The eigenvalues of the covariances cannot be computed ({error}).") from None
    return _number(found[KEY_METRIC_FID])


def kernel_distance(fake: Array, real: Array, settings: KidSettings | None = None) -> tuple[float, float]:
    """Return the kernel distance (unbiased MMD², mean over random subsets) and its deviation over them (population).

    Args:
        fake: float32 (N, d), at least `subset_size` rows.
        real: float32 (M, d), at least as many.
        settings: subsets, kernel and seed.

    Raises:
        InputError: fewer images than a subset takes.

    Source: Bińkowski et al. 2018.
    """
    settings = settings or KidSettings()
    check_subsets(min(len(fake), len(real)), settings)
    found = kid_features_to_metric(
        torch.from_numpy(np.ascontiguousarray(fake)),
        torch.from_numpy(np.ascontiguousarray(real)),
        kid_subsets=settings.subsets,
        kid_subset_size=settings.subset_size,
        kid_kernel="poly",
        kid_kernel_poly_degree=settings.degree,
        kid_kernel_poly_gamma=settings.gamma,
        kid_kernel_poly_coef0=settings.coef0,
        rng_seed=settings.seed,
        verbose=False,
    )
    return _number(found[KEY_METRIC_KID_MEAN]), float(found[KEY_METRIC_KID_STD])


def check_splits(images: int, splits: int) -> None:
    """Raise InputError if there are fewer images than splits."""
    if images < splits:
        raise InputError(
            f"Found {images} images for {splits} splits; a split needs at least one.",
            hint="Give more images (the paper takes 50000), or pass fewer --splits.",
        )


def check_subsets(images: int, settings: KidSettings) -> None:
    """Raise InputError if a set has fewer images than a subset."""
    if images < settings.subset_size:
        raise InputError(
            f"Found {images} images; a subset of the kernel distance takes {settings.subset_size}.",
            hint=f"Give more images, or pass --subset-size {max(images, 2)} or less; "
            "figures of different subset sizes are not compared.",
        )


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise ComputeError(f"The figure is {value}: the features are too large for its formula.")
    return float(value)
