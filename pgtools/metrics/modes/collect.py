"""The class of every image of a set, collected batch by batch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pgtools.errors import InputError
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import Collector, Parts, Recipe, SetOfImages, in_pieces
from pgtools.metrics.modes.classifier import SIDE, Classifier, DigitNetwork, stacked_classes
from pgtools.metrics.tensors import undisturbed
from pgtools.stores.source import ImageSource

NOT_YET = -1


class ClassSet(Collector):
    """The class of each image, and whether it is grey.

    Args:
        images: the set.
        network: in evaluation mode, on `device`.
    """

    def __init__(self, images: SetOfImages, network: DigitNetwork) -> None:
        self.images, self._network = images, network
        # Class, or NOT_YET; whether three equal planes show something.
        self._rows = np.full((images.count, 2), NOT_YET, np.int16)

    def update(self, images: Tensor, indices: Sequence[int]) -> None:
        """Classify some images, uint8 (N, 3, R, R)."""
        if images.shape[-1] > SIDE:
            # Means of whole numbers in float64: exact, and rounded half-to-even as the stores' levels are.
            images = F.avg_pool2d(images.double(), images.shape[-1] // SIDE).round().to(torch.uint8)
        planes_agree = (images == images[:, :1]).flatten(1).all(1)
        shows = images.flatten(1).amax(1) > images.flatten(1).amin(1)
        with undisturbed(images.device):
            classes = stacked_classes(self._network, images)
        rows = torch.stack([classes, (planes_agree & shows).long()], dim=1)
        self._rows[list(indices)] = rows.cpu().numpy().astype(np.int16)

    def parts(self) -> Iterator[Parts]:
        """Yield the classified images' numbers and rows."""
        for numbers in in_pieces(np.flatnonzero(self._rows[:, 0] != NOT_YET), self._rows[:1].nbytes):
            yield {"classes": (numbers, self._rows[numbers])}

    def absorb(self, parts: Parts) -> None:
        """Take the rows of another process."""
        numbers, rows = parts["classes"]
        self._rows[numbers] = rows

    def classes(self) -> NDArray[np.int64]:
        """Return each image's class, int64 (N,).

        Raises:
            InputError: the images are grey, or some have not come.
        """
        if np.any(self._rows[:, 0] == NOT_YET):
            raise InputError(f"{int(np.sum(self._rows[:, 0] == NOT_YET))} images of {self.images.name} have not come.")
        if np.all(self._rows[:, 1]):
            raise grey_images(self.images.name)
        return self._rows[:, 0].astype(np.int64)


@dataclass(frozen=True)
class Classes(Recipe):
    """The classes that a classifier gives to images."""

    classifier: Classifier

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> ClassSet:
        """Return a collector; its four bytes an image count in no budget.

        Raises:
            InputError: the images are smaller than 32².
        """
        check_side(images.name, images.resolution)
        return ClassSet(images, copy.deepcopy(self.classifier.network).to(device))


def grey_images(name: str) -> InputError:
    """Return the error for a set of grey images."""
    return InputError(
        f"{name} has grey images; stacked MNIST shows a digit in each of red, green and blue.",
        hint="`pgtools store convert MNIST OUT.lmdb --format stacked-mnist` writes such images to train on.",
    )


def check_images(source: ImageSource) -> None:
    """Raise InputError if images are too small or known to be grey, before any is read."""
    check_side(source.name, source.resolution)
    if source.colour == "grey":
        raise grey_images(source.name)


def check_side(name: str, resolution: int) -> None:
    """Raise InputError if images are smaller than 32²."""
    if resolution < SIDE:
        raise InputError(
            f"{name} has {resolution}² images; stacked MNIST has {SIDE}².", hint="Train and generate at 32²."
        )
