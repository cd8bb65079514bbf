"""Stores for tests, written from images in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.stores.layout import Record
from pgtools.stores.source import ImageSource, check_index
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, output, write_stores


def written(
    folder: Path, images: NDArray[np.uint8], *names: str, labels: Any = None, attributes: Any = None, **plan: Any
) -> list[Path]:
    """Write uint8 (N, 3, R, R) images, named 0.png, 1.png, …, into the stores `names` and return their paths."""
    paths = [folder / name for name in names]
    numbers = [None] * len(images) if labels is None else [int(label) for label in labels]
    if labels is not None:
        plan.setdefault("classes", max(numbers) + 1)
    records = [Record(f"{i}.png", attributes[i] if attributes else {}) for i in range(len(images))]
    items = (Item(image, record, label) for image, record, label in zip(images, records, numbers, strict=True))
    formats = [None if Path(name).suffix else name for name in names]
    outputs = [output(path, format) for path, format in zip(paths, formats, strict=True)]
    write_stores(outputs, items, Plan(len(images), images.shape[-1], **plan))
    return paths


def image_folder(folder: Path, images: NDArray[np.uint8]) -> Path:
    """Save images as 0000.png, 0001.png, … with Pillow."""
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i:04d}.png")
    return folder


class Held(ImageSource):
    """Images that are in memory.

    Args:
        images: uint8 (N, 3, R, R).
        name: what the source is called.
        labels: int64 (N,) class numbers, if there are any.
    """

    def __init__(self, images: NDArray[np.uint8], *, name: str, labels: NDArray[np.int64] | None = None) -> None:
        self.name, self.resolution = name, images.shape[-1]
        self._images, self._given = images, labels

    def __len__(self) -> int:
        return len(self._images)

    def read_labels(self) -> NDArray[np.int64] | None:
        """Return the labels that were given."""
        return self._given

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images."""
        return self._images[[check_index(i, self) for i in indices]]
