"""Weights in the form of the real ones, for machines that do not have those."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch


def write_random_weights(path: Path, images: np.ndarray) -> Path:
    """Write a state dict of random layers, each scaled by its own statistics, so that features differ by image."""
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
        blank(torch.from_numpy(images))
        blank.fc.weight *= 20
    torch.save(blank.state_dict(), path)
    return path
