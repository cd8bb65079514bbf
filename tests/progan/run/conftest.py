"""Networks of a moment's size, and a run folder that holds them."""

from __future__ import annotations

import copy
import functools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.run.checkpoint import Checkpoint, adam_tensors
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.snapshot import Snapshot, TrainedNetworks, write_snapshot
from pgtools.progan.run.tensors import joined
from pgtools.runtime.results import MetricResult

SHAPE = Architecture(16, latent=8, fmap_base=32, fmap_max=8, fused_scale=False)


def adam_of(network: torch.nn.Module, **options: Any) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), 0.01, (0.0, 0.99), **options)


def networks_of(seed: int = 5, shape: Architecture = SHAPE) -> TrainedNetworks:
    generator = Generator(shape, seed)
    return TrainedNetworks(generator, Discriminator(shape, seed), copy.deepcopy(generator), 0.75, 1234)


@functools.cache
def checkpoint_of(images: int, *, value: float = 0.0, shape: Architecture = SHAPE) -> Checkpoint:
    """A checkpoint whose generator took one step at 4², so that most parameters have no state."""
    networks = networks_of(images, shape)
    adam = adam_of(networks.generator)
    top = math.log2(shape.resolution / 4)
    networks.generator(torch.ones(2, shape.latent + shape.labels), top).sum().backward()
    adam.step()
    parts = {name: getattr(networks, name).state_dict() for name in ("generator", "discriminator", "average")}
    parts["adam/generator"] = adam_tensors(adam, networks.generator)
    lod = min(0.75, math.log2(shape.resolution / 4))
    return Checkpoint(shape, joined(parts), {"images": images, "sums": [value, 0.1]}, lod, images)


def result_of(value: float, metric: str = "swd", direction: Any = "lower") -> dict[str, Any]:
    return MetricResult(metric=metric, direction=direction, values={"16": 2 * value, "average": value}).as_dict()


def scored(folder: RunFolder, images: int, value: float, **other: Any) -> None:
    """A snapshot of a moment, and its score."""
    write_snapshot(folder.snapshot(images), Snapshot(Generator(SHAPE), 0.75, images))
    line = {"images": images, "kimg": images / 1000, "result": result_of(value, **other)}
    folder.append(folder.scores, line)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has begun, and keeps its two newest checkpoints."""
    folder = RunFolder(tmp_path / "run", keep=2)
    data = {"name": "pictures", "resolution": 16, "count": 20, "fingerprint": "ab", "classes": 0}
    folder.path.mkdir()
    folder.write_config(TrainSettings(), data, {"generator": 1, "discriminator": 1})
    return folder
