"""A network with random weights in the form of the real ones, and images for it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from pgtools.metrics.inception import features
from pgtools.metrics.inception.network import WIDTHS, NetworkFile
from tests.metrics.sets import photographs


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return photographs(24, 32)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> NetworkFile:
    """Random layers, each scaled by its own statistics, so that features differ from image to image."""
    from torch_fidelity import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *args: object, **words: object) -> None:
            """Keep the random weights."""

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blank = Blank("random", ["logits_unbiased"], feature_extractor_weights_path=nothing)
    for module in blank.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    blank.train()
    with torch.no_grad():
        blank(torch.from_numpy(images[:2]))
        blank.fc.weight *= 20
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(blank.state_dict(), path)
    return NetworkFile.of(path)


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
