"""What the first trainer computes, in plain float64: true convolutions over its stored arrays, layer by layer.

Written from its definitions and not from our networks; it knows neither our names nor our layouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import convolve

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sizes:
    """Keyword arguments of both functions."""

    resolution: int = 16
    fmap_base: int = 24
    fmap_max: int = 6
    latent_size: int = 5
    num_channels: int = 3
    use_wscale: bool = True

    def width(self, stage: int) -> int:
        """Feature maps at a stage."""
        return min(int(self.fmap_base / 2**stage), self.fmap_max)

    @property
    def log2(self) -> int:
        """R, where the images have 2^R pixels a side."""
        return self.resolution.bit_length() - 1


class Stack:
    """Layers with random numbers, drawn in the order in which they are made.

    Args:
        seed: of the numbers.
        wscale: whether a run-time scale stands beside each weight.
    """

    def __init__(self, seed: int, *, wscale: bool) -> None:
        self._random, self._wscale = np.random.default_rng(seed), wscale
        self.stored: list[NDArray[Any]] = []

    def layer(self, *shape: int, outputs: int) -> tuple[Array, Array]:
        """Return weight and bias as they are used; what a file would hold goes to `stored`."""
        weight = self._random.standard_normal(shape).astype(np.float32)
        scale = np.float32(self._random.uniform(0.15, 0.4))
        bias = self._random.normal(0, 0.1, outputs).astype(np.float32)
        if not self._wscale:
            weight, scale = weight * scale, np.float32(1)
        self.stored += [weight, np.asarray(scale), bias] if self._wscale else [weight, bias]
        return weight.astype(np.float64) * np.float64(scale), bias.astype(np.float64)


def convolved(x: Array, layer: tuple[Array, Array], mode: str) -> Array:
    """(N, in, H, W) by kernels (out, in, kh, kw), each turned as a convolution turns it; plus the bias."""
    weight, bias = layer
    sums = [[sum(convolve(c, k, mode, "direct") for c, k in zip(one, w, strict=True)) for w in weight] for one in x]
    return np.asarray(sums) + bias[:, None, None]


def mixed(x: Array, layer: tuple[Array, Array]) -> Array:
    """(N, in, H, W) by a matrix (in, out) at every pixel."""
    weight, bias = layer
    return np.einsum("nchw,co->nohw", x, weight) + bias[:, None, None]


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def normed(x: Array) -> Array:
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)


def doubled(x: Array, times: int = 2) -> Array:
    return x.repeat(times, axis=2).repeat(times, axis=3)


def halved(x: Array, times: int = 2) -> Array:
    n, c, height, width = x.shape
    return x.reshape(n, c, height // times, times, width // times, times).mean(axis=(3, 5))


class TheanoGenerator:
    """The first trainer's generator with random weights.

    Args:
        sizes: keyword arguments.
        seed: of the weights.
        norm, norm_latents: pixel norm of features and of latents.
        leak: leaky ReLU, else the plain one.
        tanh: at the end.
    """

    def __init__(
        self,
        sizes: Sizes,
        seed: int,
        *,
        norm: bool = True,
        norm_latents: bool = True,
        leak: bool = True,
        tanh: bool = False,
    ) -> None:
        stack, width = Stack(seed, wscale=sizes.use_wscale), sizes.width
        self.norm, self.norm_latents, self.leak, self.tanh = norm, norm_latents, leak, tanh
        self.first = stack.layer(width(1), sizes.latent_size, 4, 4, outputs=width(1))
        self.second = stack.layer(width(1), width(1), 3, 3, outputs=width(1))
        self.blocks = [
            [stack.layer(width(i), width(i - k), 3, 3, outputs=width(i)) for k in (1, 0)] for i in range(2, sizes.log2)
        ]
        stages = range(sizes.log2 - 1, 0, -1)  # from the highest resolution down
        self.colours = [stack.layer(width(i), sizes.num_channels, outputs=sizes.num_channels) for i in stages]
        self.stored = stack.stored

    def __call__(self, latents: Array, lod: float) -> Array:
        """Return the images at full resolution, pixels repeated."""
        x = normed(latents) if self.norm_latents else latents
        x = self._act(convolved(x[:, :, None, None], self.first, "full"))
        features = [self._act(convolved(x, self.second, "same"))]
        for one, two in self.blocks:
            features.append(self._act(convolved(self._act(convolved(doubled(features[-1]), one, "same")), two, "same")))
        images = [
            doubled(mixed(x, layer), 2**i)
            for i, (x, layer) in enumerate(zip(features[::-1], self.colours, strict=True))
        ]
        lower, share = int(np.floor(lod)), lod - np.floor(lod)
        found = images[lower] * (1 - share) + (images[lower + 1] * share if share else 0)
        return np.tanh(found) if self.tanh else found

    def _act(self, x: Array) -> Array:
        x = leaky(x) if self.leak else np.maximum(x, 0)
        return normed(x) if self.norm else x


class TheanoDiscriminator:
    """The first trainer's discriminator with random weights.

    Args:
        sizes: keyword arguments.
        seed: of the weights.
        statistics: whether the minibatch's deviation is one more channel.
    """

    def __init__(self, sizes: Sizes, seed: int, *, statistics: bool = True) -> None:
        stack, width, top = Stack(seed, wscale=sizes.use_wscale), sizes.width, sizes.log2 - 1
        self.statistics = statistics
        self.colours = {top: stack.layer(sizes.num_channels, width(top), outputs=width(top))}
        self.blocks: dict[int, list[tuple[Array, Array]]] = {}
        for i in range(top, 1, -1):
            self.blocks[i] = [stack.layer(width(i - k), width(i), 3, 3, outputs=width(i - k)) for k in (0, 1)]
            self.colours[i - 1] = stack.layer(sizes.num_channels, width(i - 1), outputs=width(i - 1))
        self.last = stack.layer(width(1), width(1) + statistics, 3, 3, outputs=width(1))
        self.whole = stack.layer(width(0), width(1), 4, 4, outputs=width(0))
        self.scores = stack.layer(width(0), 1, outputs=1)
        self.stored = stack.stored

    def __call__(self, images: Array, lod: float) -> Array:
        """Return one score an image, (N,), of images at full resolution."""
        x = None
        for below, (stage, layer) in enumerate(self.colours.items()):
            seen = leaky(mixed(halved(images, 2**below), layer))
            share = min(max(lod - (below - 1), 0.0), 1.0)  # of the image seen here, against what comes from above
            x = seen if x is None else x * (1 - share) + seen * share
            if stage in self.blocks:
                for convolution in self.blocks[stage]:
                    x = leaky(convolved(x, convolution, "same"))
                x = halved(x)
        if self.statistics:
            deviation = np.sqrt(((x - x.mean(axis=0)) ** 2).mean(axis=0) + 1e-8).mean()
            x = np.concatenate([x, np.full_like(x[:, :1], deviation)], axis=1)
        x = leaky(convolved(x, self.last, "same"))
        x = leaky(convolved(x, self.whole, "valid"))[:, :, 0, 0]
        weight, bias = self.scores
        return (x @ weight + bias)[:, 0]


def at_every_lod(sizes: Sizes) -> Iterator[float]:
    """Levels of detail, whole and between, of networks of a size."""
    yield from (0.0, 0.25, 1.0, 1.5, float(sizes.log2 - 2))
