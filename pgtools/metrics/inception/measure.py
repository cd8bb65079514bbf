"""The metrics on the Inception network as measures: what they collect, their protocol, their figures with errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from pgtools.metrics.catalogue import FID, INCEPTION_SCORE, KID, PRECISION_RECALL, Metric
from pgtools.metrics.inception import intervals, kernels, manifold, perfect, scores
from pgtools.metrics.inception.cache import FeatureCache
from pgtools.metrics.inception.features import Features, FeatureSet, recipe_for
from pgtools.metrics.inception.network import LOGITS, NetworkFile
from pgtools.metrics.inception.statistics import StatisticsFile
from pgtools.metrics.measure import Measure, Recipe, Role, shown_bar
from pgtools.metrics.settings import FidSettings, InceptionSettings, KidSettings, PrecisionRecallSettings
from pgtools.runtime.results import Figures

_VALUE = "value"
_EQUAL = "indistinguishable from real at this N"


@dataclass(frozen=True)
class InceptionScoreMeasure(Measure):
    """Inception Score.

    Attributes:
        settings: see InceptionSettings.
        network: the weights.
        cache: where features are kept, or None.
    """

    metric: ClassVar[Metric] = INCEPTION_SCORE
    settings: InceptionSettings
    network: NetworkFile
    cache: FeatureCache | None = None

    def recipe(self, role: Role) -> Features:
        """Return the recipe for features of all layers."""
        return recipe_for(self.network, self.cache)

    def check(self, real: int | None, fake: int) -> None:
        """Raise InputError if there are fewer images than splits."""
        scores.check_splits(fake, self.settings.splits)

    def protocol(self) -> dict[str, Any]:
        """Return settings and the hash of the weights."""
        return {**self.settings.protocol(), "weights": self.network.sha256}

    def compute(self, real: Any, fake: FeatureSet, *, progress: bool) -> Figures:
        """Return the score, its standard error by bootstrap, and its deviation over splits."""
        logits = fake.features(LOGITS)
        value, over_splits = scores.inception_score(logits, self.settings)
        if self.settings.bootstrap < 2 or len(logits) < 2:
            return Figures({_VALUE: value}, scatter={"over splits": {_VALUE: over_splits}})
        error = intervals.drawn_error(value, intervals.inception_score_draws(logits, self.settings))
        return Figures({_VALUE: value}, **_told({_VALUE: error}), scatter={"over splits": {_VALUE: over_splits}})


@dataclass(frozen=True)
class FidMeasure(Measure):
    """Fréchet Inception distance between two sets of images.

    Attributes:
        settings: see FidSettings.
        network: the weights.
        cache: where features are kept, or None.
    """

    metric: ClassVar[Metric] = FID
    takes_real: ClassVar[bool] = True
    settings: FidSettings
    network: NetworkFile
    cache: FeatureCache | None = None

    def recipe(self, role: Role) -> Features:
        """Return the recipe for features of all layers."""
        return recipe_for(self.network, self.cache)

    def protocol(self) -> dict[str, Any]:
        """Return settings and the hash of the weights."""
        return {**self.settings.protocol(), "weights": self.network.sha256}

    def compute(self, real: FeatureSet, fake: FeatureSet, *, progress: bool) -> Figures:
        """Return the distance with its standard error, and what a perfect generator would get."""
        layer, floor = self.settings.layer, None
        with shown_bar("distance", 3, progress) as advance:
            stats = _once(real, ("statistics", layer), lambda: scores.feature_statistics(real.features(layer)))
            if self.settings.errors and perfect.enough(len(fake), len(real), int(layer)):
                floor = _once(real, ("floor", layer, len(fake)), lambda: self._floor(real, stats, len(fake)))
            advance(1)
            figures = _frechet(fake, stats, real.memo, self.settings, floor, advance)
        few = min(len(fake), len(real) // 2)
        if floor is None and not figures.verdict and self.settings.errors:
            return replace(figures, verdict={_VALUE: f"no floor: {few} images are under twice the {layer} features"})
        return figures

    def _floor(self, real: FeatureSet, stats: scores.Statistics, images: int) -> perfect.FrechetFloor | None:
        features, layer, seed = real.features(self.settings.layer), self.settings.layer, self.settings.seed
        axes = _once(real, ("axes", layer), lambda: perfect.axes_of(stats.sigma))
        kernel = _once(real, ("kernel", layer), lambda: perfect.frechet_kernel(features, stats, axes, seed))
        return perfect.frechet_floor(features, axes, kernel, images, seed)


@dataclass(frozen=True)
class FidAgainstStatistics(Measure):
    """Fréchet Inception distance of generated images from the statistics of real ones, where images are not at hand.

    Attributes:
        settings: see FidSettings.
        network: the weights, which must be those of the statistics.
        statistics: of the real images.
        cache: where features are kept, or None.
    """

    metric: ClassVar[Metric] = FID
    settings: FidSettings
    network: NetworkFile
    statistics: StatisticsFile
    cache: FeatureCache | None = None

    def recipe(self, role: Role) -> Recipe:
        """Return the recipe for features of all layers."""
        return recipe_for(self.network, self.cache)

    def protocol(self) -> dict[str, Any]:
        """Return settings and the hashes of the weights and of the statistics."""
        known = {"real_statistics": self.statistics.sha256, "weights": self.network.sha256}
        return {**self.settings.protocol(), **known}

    def compute(self, real: Any, fake: FeatureSet, *, progress: bool) -> Figures:
        """Return the distance with its standard error."""
        stats = self.statistics.read(int(self.settings.layer))
        with shown_bar("distance", 2, progress) as advance:
            return _frechet(fake, stats, {}, self.settings, None, advance)


@dataclass(frozen=True)
class KidMeasure(Measure):
    """Kernel Inception distance between two sets of images.

    Attributes:
        settings: see KidSettings.
        network: the weights.
        cache: where features are kept, or None.
    """

    metric: ClassVar[Metric] = KID
    takes_real: ClassVar[bool] = True
    settings: KidSettings
    network: NetworkFile
    cache: FeatureCache | None = None

    def recipe(self, role: Role) -> Features:
        """Return the recipe for features of all layers."""
        return recipe_for(self.network, self.cache)

    def check(self, real: int | None, fake: int) -> None:
        """Raise InputError if a set has fewer images than a subset."""
        scores.check_subsets(fake if real is None else min(real, fake), self.settings)

    def protocol(self) -> dict[str, Any]:
        """Return settings and the hash of the weights."""
        return {**self.settings.protocol(), "weights": self.network.sha256}

    def compute(self, real: FeatureSet, fake: FeatureSet, *, progress: bool) -> Figures:
        """Return the distance with its standard error, its deviation over subsets, and the scatter about 0."""
        of_fake, of_real = fake.features(self.settings.layer), real.features(self.settings.layer)
        with shown_bar("distance", 2, progress) as advance:
            value, over_subsets = scores.kernel_distance(of_fake, of_real, self.settings)
            advance(1)
            scatter = {"over subsets": {_VALUE: over_subsets}}
            if not self.settings.errors or min(len(of_fake), len(of_real)) < 4:
                return Figures({_VALUE: value}, scatter=scatter)
            spread = kernels.kernel_error(of_fake, of_real, self.settings)
            scatter_about_0, limit = kernels.kernel_limit(of_fake, of_real, self.settings)
            advance(1)
        return Figures(
            {_VALUE: value},
            **_told({_VALUE: intervals.normal_error(value, spread)}),
            scatter=scatter,
            # The estimate is unbiased: that of a perfect generator scatters about 0.
            floor={_VALUE: 0.0},
            floor_spread={_VALUE: scatter_about_0},
            verdict={_VALUE: _verdict(value, limit, limit, "the limit of the floor")},
        )


@dataclass(frozen=True)
class PrecisionRecallMeasure(Measure):
    """Precision, recall, and their harmonic mean.

    Attributes:
        settings: see PrecisionRecallSettings.
        network: the weights.
        cache: where features are kept, or None.
    """

    metric: ClassVar[Metric] = PRECISION_RECALL
    takes_real: ClassVar[bool] = True
    settings: PrecisionRecallSettings
    network: NetworkFile
    cache: FeatureCache | None = None

    def recipe(self, role: Role) -> Features:
        """Return the recipe for features of all layers."""
        return recipe_for(self.network, self.cache)

    def check(self, real: int | None, fake: int) -> None:
        """Raise InputError if a set has too few images for a neighbourhood."""
        manifold.check_neighbourhood(fake if real is None else min(real, fake), self.settings.neighbourhood)

    def protocol(self) -> dict[str, Any]:
        """Return settings and the hash of the weights."""
        return {**self.settings.protocol(), "weights": self.network.sha256}

    def compute(self, real: FeatureSet, fake: FeatureSet, *, progress: bool) -> Figures:
        """Return the parts precision, recall and f1, each with its standard error."""
        settings = self.settings
        of_fake, of_real = fake.features(settings.layer), real.features(settings.layer)
        drawn = settings.bootstrap >= 2 and len(of_fake) // 2 > settings.neighbourhood
        wide = max(intervals.WIDE, 8 * settings.neighbourhood) if drawn else 0
        with shown_bar("distances", len(of_fake) + 2 * len(of_real), progress) as advance:
            found = manifold.membership(
                of_fake, of_real, neighbourhood=settings.neighbourhood, wide=wide, advance=advance
            )
        precision, recall = manifold.share(found.fake_inside), manifold.share(found.real_inside)
        values = {"precision": precision, "recall": recall, "f1": float(_f1(precision, recall))}
        if not drawn:
            return Figures(values)
        precisions, recalls = intervals.recall_draws(found, settings.neighbourhood, settings.bootstrap, settings.seed)
        errors = {
            "precision": intervals.binomial_error(found.fake_inside),
            "recall": intervals.drawn_error(recall, recalls),
            "f1": intervals.drawn_error(values["f1"], _f1(precisions, recalls)),
        }
        return Figures(values, **_told(errors, low=0.0, high=1.0))


def _frechet(
    fake: FeatureSet,
    real: scores.Statistics,
    memo: dict[object, Any],
    settings: FidSettings,
    floor: perfect.FrechetFloor | None,
    advance: Callable[[int], None],
) -> Figures:
    """Return the Fréchet distance of a set from statistics, with its error."""
    features = fake.features(settings.layer)
    own = scores.feature_statistics(features)
    value = scores.frechet_distance(own, real)
    advance(1)
    verdict = {_VALUE: _few(len(fake), int(settings.layer))} if len(fake) < int(settings.layer) else {}
    if not settings.errors:
        return Figures({_VALUE: value}, verdict=verdict)
    if ("root", settings.layer) not in memo:
        memo["root", settings.layer] = intervals.root(real.sigma)
    error = intervals.normal_error(value, intervals.frechet_error(features, own, real, memo["root", settings.layer]))
    advance(1)
    if floor is not None:
        verdict = {_VALUE: _verdict(value, floor.limit, floor.mean, "the floor")}
    return Figures(
        {_VALUE: value},
        **_told({_VALUE: error}),
        floor={} if floor is None else {_VALUE: floor.mean},
        floor_spread={} if floor is None else {_VALUE: floor.spread},
        verdict=verdict,
    )


def _verdict(value: float, limit: float, unit: float, name: str) -> str:
    """Say in a metric's common words whether a distance is beyond what 99 of 100 perfect generators get."""
    if value <= limit:
        return _EQUAL
    return f"not like real: {value / unit:.1f} × {name}" if unit > 0 else "not like real"


def _few(images: int, features: int) -> str:
    return f"{images} images are fewer than {features} features: far above what many images would give"


def _f1(precision: Any, recall: Any) -> Any:
    return 2 * precision * recall / np.maximum(1e-5, precision + recall)


def _told(errors: dict[str, intervals.Error], *, low: float = -np.inf, high: float = np.inf) -> dict[str, Any]:
    """Return errors as the tables of `Figures`, intervals clipped to a metric's range."""
    ranges = {part: [max(low, error.low), min(high, error.high)] for part, error in errors.items()}
    return {"spread": {part: error.spread for part, error in errors.items()}, "interval": ranges}


def _once(features: FeatureSet, name: object, compute: Callable[[], Any]) -> Any:
    """Return what `compute` gives, computed once for a set of features."""
    if name not in features.memo:
        features.memo[name] = compute()
    return features.memo[name]
