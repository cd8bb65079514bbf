"""How often each of the 1,000 classes occurs among real images: by their labels, else by the classifier."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.metrics.measure import SetOfImages, shown_bar
from pgtools.metrics.modes import counts
from pgtools.metrics.modes.classifier import Classifier
from pgtools.metrics.modes.collect import Classes
from pgtools.stores.source import ImageSource


@dataclass(frozen=True)
class DataClasses:
    """How often each class occurs among real images.

    Attributes:
        counts: 1,000 numbers.

    Raises:
        InputError: they are other than that, or all 0.
    """

    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != counts.MODES or min(self.counts) < 0 or not sum(self.counts):
            raise InputError(f"Counts of {len(self.counts)} classes; expected {counts.MODES}, and some image.")

    @classmethod
    def of(cls, classes: NDArray[np.integer]) -> DataClasses:
        """Return the counts of class numbers from 0 to 999."""
        return cls(tuple(counts.class_counts(classes).tolist()))

    @property
    def total(self) -> int:
        """Number of images."""
        return sum(self.counts)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each class's share, float64 (1000,)."""
        return np.array(self.counts) / self.total

    @property
    def sha256(self) -> str:
        """Hash of the counts."""
        return hashlib.sha256(repr(self.counts).encode()).hexdigest()


def classes_of(
    source: ImageSource, classifier: Classifier, device: torch.device, *, batch: int, progress: bool = False
) -> DataClasses:
    """Return the classes of real images: their labels where these are of 1,000 classes, else what the classifier says.

    Raises:
        InputError: the images are smaller than 32², or grey.
    """
    if source.classes == counts.MODES and source.labels is not None:
        return DataClasses.of(source.labels)
    images = SetOfImages(source.name, "real", len(source), source.resolution)
    found = Classes(classifier).begin(images, device)
    with shown_bar("reading real", len(source), progress) as advance:
        for start in range(0, len(source), batch):
            chunk = range(start, min(start + batch, len(source)))
            found.update(torch.from_numpy(source.read(chunk)).to(device), chunk)
            advance(len(chunk))
    return DataClasses.of(found.classes())
