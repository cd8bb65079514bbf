"""One interface carries images, whatever holds them: `ImageSource`."""

from __future__ import annotations

import functools
import hashlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.pyramid import levels_below, mean_level
from pgtools.stores.layout import Colour, Header, Record

if TYPE_CHECKING:
    import torch

    from pgtools.stores.torch_data import ImageDataset

HASH_AT_ONCE = 64


class ImageSource(ABC):
    """Square RGB images of one power-of-two size, readable in any order at any level.

    A level is named by its side in pixels. A source that stores only the top computes the lower levels as 2×2 means,
    so two sources of the same images give the same bytes for the same (level, index). Opening is cheap: labels and
    records are read when they are asked for. A source may be used from several threads, and travels to other processes
    by pickling or by fork.

    Attributes:
        name: what the source is called in results, usually its path.
        resolution: side of the top level, in pixels.
        colour: "grey" if every image is known to have three equal channels, else "rgb".
    """

    name: str
    resolution: int
    colour: Colour = "rgb"

    @abstractmethod
    def __len__(self) -> int: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @abstractmethod
    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution, uint8 (N, 3, R, R), in the order of `indices`.

        Raises:
            InputError: an index is not there, or an image is damaged.
        """

    @functools.cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """Class numbers from 0 up, int64 (N,); None if the source has none.

        Raises:
            InputError: there are labels, and they are damaged or no class numbers.
        """
        return self.read_labels()

    @property
    def classes(self) -> int | None:
        """Number of classes: what the source says, else the largest label and one; None without labels."""
        return None if self.labels is None else int(self.labels.max()) + 1

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read what `labels` keeps. Overridden where there are labels."""
        return None

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes, in the order of `indices`. Overridden where there are any."""
        return [Record(f"{check_index(i, self):08d}") for i in indices]

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
            known = ", ".join(map(str, self.levels))
            raise InputError(f"{self.name} has no level {level}; it has {known}.", hint="Name one of these.")
        return level

    def batches(self, size: int, level: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield all images in order, uint8 (≤ size, 3, level, level) at a time."""
        for start in range(0, len(self), size):
            yield self.read(range(start, min(start + size, len(self))), level)

    def tensor(self, indices: Sequence[int], level: int | None = None) -> torch.Tensor:
        """Return what `read` returns as a torch tensor on the CPU, uint8 (N, 3, level, level)."""
        import torch

        return torch.from_numpy(self.read(indices, level))

    def dataset(self, level: int | None = None) -> ImageDataset:
        """Return the source as a `torch.utils.data.Dataset` of (image, label); see `ImageDataset`."""
        from pgtools.stores.torch_data import ImageDataset

        return ImageDataset(self, level=level)

    def fingerprint(self) -> str:
        """Return the SHA-256 (64 hex digits) over the SHA-256 of each image's bytes at the top level, in order.

        Equal for equal images in equal order, whatever the format that holds them.
        """
        size = HASH_AT_ONCE
        starts = range(0, len(self), size)
        return content_hash(text for i in starts for text in self.image_hashes(range(i, min(i + size, len(self)))))

    def known_fingerprint(self) -> str | None:
        """Return the fingerprint where no image must be read for it, else None. Overridden where that is so."""
        return None

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

    @property
    def classes(self) -> int | None:
        """Number of classes: from the header where there is one, else as every source says it."""
        return self.header.classes if self.header and self.header.classes else super().classes

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution."""
        return self.read_stored(indices, self.resolution)

    def read(self, indices: Sequence[int], level: int | None = None) -> NDArray[np.uint8]:
        """Return images at a level: as stored where it is, else computed from the top."""
        level = self.check_level(level)
        return self.read_stored(indices, level) if level in self.stored_levels else super().read(indices, level)

    def fingerprint(self) -> str:
        """Return the fingerprint: from the header where there is one, else by reading every image."""
        return self.known_fingerprint() or super().fingerprint()

    def known_fingerprint(self) -> str | None:
        """Return the fingerprint of the header, or None where there is none."""
        return self.header.content if self.header else None


def check_index(index: int, source: ImageSource) -> int:
    """Return `index` as an int, or raise InputError if the source has no such image."""
    if not 0 <= index < len(source):
        raise InputError(f"{source.name} has no image {index}; it holds {len(source)}.")
    return operator.index(index)  # a fraction is a fault of the caller's, not image 0


def image_hash(image: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of one image's CHW bytes, 64 hex digits."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def content_hash(hashes: Iterable[str]) -> str:
    """Return the SHA-256 over the images' own hashes, in order: the fingerprint of a source."""
    digest = hashlib.sha256()
    for text in hashes:
        digest.update(bytes.fromhex(text))
    return digest.hexdigest()
