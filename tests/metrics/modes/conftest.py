from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pgtools.metrics.modes.classifier import Classifier
from tests.metrics.modes.digits import drawn_classifier


@pytest.fixture(scope="session")
def trained() -> tuple[bytes, Classifier]:
    """A classifier of drawn digits, its file first; on one thread, as its bytes depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return drawn_classifier()
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def classifier(trained: tuple[bytes, Classifier]) -> Classifier:
    return trained[1]


@pytest.fixture
def classifier_file(trained: tuple[bytes, Classifier], tmp_path: Path) -> Path:
    path = tmp_path / "digits.safetensors"
    path.write_bytes(trained[0])
    return path
