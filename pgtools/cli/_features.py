"""What the commands on the Inception network share: its file, the cache of features, how a set is opened and scored."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pgtools.cli._options import SOURCE, device_option, json_option
from pgtools.cli._output import say
from pgtools.cli._results import print_result
from pgtools.cli._sources import open_images, open_real
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.metrics.inception.cache import FeatureCache
    from pgtools.metrics.inception.network import NetworkFile
    from pgtools.metrics.measure import Measure

F = TypeVar("F", bound=Callable[..., Any])

_WEIGHTS = click.option("--weights", type=SOURCE, help="The network's file, if it is not in pgtools' cache folder.")
_CACHE = click.option(
    "--cache/--no-cache",
    "cached",
    default=True,
    help="Keep features on disk, so that a set seen before is not run through the network again.  [default: on]",
)
_CACHE_SIZE = click.option(
    "--cache-size",
    type=float,
    default=4.0,
    metavar="GB",
    help="What kept features may take; those used longest ago go first.  [default: 4.0 GB]",
)


@dataclass(frozen=True)
class FeatureOptions:
    """What the user said of network, cache, device and output.

    Attributes:
        weights: the network's file, or None for the one in the cache folder.
        cached: keep features.
        cache_size: how many, in GB.
        device: its name.
        as_json: print JSON.

    Raises:
        UsageError: the size is none.
    """

    weights: Path | None
    cached: bool
    cache_size: float
    device: str
    as_json: bool

    def __post_init__(self) -> None:
        if not 0 <= self.cache_size < math.inf:
            raise UsageError(f"--cache-size is {self.cache_size:g}; expected 0 or more, finite.")

    def network(self) -> NetworkFile:
        """Return the file of weights.

        Raises:
            MissingModelError: there is none; the hint says how to get it.
        """
        from pgtools.metrics.inception.network import MODEL, NetworkFile
        from pgtools.models.weights import find

        return NetworkFile.of(find(MODEL, self.weights))

    def cache(self) -> FeatureCache | None:
        """Return the cache of features, or None if the user wants none."""
        from pgtools.metrics.inception.cache import FeatureCache

        return FeatureCache(gigabytes=self.cache_size, say=say) if self.cached else None


def feature_options(function: F) -> F:
    """Add --weights, --cache, --cache-size, --device and --json; the callback gets them as `options`."""

    def with_options(*args: Any, **words: Any) -> Any:
        names = ("weights", "cached", "cache_size", "device", "as_json")
        return function(*args, options=FeatureOptions(**{name: words.pop(name) for name in names}), **words)

    with_options.__name__, with_options.__doc__ = function.__name__, function.__doc__
    with_options.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    for option in (json_option, device_option, _CACHE_SIZE, _CACHE, _WEIGHTS):
        with_options = option(with_options)
    return with_options  # type: ignore[return-value]


def print_score(measure: Measure, real: Path | None, fake: Path, options: FeatureOptions) -> None:
    """Measure FAKE, against REAL where there is one, and print the result.

    Args:
        measure: the metric; its settings name count, seed and batch.
        real: the real images, or None for a metric that takes none.
        fake: the generated ones, or what makes them.
        options: see FeatureOptions.
    """
    from pgtools.metrics.evaluate import Evaluator, Reading
    from pgtools.runtime.device import resolve_device

    settings = measure.settings  # type: ignore[attr-defined]
    where = resolve_device(options.device)
    reals = None if real is None else open_real(real)
    count = settings.num_images or (None if reals is None else len(reals))
    fakes = open_images(fake, count=count, seed=settings.seed, device=options.device)
    reading = Reading(settings.num_images, settings.seed, settings.batch)
    with Evaluator([measure], reals, reading, where, progress=True) as evaluator:
        (result,) = evaluator.score(fakes)
    print_result(result, as_json=options.as_json)
