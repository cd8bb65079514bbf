"""Networks for tests: tiny, random, of our own kind and of spandrel's."""

from __future__ import annotations

from pathlib import Path

import torch

from pgtools.restoration.compact import CompactNetwork, Shape, write_compact


def tiny_compact(
    path: Path, scale: int = 1, *, unshuffle: int = 1, guided: bool = False, strength: float = 0.05, seed: int = 0
) -> Path:
    """Write a compact network of one block with random weights, corrections of some ten levels; return its file."""
    torch.manual_seed(seed)
    network = CompactNetwork(Shape(scale, channels=8, blocks=1, unshuffle=unshuffle, guided=guided))
    torch.nn.init.normal_(network.tail.weight, std=strength)
    write_compact(path, network, {})
    return path


def tiny_foreign(path: Path, scale: int = 4, *, seed: int = 0) -> Path:
    """Write Real-ESRGAN's compact architecture with two inner layers: the smallest that spandrel knows."""
    torch.manual_seed(seed)
    layers = {"body.0": (8, 3), "body.2": (8, 8), "body.4": (8, 8), "body.6": (3 * scale * scale, 8)}
    state = {f"{name}.weight": torch.randn((*shape, 3, 3)) * 0.1 for name, shape in layers.items()}
    state |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in layers.items()}
    state |= {f"body.{i}.weight": torch.full((8,), 0.2) for i in (1, 3, 5)}
    torch.save({"params": state}, path)
    return path
