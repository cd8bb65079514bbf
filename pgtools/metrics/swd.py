"""Sliced Wasserstein distance between patches of real and generated images, level by level.

Random patches of every level of a Laplacian pyramid become descriptors, normalised per set; the sets are
compared along random directions, where the Wasserstein distance is the mean gap between sorted lists.

Every draw is made on the CPU from a named stream, so no figure depends on the batch size or the device.
Source: Karras et al. 2018, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.pyramid import laplacian_levels
from pgtools.metrics.settings import SwdSettings
from pgtools.runtime.seeds import stream
from pgtools.runtime.workers import cpu_count
from pgtools.stores.source import ImageSource

CHANNELS = 3
# Descriptors are turned to float64 this many at a time, which bounds the memory and not the figure.
_ROWS = 1 << 15
_DIRECTIONS_SORTED_AT_ONCE = 16


def draw_positions(level: int, count: int, settings: SwdSettings, role: str) -> Tensor:
    """Return the patch centres of a level, int64 (count, neighbourhoods, 2) as (row, column).

    Each is uniform over [size // 2, level − size // 2), the end excluded, so that the patch is in the image.

    Args:
        level: side of the level in pixels.
        count: number of images.
        settings: give the seed, the number and the size of patches.
        role: "real" or "fake": each set has patches of its own.
    """
    half = settings.size // 2
    numbers = stream(settings.seed, "swd", "positions", role, level)
    return torch.from_numpy(numbers.integers(half, level - half, size=(count, settings.neighbourhoods, 2)))


def draw_directions(level: int, repeat: int, settings: SwdSettings) -> Tensor:
    """Return random unit vectors, float64 (directions, 3·size²): Gaussian, divided by their length."""
    numbers = stream(settings.seed, "swd", "directions", level, repeat)
    vectors = numbers.standard_normal((settings.directions, CHANNELS * settings.size**2))
    return torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def cut_patches(images: Tensor, centres: Tensor, size: int) -> Tensor:
    """Return the size × size patches around the centres, (N, C, H, W) and (N, P, 2) → (N, P, C·size²)."""
    windows = images.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, H', W', size, size), a view
    corners = centres - size // 2
    image = torch.arange(len(images), device=images.device)[:, None]
    return windows[image, :, corners[..., 0], corners[..., 1]].flatten(2)


def normalise(descriptors: Tensor) -> Tensor:
    """Bring each colour channel to mean 0 and standard deviation 1 (population) over the set, in place.

    So a cast or a contrast that all images of a set share is not seen. A channel that is constant over the whole
    set becomes 0: there is nothing to scale.

    Args:
        descriptors: float32 (n, 3·size²), the channel the slowest of the three axes within.
    """
    chunks = torch.split(descriptors.view(len(descriptors), CHANNELS, -1), _ROWS)
    numbers = descriptors.numel() // CHANNELS
    mean = sum(chunk.double().sum((0, 2)) for chunk in chunks) / numbers  # (3,)
    mean = torch.as_tensor(mean)[:, None]
    variance = sum((chunk.double() - mean).square_().sum((0, 2)) for chunk in chunks) / numbers
    deviation = torch.as_tensor(variance).sqrt()[:, None]
    deviation[deviation == 0] = 1
    for chunk in chunks:
        chunk.copy_((chunk.double() - mean) / deviation)
    return descriptors


def describe(
    source: ImageSource,
    levels: Sequence[int],
    settings: SwdSettings,
    *,
    role: str,
    device: torch.device,
    advance: Callable[[int], None],
) -> dict[int, Tensor]:
    """Return level → normalised descriptors of a set, float32 (N · neighbourhoods, 3·size²) on the CPU.

    They take N · neighbourhoods · 3·size² · 4 bytes a level: 1.2 GB for the paper's 16,384 images.

    Args:
        source: the images, of 16² or more.
        levels: the levels to describe, of those the pyramid has.
        settings: see SwdSettings.
        role: "real" or "fake", see `draw_positions`.
        device: where the pyramids are built.
        advance: told the number of images after each batch.
    """
    count, numbers = len(source), CHANNELS * settings.size**2
    centres = {level: draw_positions(level, count, settings, role) for level in levels}
    found = {level: torch.empty(count, settings.neighbourhoods, numbers) for level in levels}
    for start in range(0, count, settings.batch):
        batch = slice(start, min(start + settings.batch, count))
        images = torch.from_numpy(source.read(range(batch.start, batch.stop))).to(device).float()
        for level, band in laplacian_levels(images):
            if level in found:
                found[level][batch] = cut_patches(band, centres[level][batch].to(device), settings.size).cpu()
        advance(len(images))
    return {level: normalise(descriptors.flatten(0, 1)) for level, descriptors in found.items()}


def sliced_wasserstein(a: Tensor, b: Tensor, directions: Tensor, device: torch.device) -> float:
    """Return the sliced Wasserstein distance between two descriptor sets.

    Each direction projects both sets onto a line, where the distance is the mean gap of the sorted lists.

    Args:
        a: float32 (n, d) on the CPU, normalised.
        b: the other set, of the same shape.
        directions: float64 (k, d), unit vectors.
        device: where to project and sort; beside the sets it takes 3 · k · n · 4 bytes at most.

    Returns:
        float >= 0, 0 for equal sets, lower is better; tables show it times 1000.

    Raises:
        InputError: the shapes differ or a set is empty.

    Source: Karras et al. 2018, section 5.
    """
    if a.shape != b.shape or not len(a):
        raise InputError(f"Descriptor sets of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected equal, not empty.")
    lines_a = _sorted_projections(a, directions.to(device))
    lines_b = _sorted_projections(b, directions.to(device))
    gaps = [(p - q).abs().mean(dtype=torch.float64) for p, q in zip(lines_a, lines_b, strict=True)]
    return float(torch.stack(gaps).mean())


def compare(a: Tensor, b: Tensor, level: int, settings: SwdSettings, device: torch.device) -> list[float]:
    """Return the distance of two descriptor sets of a level × 1000, once a repeat."""
    drawn = (draw_directions(level, repeat, settings) for repeat in range(settings.repeats))
    return [1000 * sliced_wasserstein(a, b, directions, device) for directions in drawn]


def _sorted_projections(descriptors: Tensor, directions: Tensor) -> Tensor:
    """Return float32 (k, n), each line ascending; projected in float64, which also keeps TF32 out."""
    lines = torch.empty(len(directions), len(descriptors), device=directions.device)
    for start in range(0, len(descriptors), _ROWS):
        rows = descriptors[start : start + _ROWS].to(directions.device).double()
        lines[:, start : start + _ROWS] = directions @ rows.T
    if lines.device.type == "cpu":
        # NumPy's vectorised sort is several times faster than torch's, and lets the other cores run.
        blocks = np.array_split(lines.numpy(), cpu_count())
        with ThreadPoolExecutor(len(blocks)) as pool:
            list(pool.map(np.ndarray.sort, blocks))
    else:
        for some in torch.split(lines, _DIRECTIONS_SORTED_AT_ONCE):
            some.copy_(some.sort(dim=1).values)
    return lines
