"""What the paper's earlier configurations put between the layers, and the final ones do without.

Batch norm in the generator and layer norm in the discriminator (Table 1, a to c), minibatch discrimination (e*), and
the noise that keeps the discriminator of the least-squares loss from winning (appendix B).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgtools.progan.layers import Equalized

DIMENSIONS = 5


class BatchNorm(nn.BatchNorm2d):
    """(N, C, H, W) -> the same: every channel to mean 0 and variance 1, then a learned gain and bias.

    In training mode the mean and variance are those of the minibatch, and running averages of both (a tenth of the new
    at each pass) are kept as buffers; in evaluation mode the running averages are used, so that an image depends on
    its own latents alone. The generator's average copies these buffers: they are averages already, and belong to
    activations, not to weights.

    Source: Ioffe and Szegedy 2015.
    """


class LayerNorm(nn.GroupNorm):
    """(N, C, …) -> the same: every image to mean 0 and variance 1 over all its numbers, then a gain and bias a channel.

    No image sees another one, so the gradient penalty, which is asked of each, keeps its meaning.

    Args:
        channels: C.

    Source: Ba et al. 2016; Gulrajani et al. 2017, section 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, channels)


class MinibatchDiscrimination(Equalized):
    """(N, F) -> (N, F + kernels): how close each image is to the others of the minibatch, once for every kernel.

    1. Projections M = T·x, five numbers a kernel.                                 (N, kernels, 5)
    2. Closeness of two images: exp(−Σ|M_i − M_j|).                                (N, N, kernels)
    3. The sum over the other images, appended to the features.                    (N, F + kernels)

    Convention: an image's closeness to itself, always 1, is left out. Five numbers a kernel is what the authors of the
    layer published with their paper, and the first trainer of the Progressive GAN used; neither paper says it.

    Args:
        inputs: F.
        kernels: how many, 100 in the paper.
        equalized: as in `Equalized`.

    Source: Salimans et al. 2016, section 3.2; Karras et al. 2018, table 1 (e*).
    """

    def __init__(self, inputs: int, kernels: int, *, equalized: bool = True) -> None:
        super().__init__(kernels * DIMENSIONS, inputs, gain=1, equalized=equalized, biases=0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features with each kernel's closeness appended."""
        projected = F.linear(x, self.scaled()).reshape(x.shape[0], -1, DIMENSIONS)
        distances = (projected[:, None] - projected[None]).abs().sum(dim=3)
        return torch.cat([x, (-distances).exp().sum(dim=1) - 1], dim=1)


@dataclass(frozen=True)
class Noise:
    """Multiplies activations by Gaussian noise of mean 1 and deviation strength·√C.

    Every channel of every image gets one factor. The strength is a tensor, so that a recorded step reads it anew.

    Attributes:
        strength: 0-dimensional; 0 leaves activations as they are, but draws all the same.
        generator: where the factors come from, on any device; torch's global one if None.

    Source: Karras et al. 2018, appendix B; one factor a channel and image is the first trainer's way.
    """

    strength: Tensor
    generator: torch.Generator | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activations (N, C, …) with noise, same shape."""
        device = self.generator.device if self.generator else x.device
        drawn = torch.randn(x.shape[:2], generator=self.generator, device=device).to(x)
        factors = 1 + self.strength.to(x) * math.sqrt(x.shape[1]) * drawn
        return x * factors.reshape(*x.shape[:2], *[1] * (x.ndim - 2))


def noisy(x: Tensor, noise: Noise | None) -> Tensor:
    """Return the activations with noise, or as they are where there is none."""
    return x if noise is None else noise(x)
