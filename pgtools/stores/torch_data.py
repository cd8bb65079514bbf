"""A source as a `torch.utils.data.Dataset`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pgtools.stores.source import ImageSource


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """(image, label) pairs for a DataLoader; safe with any number of workers and any start method.

    An image is uint8 (3, level, level): a loader moves a quarter of the bytes of float32, and the device converts
    faster than a worker does. The label is -1 where the source has none.

    Args:
        source: any image source.
        level: side of the images; the top if not given.
    """

    def __init__(self, source: ImageSource, *, level: int | None = None) -> None:
        self.source, self.level = source, source.check_level(level)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image and its class number."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        """Return a batch at once, as DataLoader asks for it since torch 2.0."""
        wanted = np.asarray(indices, dtype=np.int64)
        wanted = np.where(wanted < 0, wanted + len(self), wanted).tolist()
        images = torch.from_numpy(self.source.read(wanted, self.level))
        labels: Any = [-1] * len(wanted) if self.source.labels is None else self.source.labels[wanted]
        return [(image, int(label)) for image, label in zip(images, labels, strict=True)]
