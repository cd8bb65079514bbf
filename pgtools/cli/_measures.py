"""Names on the command line become metrics with their settings, all of one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pgtools.cli._output import say
from pgtools.errors import UsageError
from pgtools.metrics.catalogue import (
    FID,
    INCEPTION_SCORE,
    KID,
    MSSSIM,
    PRECISION_RECALL,
    RECOVERED_MODES,
    SWD,
)
from pgtools.runtime.settings import Settings, setting

if TYPE_CHECKING:
    from pgtools.metrics.inception.cache import FeatureCache
    from pgtools.metrics.inception.network import NetworkFile
    from pgtools.metrics.measure import Measure

S = TypeVar("S", bound=Settings)

NETWORK = "inception-2015-12-05"
ON_NETWORK = (INCEPTION_SCORE.name, FID.name, KID.name, PRECISION_RECALL.name)
NAMES = (SWD.name, MSSSIM.name, *ON_NETWORK, RECOVERED_MODES.name)
ALIASES = {"ms-ssim": MSSSIM.name, "is": INCEPTION_SCORE.name, "pr": PRECISION_RECALL.name}


@dataclass(frozen=True)
class EvaluateSettings(Settings):
    """What all metrics of one evaluation share; the rest is as each metric's own command has it by default."""

    num_images: int | None = setting(
        None, low=1, help="Images of FAKE, and of REAL where swd is measured. All if not given."
    )
    seed: int | None = setting(
        None,
        low=0,
        help="Names every random choice: of images, of a generator's latents, of what a metric draws. If not given, "
        "the first two take 0, and each metric draws by the seed that its own command has by default.",
    )
    batch: int = setting(64, low=1, unit="images", help="Read at once; no figure depends on it.")
    pairs: int | None = setting(
        None, low=1, help="Of msssim: random pairs. Half as many as images if not given, at most 10000."
    )
    subset_size: int | None = setting(
        None, low=2, unit="images", help="Of kid: size of a subset.  [default: 1000 images]"
    )
    memory: float | None = setting(
        None,
        low=0,
        unit="GB",
        help="For what all metrics keep of both sets; the rest lies in temporary files.  [default: half of what is "
        "free]",
    )


@dataclass(frozen=True)
class Places:
    """Files that metrics need, or may use.

    Attributes:
        weights: of the Inception network; pgtools' own copy if None.
        classifier: of digits, for recovered-modes.
        cache: keep features from one command to the next.
    """

    weights: Path | None = None
    classifier: Path | None = None
    cache: bool = True


def metric_names(given: Sequence[str], *, option: str = "-m") -> list[str]:
    """Return the metrics' own names, each once, in the order given.

    Args:
        given: names or their short forms, several to an entry with commas between.
        option: that they were given with.

    Raises:
        UsageError: there is no such metric, or none is named.
    """
    names = []
    for word in (word.strip().lower() for entry in given for word in entry.split(",")):
        if word and ALIASES.get(word, word) not in NAMES:
            shorter = ", ".join(f"{short} for {long}" for short, long in ALIASES.items())
            raise UsageError(f"There is no metric {word!r}; there are {', '.join(NAMES)} ({shorter}).")
        names += [ALIASES.get(word, word)] if word else []
    if not names:
        raise UsageError("No metric is named.", hint=f"Pass {option} with some of {', '.join(NAMES)}.")
    return list(dict.fromkeys(names))


def make_measures(names: Sequence[str], settings: EvaluateSettings, places: Places) -> list[Measure]:
    """Return the metrics of these names; files they need are looked for now, before anything long.

    Raises:
        MissingModelError: weights that a metric needs are not there.
        InputError: a file is not what it should be.
        UsageError: a setting is out of the range of a metric, or a file that a metric needs is not named.
    """
    makers: dict[str, Callable[[], Measure]] = {
        SWD.name: partial(_swd, settings),
        MSSSIM.name: partial(_msssim, settings),
        RECOVERED_MODES.name: partial(_recovered_modes, settings, places.classifier),
    }
    on_network = [name for name in names if name in ON_NETWORK]
    if on_network:
        network, cache = _network(places.weights, on_network), _cache(places.cache)
        makers |= {name: partial(_on_network, name, settings, network, cache) for name in on_network}
    return [makers[name]() for name in names]


def _swd(settings: EvaluateSettings) -> Measure:
    from pgtools.metrics.settings import SwdSettings
    from pgtools.metrics.swd.measure import SwdMeasure

    return SwdMeasure(_own(SwdSettings, settings))


def _msssim(settings: EvaluateSettings) -> Measure:
    from pgtools.metrics.msssim.measure import MsssimMeasure
    from pgtools.metrics.settings import MsssimSettings

    return MsssimMeasure(_own(MsssimSettings, settings))


def _recovered_modes(settings: EvaluateSettings, classifier: Path | None) -> Measure:
    from pgtools.metrics.modes.classifier import read_classifier
    from pgtools.metrics.modes.measure import RecoveredModesMeasure
    from pgtools.metrics.modes.settings import RecoveredModesSettings

    if classifier is None:
        raise UsageError(
            "recovered-modes names digits by a classifier.",
            hint="Pass --classifier FILE; `pgtools recovered-modes` trains one.",
        )
    return RecoveredModesMeasure(_own(RecoveredModesSettings, settings), read_classifier(classifier))


def _on_network(name: str, settings: EvaluateSettings, network: NetworkFile, cache: FeatureCache | None) -> Measure:
    from pgtools.metrics.inception import measure
    from pgtools.metrics.settings import FidSettings, InceptionSettings, KidSettings, PrecisionRecallSettings

    if name == INCEPTION_SCORE.name:
        return measure.InceptionScoreMeasure(_own(InceptionSettings, settings), network, cache)
    if name == FID.name:
        return measure.FidMeasure(_own(FidSettings, settings), network, cache)
    if name == KID.name:
        return measure.KidMeasure(_own(KidSettings, settings), network, cache)
    return measure.PrecisionRecallMeasure(_own(PrecisionRecallSettings, settings), network, cache)


def _network(weights: Path | None, names: Sequence[str]) -> NetworkFile:
    from pgtools.errors import MissingModelError
    from pgtools.metrics.inception.network import NetworkFile
    from pgtools.models.weights import find

    try:
        return NetworkFile.of(find(NETWORK, weights))
    except MissingModelError as error:
        asked = "metric was" if len(names) == 1 else "metrics were"
        raise MissingModelError(
            f"{error.message.rstrip('.')}; the {asked} asked for: {', '.join(names)}.", hint=error.hint
        ) from None


def _cache(wanted: bool) -> FeatureCache | None:
    from pgtools.metrics.inception.cache import FeatureCache

    return FeatureCache(say=say) if wanted else None


def _own(cls: type[S], shared: EvaluateSettings) -> S:
    """Return a metric's settings: what the evaluation was told and the metric knows, else the metric's default."""
    known = {field.name for field in dataclasses.fields(cls)}
    told: dict[str, Any] = {name: value for name, value in shared.as_dict().items() if value is not None}
    return cls(**{name: value for name, value in told.items() if name in known})
