"""The networks' parts in plain float64 NumPy, written from the paper's definitions: loops, no cleverness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def conv3x3(x: Array, weight: Array, bias: Array) -> Array:
    """Correlate (N, C, H, W) with (O, C, 3, 3), zeros beyond the border, and add the bias."""
    count, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((count, len(weight), height, width))
    for i in range(height):
        for j in range(width):
            window = padded[:, :, i : i + 3, j : j + 3]
            out[:, :, i, j] = np.einsum("nchw,ochw->no", window, weight) + bias
    return out


def upsample(x: Array) -> Array:
    """Repeat every pixel 2×2."""
    return np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)


def pool(x: Array) -> Array:
    """Average every 2×2 pixels."""
    count, channels, height, width = x.shape
    return x.reshape(count, channels, height // 2, 2, width // 2, 2).mean(axis=(3, 5))


def leaky(x: Array) -> Array:
    """Leaky ReLU of slope 0.2."""
    return np.where(x > 0, x, 0.2 * x)


def minibatch_stddev(x: Array, group: int) -> Array:
    """Append the mean deviation of each image's group: image n belongs to group n mod (N/G)."""
    count, _, height, width = x.shape
    groups = count // min(group, count)
    channel = np.zeros((count, 1, height, width))
    for n in range(count):
        members = [x[m] for m in range(count) if m % groups == n % groups]
        mean = sum(members) / len(members)
        variance = sum((member - mean) ** 2 for member in members) / len(members)
        channel[n] = np.sqrt(variance + 1e-8).mean()
    return np.concatenate([x, channel], axis=1)


def gradient_penalty(scores: Callable[[Array], Array], x: Array, target: float, step: float = 1e-5) -> float:
    """Return E[(‖∇(Σ scores)‖ − target)²]/target², the gradient by central differences."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (scores(up).sum() - scores(down).sum()) / (2 * step)
    norms = np.sqrt((gradient**2).sum(axis=(1, 2, 3)))
    return float(((norms - target) ** 2).mean() / target**2)
