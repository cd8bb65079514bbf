"""Sources made of other sources: some of the images, a lower top level, several sources end to end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.seeds import stream
from pgtools.stores.layout import Record
from pgtools.stores.source import ImageSource, check_index

RECORDS_AT_ONCE = 4096


class Subset(ImageSource):
    """Some images of another source, in a given order; classes keep their numbers."""

    def __init__(self, source: ImageSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, np.asarray(indices, dtype=np.int64)
        self.name, self.resolution, self.colour = source.name, source.resolution, source.colour

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def classes(self) -> int | None:
        """Number of classes of the whole source."""
        return self.source.classes

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels of the chosen images."""
        return None if self.source.labels is None else self.source.labels[self.indices]

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes, as the whole source would."""
        return self.source.records(self._inner(indices))

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution."""
        return self.source.read_top(self._inner(indices))

    def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
        """Return images at a level, as the whole source would."""
        return self.source.read(self._inner(indices), level)

    def image_hashes(self, indices: Sequence[int]) -> list[str]:
        """Return each image's SHA-256, as the whole source would."""
        return self.source.image_hashes(self._inner(indices))

    def _inner(self, indices: Sequence[int]) -> list[int]:
        return [int(self.indices[check_index(i, self)]) for i in indices]


class Lowered(ImageSource):
    """Another source whose top level is one of its lower ones."""

    def __init__(self, source: ImageSource, level: int) -> None:
        self.source, self.resolution = source, source.check_level(level)
        self.name, self.colour = source.name, source.colour

    def __len__(self) -> int:
        return len(self.source)

    @property
    def classes(self) -> int | None:
        """Number of classes of the source."""
        return self.source.classes

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels of the source."""
        return self.source.labels

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes."""
        return self.source.records(indices)

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at the level that is the top here."""
        return self.source.read(indices, self.resolution)


class Joined(ImageSource):
    """Several sources end to end: all have labels or none does; equal class numbers mean the same class.

    Raises:
        InputError: their resolutions differ, or only some have labels.
    """

    def __init__(self, sources: Sequence[ImageSource], *, labelled: bool = True) -> None:
        self.sources = list(sources)
        self.name = " + ".join(source.name for source in self.sources)
        self.resolution = self.sources[0].resolution
        self.colour = "grey" if all(source.colour == "grey" for source in self.sources) else "rgb"
        sides = {source.name: source.resolution for source in self.sources}
        if len(set(sides.values())) > 1:
            told = ", ".join(f"{name} is {side}²" for name, side in sides.items())
            raise InputError(
                f"Sources of different sizes cannot be one: {told}.", hint="`pgtools store convert --level` lowers one."
            )
        self._labelled = labelled and any(source.labels is not None for source in self.sources)
        without = [source.name for source in self.sources if source.labels is None]
        if self._labelled and without:
            raise InputError(f"{', '.join(without)}: no labels, while others have some.", hint="Pass --no-labels.")
        self._starts = np.cumsum([0, *map(len, self.sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def classes(self) -> int | None:
        """The largest number of classes of a source."""
        return max(source.classes or 0 for source in self.sources) if self._labelled else None

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the labels of all, end to end."""
        if not self._labelled:
            return None
        return np.concatenate([source.labels for source in self.sources if source.labels is not None])

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes."""
        found: dict[int, Record] = {}
        for source, places, inner in self._parts(indices):
            found.update(zip(places, source.records(inner), strict=True))
        return [found[place] for place in range(len(indices))]

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution."""
        return self.read(indices)

    def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
        """Return images at a level, each as its own source would."""
        level = self.check_level(level)
        images = np.empty((len(indices), 3, level, level), np.uint8)
        for source, places, inner in self._parts(indices):
            images[places] = source.read(inner, level)
        return images

    def _parts(self, indices: Sequence[int]) -> list[tuple[ImageSource, list[int], list[int]]]:
        """Return (source, places in `indices`, indices inside the source) for each source that is asked for."""
        wanted = np.array([check_index(i, self) for i in indices], dtype=np.int64)
        owners = np.searchsorted(self._starts, wanted, side="right") - 1
        parts = []
        for owner in np.unique(owners):
            places = np.flatnonzero(owners == owner)
            parts.append((self.sources[owner], places.tolist(), (wanted[places] - self._starts[owner]).tolist()))
        return parts


def choose(source: ImageSource, count: int, seed: int) -> ImageSource:
    """Return `count` images of the source: all in order if it has just as many, else a seeded random choice.

    Raises:
        InputError: the source has fewer images.
    """
    if len(source) < count:
        raise InputError(
            f"{source.name} has {len(source)} images; {count} were asked for.",
            hint=f"Pass --num-images {len(source)} or fewer.",
        )
    if len(source) == count:
        return source
    return Subset(source, np.sort(stream(seed, "subset").permutation(len(source))[:count]).tolist())


def of_split(source: ImageSource, split: str) -> ImageSource:
    """Return the images whose attribute `split` says so, in their order.

    Raises:
        InputError: no image's does.
    """
    found: dict[int, str] = {}
    for start in range(0, len(source), RECORDS_AT_ONCE):
        indices = range(start, min(start + RECORDS_AT_ONCE, len(source)))
        for index, record in zip(indices, source.records(indices), strict=True):
            found[index] = str(record.attributes.get("split", ""))
    chosen = [index for index, name in found.items() if name == split]
    if not chosen:
        known = ", ".join(sorted(set(found.values()) - {""})) or "none"
        raise InputError(f"{source.name} has no images of the split {split!r}; its splits: {known}.")
    return Subset(source, chosen)


def authors_order(count: int) -> NDArray[np.int64]:
    """Return the shuffled order of the authors' data set tools, int64 (count,): RandomState(123)."""
    order = np.arange(count)
    np.random.RandomState(123).shuffle(order)
    return order
