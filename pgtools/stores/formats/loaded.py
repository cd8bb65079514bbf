"""Small data sets whose few files are read as a whole, when an image is first asked for: CIFAR, MNIST, SVHN."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.locks import ProcessLock
from pgtools.stores.format import ALL_SPLITS
from pgtools.stores.layout import Attribute, Record
from pgtools.stores.source import ImageSource, check_index


@dataclass(frozen=True)
class Part:
    """Some images of a data set with all that is known of them: one file, or one split.

    Attributes:
        images: uint8 (N, C, H, W), C 3 or 1.
        labels: (N,) class numbers.
        names: (N,) names of the images.
        attributes: attribute → (N,) values.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: Sequence[str]
    attributes: Mapping[str, Sequence[Attribute]] = field(default_factory=dict)


class LoadedImages(ImageSource):
    """Images that a sub-class loads whole; one copy a process, and none travels with a pickled source.

    Args:
        name: the data set's path.
        resolution: side of the images as they are read.
        class_count: number of classes; a larger label is damage.
    """

    def __init__(self, name: str, *, resolution: int, class_count: int) -> None:
        self.name, self.resolution, self._class_count = name, resolution, class_count
        self._loading = ProcessLock()
        self._part: Part | None = None

    @abstractmethod
    def load(self) -> Part:
        """Return all images of the source.

        Raises:
            InputError: a file is missing or damaged.
        """

    def __len__(self) -> int:
        return len(self.loaded().images)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_part": None}

    @property
    def classes(self) -> int | None:
        """Number of classes of the data set."""
        return self._class_count

    def loaded(self) -> Part:
        """Return the images, loaded by whoever asks first.

        Raises:
            InputError: a file is missing or damaged.
        """
        with self._loading:
            if self._part is None:
                part = self.load()
                self._check(part)
                self._part = part
            return self._part

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the class numbers."""
        return self.loaded().labels

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names and attributes."""
        part = self.loaded()
        wanted = [check_index(i, self) for i in indices]
        return [Record(part.names[i], {name: values[i] for name, values in part.attributes.items()}) for i in wanted]

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution: grey becomes three equal channels, a smaller image gets a black rim."""
        found = self.loaded().images[[check_index(i, self) for i in indices]]
        rim = (self.resolution - found.shape[-1]) // 2
        images = np.zeros((len(indices), 3, self.resolution, self.resolution), np.uint8)
        images[:, :, rim : self.resolution - rim, rim : self.resolution - rim] = found
        return images

    def _check(self, part: Part) -> None:
        count = len(part.images)
        columns = {"labels": part.labels, "names": part.names, **part.attributes}
        for name, values in columns.items():
            if len(values) != count:
                raise InputError(f"{self.name} holds {count} images and {len(values)} {name}.", hint="Get it again.")
        if not count:
            raise InputError(f"{self.name} holds no images.")
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= self._class_count:
            raise InputError(
                f"{self.name} has class numbers from {low} to {high}; expected 0 to {self._class_count - 1}."
            )


def joined(parts: Sequence[Part]) -> Part:
    """Return several parts end to end; all have the same attributes."""
    if len(parts) == 1:
        return parts[0]
    return Part(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        [name for part in parts for name in part.names],
        {key: [value for part in parts for value in part.attributes[key]] for key in parts[0].attributes},
    )


def chosen_splits(split: str | None, splits: Sequence[str], *, path: Path) -> tuple[str, ...]:
    """Return the splits to read: the first if none is named, each for "all".

    Args:
        split: what was asked for.
        splits: the data set's own, without "all".
        path: named in errors.

    Raises:
        InputError: there is no such split.
    """
    if split == ALL_SPLITS:
        return tuple(splits)
    if split is not None and split not in splits:
        raise InputError(f"{path} has no split {split!r}; expected {', '.join(splits)} or {ALL_SPLITS}.")
    return (split or splits[0],)


def is_file(path: Path) -> bool:
    """Return whether a file is there; False where that cannot be told, so that asking never raises."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
