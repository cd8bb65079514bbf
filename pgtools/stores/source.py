"""One interface carries images, whatever holds them: `ImageSource`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.pyramid import levels_below, mean_level
from pgtools.runtime.seeds import stream
from pgtools.stores.layout import Header

HASH_AT_ONCE = 64


class ImageSource(ABC):
    """Square RGB images of one power-of-two size, readable in any order at any level.

    A level is named by its side in pixels. A source that stores only the top computes the lower levels as 2×2 means,
    so two sources of the same images give the same bytes for the same (level, index).

    Attributes:
        name: what the source is called in results, usually its path.
        resolution: side of the top level, in pixels.
        labels: int64 (N,) class numbers, or None.
    """

    name: str
    resolution: int
    labels: NDArray[np.int64] | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution, uint8 (N, 3, R, R), in the order of `indices`."""

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that `read` gives, from `resolution` down to 4."""
        return levels_below(self.resolution)

    def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
        """Return images at a level, uint8 (N, 3, level, level), in the order of `indices`.

        Args:
            indices: 0 ≤ i < len(self), any order, repeats allowed.
            level: one of `levels`; the top if not given.

        Raises:
            InputError: the level or an index is not there, or a stored image is damaged.
        """
        level = self.check_level(level)
        return mean_level(self.read_top(indices), level)

    def check_level(self, level: int | None) -> int:
        """Return `level` (the top for None) or raise InputError if this source has no such level."""
        if level is None:
            return self.resolution
        if level not in self.levels:
            raise InputError(f"{self.name} has no level {level}; it has {', '.join(map(str, self.levels))}.")
        return level

    def batches(self, size: int, level: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield all images in order, uint8 (≤ size, 3, level, level) at a time."""
        for start in range(0, len(self), size):
            yield self.read(range(start, min(start + size, len(self))), level)

    def fingerprint(self) -> str:
        """Return the SHA-256 (64 hex digits) of the count, the size and every image's bytes at the top level.

        Equal for equal images in equal order, whatever the format that holds them.
        """
        return content_hash(self.image_hashes(range(len(self))))

    def image_hashes(self, indices: Sequence[int]) -> list[str]:
        """Return each image's SHA-256 as `image_hash` gives it, in the order of `indices`.

        Stores that pgtools wrote know them; other sources read the images.
        """
        batches = (self.read(indices[start : start + HASH_AT_ONCE]) for start in range(0, len(indices), HASH_AT_ONCE))
        return [image_hash(image) for batch in batches for image in batch]


class LevelStore(ImageSource):
    """A store that holds some or all levels, and perhaps our header.

    Attributes:
        header: what a store of pgtools says of itself; None in other people's.
    """

    header: Header | None = None

    @property
    @abstractmethod
    def stored_levels(self) -> Collection[int]:
        """The levels that need not be computed; the top is one of them."""

    @abstractmethod
    def read_stored(self, indices: Sequence[int], level: int) -> NDArray[np.uint8]:
        """Return images at a stored level, uint8 (N, 3, level, level)."""

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution."""
        return self.read_stored(indices, self.resolution)

    def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
        """Return images at a level: as stored where it is, else computed from the top."""
        level = self.check_level(level)
        return self.read_stored(indices, level) if level in self.stored_levels else super().read(indices, level)

    def fingerprint(self) -> str:
        """Return the fingerprint: from the header where there is one, else by reading every image."""
        return self.header.content if self.header else super().fingerprint()


class Subset(ImageSource):
    """Some images of another source, in a given order."""

    def __init__(self, source: ImageSource, indices: Sequence[int]) -> None:
        self.source, self.indices = source, np.asarray(indices, dtype=np.int64)
        self.name, self.resolution = source.name, source.resolution
        self.labels = None if source.labels is None else source.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

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
        return [int(i) for i in self.indices[np.asarray(indices, dtype=np.int64)]]


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


def image_hash(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of one image's CHW bytes, 64 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def content_hash(hashes: Sequence[str]) -> str:
    """Return the SHA-256 over the images' own hashes, in order: the fingerprint of a source."""
    digest = hashlib.sha256()
    for text in hashes:
        digest.update(bytes.fromhex(text))
    return digest.hexdigest()
