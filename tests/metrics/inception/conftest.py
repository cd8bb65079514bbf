"""A network with random weights in the form of the real ones, and images for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pgtools.metrics.inception import features
from pgtools.metrics.inception.network import WIDTHS, NetworkFile
from tests.metrics.inception.weights import write_random_weights
from tests.metrics.sets import photographs


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return photographs(24, 32)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> NetworkFile:
    return NetworkFile.of(write_random_weights(tmp_path_factory.mktemp("inception") / "weights.pth", images[:2]))


@pytest.fixture(scope="session")
def mix() -> torch.Tensor:
    rows = np.random.default_rng(0).standard_normal((3072, sum(WIDTHS.values())), dtype=np.float32)
    return torch.from_numpy(rows / 3072)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, mix: torch.Tensor) -> list[int]:
    """Put random projections of pixels and edges in the network's place, and count the images of every run."""
    seen: list[int] = []

    def quick(_: object, some: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(len(some))
        pixels = some.float()
        edges = (pixels - pixels.roll(1, dims=3)).abs()
        rows = (pixels / 4 + 4 * edges).flatten(1) @ mix
        return dict(zip(WIDTHS, rows.split(list(WIDTHS.values()), dim=1), strict=True))

    monkeypatch.setattr(features, "run", quick)
    monkeypatch.setattr(features, "shared_network", lambda *_: None)
    return seen
