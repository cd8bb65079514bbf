"""Images and settings so small that a whole run takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pgtools.imaging.photo import encode_png
from pgtools.progan.config import TrainSettings
from pgtools.progan.output import Score
from pgtools.progan.parallel import Place
from pgtools.progan.run.progress import Progress
from pgtools.progan.trainer import NEW, RESUMED, train
from pgtools.stores.source import ImageSource
from tests.pictures import smooth_images

# 4² until 32 images, fading to 8² until 96, 8² until 128, fading to 16² until 192, then 16².
TINY: dict[str, Any] = {
    "latent": 8,
    "fmap_base": 64,
    "fmap_max": 8,
    "stable_kimg": 0.032,
    "fade_kimg": 0.064,
    "total_kimg": 0.256,
    "minibatch": "4:8,16:4",
    "minibatch_repeats": 2,
    "log_kimg": 0.032,
    "grid_kimg": 0.128,
    "snapshot_kimg": 0.064,
    "metrics": "mean",
    "num_images": 6,
    "learning_rate": 0.002,
    "mirror": True,
    "device": "cpu",
    "precision": "float32",
    "workers": 1,
}


CPU = Place(torch.device("cpu"))


class Pictures(ImageSource):
    """Images of an array, uint8 (N, 3, R, R)."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images, self.name, self.resolution = images, "pictures", images.shape[-1]

    def __len__(self) -> int:
        return len(self.images)

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        return self.images[list(indices)]


@pytest.fixture
def source() -> Pictures:
    return Pictures(smooth_images(20, 16))


@pytest.fixture
def tiny() -> TrainSettings:
    return TrainSettings(**TINY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same images as a folder of PNGs."""
    path = tmp_path / "images"
    path.mkdir()
    for i, image in enumerate(smooth_images(20, 16)):
        (path / f"{i:02d}.png").write_bytes(encode_png(np.ascontiguousarray(image.transpose(1, 2, 0))))
    return path


def run_training(
    source: ImageSource, run: Path, settings: TrainSettings, *, resume: bool = False, score: Score | None = None
) -> Progress:
    """Train on the CPU, in one process."""
    return train(source, run, settings, place=CPU, begin=RESUMED if resume else NEW, score=score)


def tiny_options(**other: object) -> list[str]:
    """TINY as command-line words, scored by a metric that the command knows."""
    words: list[str] = []
    for name, value in {**TINY, "metrics": "swd", **other}.items():
        option = "--" + name.replace("_", "-")
        words += [option] if value is True else [option, str(value)]
    return words
