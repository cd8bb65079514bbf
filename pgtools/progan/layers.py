"""What both networks are made of: equalized layers, pixel norm, minibatch standard deviation, scaling by two.

Weights are stored as N(0, 1) numbers and scaled at run time by gain/√fan_in (equalized learning rate), so
that Adam moves every layer by the same share of its range. Source: Karras et al. 2018, sections 3 and 4,
appendix A.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgtools.errors import InputError
from pgtools.runtime.seeds import integer_seed

GAIN = math.sqrt(2.0)
SLOPE = 0.2
EPSILON = 1e-8


def activate(x: Tensor) -> Tensor:
    """Return the leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, SLOPE)


def pixel_norm(x: Tensor) -> Tensor:
    """Return x / sqrt(mean(x²) + 1e-8), the mean over dimension 1: a pixel's channels, a latent's numbers."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


def upsample(x: Tensor) -> Tensor:
    """Return every pixel repeated 2×2: (N, C, H, W) -> (N, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def downsample(x: Tensor) -> Tensor:
    """Return the 2×2 means: (N, C, H, W) -> (N, C, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


def enlarge(images: Tensor, resolution: int) -> Tensor:
    """Return images with every pixel repeated until they are `resolution` wide."""
    factor = resolution // images.shape[-1]
    return images.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def fade(images: Tensor, weight: float) -> Tensor:
    """Return (1 − weight)·images + weight·(their 2×2 means, repeated): the reals while a level fades in."""
    return torch.lerp(images, upsample(downsample(images)), weight) if weight else images


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """Return x with one more channel: how much the images of a group differ.

    1. Image n of N belongs to group n mod (N/G); a minibatch smaller than `group` is one group.
    2. sqrt(var + 1e-8) over the group, for every channel and pixel.            (N/G, C, H, W)
    3. The mean over channels and pixels, one number a group.                   (N/G,)
    4. Repeated as one constant channel for every image of the group.           (N, C + 1, H, W)

    Raises:
        InputError: the minibatch is no multiple of the group.
    """
    count, _, height, width = x.shape
    group = min(group, count)
    if count % group:
        raise InputError(f"A minibatch of {count} does not divide into groups of {group}.")
    grouped = x.reshape(group, count // group, *x.shape[1:])
    deviation = (grouped.var(dim=0, unbiased=False) + EPSILON).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
    return torch.cat([x, channel], dim=1)


class Equalized(nn.Module):
    """A weight of N(0, 1) numbers, used times gain/√fan_in, and a bias of zeros.

    Args:
        shape: of the weight, outputs first, then what one output sums over: their product is fan_in.
        gain: √2 keeps the variance through a leaky ReLU; 1 for linear outputs.
        biases: how many, if not one an output.
    """

    def __init__(self, *shape: int, gain: float = GAIN, biases: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0] if biases is None else biases))
        self.scale = gain / math.sqrt(math.prod(shape[1:]))

    def scaled(self) -> Tensor:
        """Return the weight as the layer uses it."""
        return self.weight * self.scale


class Dense(Equalized):
    """(N, in) -> (N, out)."""

    def __init__(self, inputs: int, outputs: int, *, gain: float = GAIN) -> None:
        super().__init__(outputs, inputs, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return W·x + b."""
        return F.linear(x, self.scaled(), self.bias)


class DenseTo4x4(Equalized):
    """The generator's first layer: (N, in) -> (N, C, 4, 4), one bias a channel, gain √2/4."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__(16 * channels, inputs, gain=GAIN / 4, biases=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return W·x reshaped in the order C, H, W, plus the bias."""
        return F.linear(x, self.scaled()).reshape(len(x), -1, 4, 4) + self.bias[:, None, None]


class Conv(Equalized):
    """3×3 (or 1×1) convolution that keeps the size: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, gain: float = GAIN) -> None:
        super().__init__(outputs, inputs, kernel, kernel, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, zeros beyond the border."""
        return F.conv2d(x, self.scaled(), self.bias, padding=self.weight.shape[-1] // 2)


class UpConv(Conv):
    """Nearest 2× upsampling, then a 3×3 convolution: (N, in, H, W) -> (N, out, 2H, 2W).

    Fused, it is one transposed convolution: repeating a pixel 2×2 and convolving is spreading it by the
    kernel summed over its four shifts. The numbers are the same; 4 products a pixel in place of 9.
    """

    def __init__(self, inputs: int, outputs: int, *, fused: bool) -> None:
        super().__init__(inputs, outputs)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the upsampled x."""
        if not self.fused:
            return super().forward(upsample(x))
        # Convolution correlates, its transpose spreads: the kernel turns by 180°, inputs come first.
        kernel = four_shifts(self.scaled().flip(2, 3).transpose(0, 1))
        return F.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class DownConv(Conv):
    """3×3 convolution, leaky ReLU and 2×2 means: (N, in, H, W) -> (N, out, H/2, W/2).

    Convention: the plain form pools last, as the paper has it. The fused form is one strided convolution that
    pools before bias and activation, as the authors' released trainer has it: other numbers.
    """

    def __init__(self, inputs: int, outputs: int, *, fused: bool) -> None:
        super().__init__(inputs, outputs)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated half-size features."""
        if not self.fused:
            return downsample(activate(super().forward(x)))
        return activate(F.conv2d(x, four_shifts(self.scaled()) / 4, self.bias, stride=2, padding=1))


def four_shifts(kernel: Tensor) -> Tensor:
    """Return the sum of a kernel's four shifts by 0 or 1 pixel: (…, 3, 3) -> (…, 4, 4)."""
    padded = F.pad(kernel, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


@torch.no_grad()
def initialise(network: nn.Module, seed: int, name: str) -> None:
    """Fill weights with N(0, 1), each from a stream named by seed, network and parameter; biases with 0."""
    for key, parameter in network.named_parameters():
        if key.endswith("weight"):
            generator = torch.Generator().manual_seed(integer_seed(seed, "weights", name, key))
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        else:
            parameter.zero_()


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())
