"""Images that are encoded files of some container: what folders, archives and other people's data sets share."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import decode
from pgtools.imaging.pyramid import LOWEST_LEVEL
from pgtools.runtime.workers import in_threads
from pgtools.stores.source import ImageSource, check_index

AS_IT_IS = Fit()
# Damaged images at the beginning of a set that do not keep it from being opened.
TRIED = 16


class DecodedImages(ImageSource):
    """Images of any size that come one by one, each made to fit; a sub-class says how to get one.

    Args:
        name: the container's path.
        fit: the crop and resize each image goes through; what comes out has to be a square of a power of two.
    """

    def __init__(self, name: str, fit: Fit | None = None) -> None:
        self.name, self.fit = name, fit or AS_IT_IS

    @abstractmethod
    def decode(self, index: int) -> NDArray[np.uint8]:
        """Return one image before it is made to fit, uint8 RGB (H, W, 3)."""

    @abstractmethod
    def where(self, index: int) -> str:
        """Return how one image is named in errors."""

    @functools.cached_property
    def resolution(self) -> int:  # type: ignore[override]
        """Side of the images: that of the first that can be read."""
        faults = []
        for index in range(min(len(self), TRIED)):
            try:
                return len(self._fitted(index))
            except InputError as error:
                faults.append(error)
        raise faults[0]

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution, decoded in threads."""
        images = np.empty((len(indices), 3, self.resolution, self.resolution), np.uint8)
        in_threads(lambda place: self._read_into(images[place], check_index(indices[place], self)), range(len(indices)))
        return images

    def _read_into(self, out: NDArray[np.uint8], index: int) -> None:
        image = self._fitted(index)
        if len(image) != self.resolution:
            raise InputError(
                f"{self.where(index)} is {len(image)}² pixels; the first is {self.resolution}².",
                hint="All images of a source have one size; `pgtools store convert` resizes them.",
            )
        out[:] = image.transpose(2, 0, 1)

    def _fitted(self, index: int) -> NDArray[np.uint8]:
        where = self.where(index)
        image = self.fit(self.decode(index), where=where)
        height, width = image.shape[:2]
        if height != width or not is_power_of_two(height) or height < LOWEST_LEVEL:
            raise InputError(
                f"{where} is {width}×{height} pixels; expected a square whose side is a power of two, from 4 up.",
                hint="For faces, pgtools build-celebahq makes such squares from photos; for other images, "
                "`pgtools store convert --crop centre --resize 256` does.",
            )
        return image


class EncodedImages(DecodedImages):
    """Images that are encoded files of some container; a sub-class says how to get the bytes of one.

    Args:
        name: the container's path.
        members: the image files' names inside it, with `/` between folders, in index order.
        fit: the crop and resize each image goes through.
    """

    def __init__(self, name: str, members: Sequence[str], fit: Fit | None = None) -> None:
        super().__init__(name, fit)
        self.members = list(members)

    def __len__(self) -> int:
        return len(self.members)

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""

    def where(self, index: int) -> str:
        """Return container and member."""
        return f"{self.name}/{self.members[index]}"

    def decode(self, index: int) -> NDArray[np.uint8]:
        """Return one image before it is made to fit."""
        return decode(self.read_bytes(index), where=self.where(index))
