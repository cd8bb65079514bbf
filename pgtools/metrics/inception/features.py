"""What every metric on the Inception network collects of a set: the features of each image, run once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.held import Budget, Held
from pgtools.metrics.inception.cache import FeatureCache, Key
from pgtools.metrics.inception.network import WIDTHS, NetworkFile, run, shared_network
from pgtools.metrics.measure import Collector, Parts, Recipe, SetOfImages, in_pieces


class FeatureSet(Collector):
    """The features of a set, by layer and image number.

    A layer takes 4 bytes a feature and image, all together 16 KB an image; what does not fit the budget lies in a
    temporary file.

    Args:
        images: the set.
        network: the weights.
        device: where the network runs.
        cache: where the features are kept from one command to the next, or None.
        budget: memory for the features; half of what is free if not given.

    Attributes:
        memo: what metrics computed from these features and may want again, e.g. their covariance.

    Raises:
        InputError: the file of weights is none.
    """

    def __init__(
        self,
        images: SetOfImages,
        network: NetworkFile,
        device: torch.device,
        cache: FeatureCache | None = None,
        budget: Budget | None = None,
    ) -> None:
        budget = budget or Budget()
        self.name, self.memo = images.name, dict[object, Any]()
        self._held: dict[str, Held] = {}
        self._seen = np.zeros(images.count, bool)
        self._cache, self._network = cache, None
        self._key = Key(images.fingerprint, images.count, images.resolution, network.sha256)
        try:
            for layer, width in WIDTHS.items():
                self._held[layer] = Held(images.count, (width,), np.float32, budget)
            self.complete = bool(cache and images.fingerprint and cache.read(self._key, self._arrays(), images.name))
            if not self.complete:
                # Now, so that a wrong file of weights is told before the images are read.
                self._network = shared_network(network, device)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._seen)

    def features(self, layer: str) -> NDArray[np.float32]:
        """Return the features of a layer, float32 (N, width), in the order of the set.

        Raises:
            InputError: the network gave values that are no numbers.
        """
        found = self._held[layer].array
        if not np.isfinite(found).all():
            raise InputError(
                f"The network's features of {self.name} are no finite numbers.",
                hint="Its weights are damaged: fetch them again.",
            )
        return found

    def update(self, images: Tensor, indices: Sequence[int]) -> None:
        """Run the network on some images."""
        for layer, features in run(self._network, images).items():
            self._held[layer].array[list(indices)] = features.cpu().numpy()
        self._seen[list(indices)] = True

    def parts(self) -> Iterator[Parts]:
        """Yield layer → (image numbers, features) of what this process saw."""
        for numbers in in_pieces(np.flatnonzero(self._seen), sum(held.row_bytes for held in self._held.values())):
            yield {layer: (numbers, held.array[numbers]) for layer, held in self._held.items()}

    def absorb(self, parts: Parts) -> None:
        """Take the features of images that another process saw."""
        for layer, (numbers, rows) in parts.items():
            self._held[layer].array[numbers] = rows
            self._seen[numbers] = True

    def finish(self) -> None:
        """Write the features into the cache."""
        self._network = None
        if self._cache is not None and self._key.fingerprint and self._seen.all():
            self._cache.write(self._key, self._arrays())

    def close(self) -> None:
        """Let go of memory and temporary files."""
        self._network = None
        self.memo.clear()
        for held in self._held.values():
            held.close()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {layer: held.array for layer, held in self._held.items()}


@dataclass(frozen=True)
class Features(Recipe):
    """Recipe for the features of all layers: equal for all metrics on one network.

    Attributes:
        network: the weights.
    """

    network: NetworkFile

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> FeatureSet:
        """Return the collector of a set."""
        return FeatureSet(images, self.network, device, budget=budget)


@dataclass(frozen=True)
class CachedFeatures(Features):
    """The same recipe, where features are kept on disk from one command to the next.

    Attributes:
        cache: where.
    """

    by_content: ClassVar[bool] = True
    cache: FeatureCache = field(default_factory=FeatureCache)

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> FeatureSet:
        """Return the collector of a set, complete if its features are known."""
        return FeatureSet(images, self.network, device, self.cache, budget)


def recipe_for(network: NetworkFile, cache: FeatureCache | None) -> Features:
    """Return the recipe for a network, with or without a cache."""
    return Features(network) if cache is None else CachedFeatures(network, cache)
