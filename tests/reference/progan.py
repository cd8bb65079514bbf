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


def pixel_norm(x: Array) -> Array:
    """Divide every vector along dimension 1 by its root mean square."""
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)


def layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    """Give every image mean 0 and variance 1 over all its numbers, then each channel its gain and bias."""
    out = np.zeros_like(x)
    for n, image in enumerate(x):
        normed = (image - image.mean()) / np.sqrt(image.var() + 1e-5)
        for c in range(len(image)):
            out[n, c] = gain[c] * normed[c] + bias[c]
    return out


def minibatch_discrimination(x: Array, weight: Array) -> Array:
    """Append, for every kernel (five rows of the weight), the closeness to the other images."""
    kernels = len(weight) // 5
    closeness = np.zeros((len(x), kernels))
    for i in range(len(x)):
        for j in range(len(x)):
            for k in range(kernels):
                rows = weight[5 * k : 5 * k + 5]
                if i != j:
                    closeness[i, k] += np.exp(-np.abs(rows @ x[i] - rows @ x[j]).sum())
    return np.concatenate([x, closeness], axis=1)


def generator_at_4(latents: Array, labels: Array, weights: dict[str, Array]) -> Array:
    """Return the generator's images at 4×4; weights are scaled already and named as the layers are."""
    x = pixel_norm(np.concatenate([latents, labels], axis=1))
    x = (x @ weights["dense.weight"].T).reshape(len(x), -1, 4, 4) + weights["dense.bias"][:, None, None]
    x = pixel_norm(leaky(x))
    x = pixel_norm(leaky(conv3x3(x, weights["conv.weight"], weights["conv.bias"])))
    colours = np.einsum("nchw,oc->nohw", x, weights["to_rgb.4.weight"][:, :, 0, 0])
    return colours + weights["to_rgb.4.bias"][:, None, None]


def discriminator_at_4(images: Array, group: int, weights: dict[str, Array]) -> tuple[Array, Array]:
    """Return scores (N,) and class logits (N, labels) of 4×4 images; the first output is the score."""
    x = np.einsum("nchw,oc->nohw", images, weights["from_rgb.4.weight"][:, :, 0, 0])
    x = minibatch_stddev(leaky(x + weights["from_rgb.4.bias"][:, None, None]), group)
    x = leaky(conv3x3(x, weights["conv.weight"], weights["conv.bias"]))
    x = leaky(x.reshape(len(x), -1) @ weights["dense0.weight"].T + weights["dense0.bias"])
    x = x @ weights["dense1.weight"].T + weights["dense1.bias"]
    return x[:, 0], x[:, 1:]
