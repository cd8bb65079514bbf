"""Sets of images for metric tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.stores.source import ImageSource
from tests.pictures import astronaut


class ArraySource(ImageSource):
    """Images of an array, uint8 (N, 3, R, R); counts how many were read."""

    def __init__(self, images: NDArray[np.uint8], name: str = "array") -> None:
        self.images, self.name, self.resolution, self.reads = images, name, images.shape[-1], 0

    def __len__(self) -> int:
        return len(self.images)

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        self.reads += len(indices)
        return self.images[list(indices)]


def photographs(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random squares of a photograph, half of them mirrored, uint8 (count, 3, side, side)."""
    rng, photo = np.random.default_rng(seed), astronaut().transpose(2, 0, 1)
    corners = rng.integers(0, 512 - side, (count, 2))
    squares = [photo[:, y : y + side, x : x + side] for y, x in corners]
    return np.stack([square[:, :, :: rng.choice((-1, 1))] for square in squares])


def fields(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Independent random fields with a photograph's spectrum, contrasts and casts, uint8 (count, 3, side, side)."""
    rng = np.random.default_rng(seed)
    squared = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None] ** 2
    squared[0, 0] = np.inf
    waves = np.fft.rfft2(rng.standard_normal((count, 3, side, side))) * squared**-0.7
    smooth = np.fft.irfft2(waves, s=(side, side))
    smooth = np.einsum("ij,njhw->nihw", [[1, 0.3, 0.2], [0.3, 1, 0.3], [0.2, 0.3, 1]], smooth / smooth.std())
    contrast, cast = np.exp(rng.normal(0, 0.3, (count, 1, 1, 1))), rng.normal(0, 0.8, (count, 3, 1, 1))
    return np.clip(127 + 45 * (contrast * smooth + cast), 0, 255).astype(np.uint8)


def save(images: np.ndarray, folder: Path) -> Path:
    """Write images as folder/000.png, … and return the folder."""
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i:03d}.png")
    return folder
