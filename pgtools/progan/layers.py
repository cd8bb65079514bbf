"""What both networks are made of: equalized layers, pixel norm, minibatch standard deviation, scaling by two.

Weights are stored as N(0, 1) numbers and scaled at run time by gain/√fan_in (equalized learning rate), so
that Adam moves every layer by the same share of its range. Source: Karras et al. 2018, sections 3 and 4,
appendix A.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgtools.errors import InputError
from pgtools.progan.kernels import Kernelled
from pgtools.runtime.seeds import integer_seed

GAIN = math.sqrt(2.0)
SLOPE = 0.2
EPSILON = 1e-8
_HALF = (torch.bfloat16, torch.float16)


def activate(x: Tensor, slope: float = SLOPE) -> Tensor:
    """Return the leaky ReLU; of slope 0 it is the plain one."""
    return F.leaky_relu(x, slope)


def pixel_norm(x: Tensor) -> Tensor:
    """Return x / sqrt(mean(x²) + 1e-8), the mean over dimension 1: a pixel's channels, a latent's numbers.

    Computed in float32 at least, returned in the dtype of x. It can be differentiated once: nothing asks more of a
    generator, and that way its backward is four kernels in place of nine.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        normed: Tensor = _PixelNorm.apply(x)
        return normed
    return (x * _inverse_norm(x)).to(x.dtype)


class _PixelNorm(torch.autograd.Function):
    """With y = x·r and r = (mean(x²) + ε)^(−½): ∂L/∂x = r·(g − y·mean(g·y)), g the gradient at y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        inverse = _inverse_norm(x)
        normed = (x * inverse).to(x.dtype)
        ctx.save_for_backward(normed, inverse)
        return normed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        normed, inverse = ctx.saved_tensors
        arriving, unit = wide(gradient), wide(normed)
        share = (arriving * unit).mean(dim=1, keepdim=True)
        found: Tensor = (torch.addcmul(arriving, unit, share, value=-1) * inverse).to(gradient.dtype)
        return found


def _inverse_norm(x: Tensor) -> Tensor:
    """Return 1 / sqrt(mean(x²) + 1e-8) over dimension 1, which stays, in float32 at least."""
    return torch.rsqrt(wide(x).square().mean(dim=1, keepdim=True) + EPSILON)


def wide(x: Tensor) -> Tensor:
    """Return x as float32 if it has 16 bits, else x itself."""
    return x.float() if x.dtype in _HALF else x


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer makes of x in float32, whatever `torch.autocast` says: for colours and scores."""
    off = torch.autocast(x.device.type, enabled=False)
    # Not entered in vain: exporters would record it.
    with off if torch.is_autocast_enabled(x.device.type) else contextlib.nullcontext():
        found: Tensor = layer(wide(x))
    return found


def mix(upper: Tensor, lower: Tensor, weight: float | Tensor) -> Tensor:
    """Return (1 − weight)·upper + weight·lower, computed in float32 at least, in the dtype of `upper`.

    Args:
        upper: any shape.
        lower: the same shape.
        weight: in [0, 1], a number or a 0-dimensional tensor.
    """
    first, second = wide(upper), wide(lower)
    share = weight.to(first.dtype) if isinstance(weight, Tensor) else weight
    return torch.lerp(first, second, share).to(upper.dtype)


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


def minibatch_stddev(x: Tensor, group: int, *, minibatches: int = 1) -> Tensor:
    """Return x with one more channel: how much the images of a group differ.

    1. Image n of N belongs to group n mod (N/G); a minibatch smaller than `group` is one group.
    2. sqrt(var + 1e-8) over the group, for every channel and pixel.            (N/G, C, H, W)
    3. The mean over channels and pixels, one number a group.                   (N/G,)
    4. Repeated as one constant channel for every image of the group.           (N, C + 1, H, W)

    The deviation is computed in float32 at least; what is returned has the dtype of x.

    Args:
        x: features (N, C, H, W).
        group: G, the most images that are compared.
        minibatches: how many minibatches of equal size lie one after the other in x; their groups stay apart.

    Raises:
        InputError: a minibatch is no multiple of the group.
    """
    count, _, height, width = x.shape
    size = count // minibatches
    group = min(group, size)
    if size % group or size * minibatches != count:
        raise InputError(f"A minibatch of {size} does not divide into groups of {group}.")
    grouped = wide(x).reshape(minibatches, group, size // group, *x.shape[1:])
    centred = grouped - grouped.mean(dim=1, keepdim=True)  # Tensor.var takes twice as long on a CPU
    deviation = (centred.square().mean(dim=1) + EPSILON).sqrt().mean(dim=(2, 3, 4))  # (minibatches, N/G)
    channel = deviation.repeat(1, group).reshape(count, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([x, channel.to(x.dtype)], dim=1)


class Equalized(Kernelled):
    """A weight of N(0, 1) numbers, used times gain/√fan_in, and a bias of zeros.

    Args:
        shape: of the weight, outputs first, then what one output sums over: their product is fan_in.
        gain: √2 keeps the variance through a leaky ReLU; 1 for linear outputs.
        equalized: else the weight is drawn with deviation gain/√fan_in and used as it is (He et al. 2015).
        biases: how many, if not one an output; 0 for none.
        norm: what the layer ends with, in place of a bias; None for nothing.

    Attributes:
        scale: what the weight is multiplied by where it is used.
        spread: the deviation it is drawn with.
    """

    def __init__(
        self,
        *shape: int,
        gain: float = GAIN,
        equalized: bool = True,
        biases: int | None = None,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))
        count = 0 if norm else shape[0] if biases is None else biases
        self.bias = nn.Parameter(torch.zeros(count)) if count else None
        self.norm = norm
        deviation = gain / math.sqrt(math.prod(shape[1:]))
        self.scale, self.spread = (deviation, 1.0) if equalized else (1.0, deviation)

    def scaled(self) -> Tensor:
        """Return the weight times its scale."""
        return self.weight * self.scale

    def formed(self) -> Tensor:
        """Return the scaled weight in the shape the layer multiplies by."""
        return self.scaled()

    def normed(self, x: Tensor) -> Tensor:
        """Return what the layer ends with."""
        return x if self.norm is None else self.norm(x)


class Dense(Equalized):
    """(N, in) -> (N, out)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        gain: float = GAIN,
        equalized: bool = True,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__(outputs, inputs, gain=gain, equalized=equalized, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return W·x + b."""
        return self.normed(F.linear(x, self.kernel(), self.bias))


class DenseTo4x4(Equalized):
    """The generator's first layer: (N, in) -> (N, C, 4, 4), one bias a channel, gain √2/4."""

    def __init__(self, inputs: int, channels: int, *, equalized: bool = True, norm: nn.Module | None = None) -> None:
        super().__init__(16 * channels, inputs, gain=GAIN / 4, equalized=equalized, biases=channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return W·x reshaped in the order C, H, W, plus the bias."""
        features = F.linear(x, self.kernel()).reshape(x.shape[0], -1, 4, 4)
        return self.normed(features if self.bias is None else features + self.bias[:, None, None])


class Conv(Equalized):
    """3×3 (or 1×1) convolution that keeps the size: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        gain: float = GAIN,
        equalized: bool = True,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__(outputs, inputs, kernel, kernel, gain=gain, equalized=equalized, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, zeros beyond the border."""
        return self.normed(F.conv2d(x, self.kernel(), self.bias, padding=self.weight.shape[-1] // 2))


class UpConv(Conv):
    """Nearest 2× upsampling, then a 3×3 convolution: (N, in, H, W) -> (N, out, 2H, 2W).

    Fused, it is one transposed convolution: repeating a pixel 2×2 and convolving is spreading it by the
    kernel summed over its four shifts. The numbers are the same; 4 products a pixel in place of 9.
    """

    def __init__(
        self, inputs: int, outputs: int, *, fused: bool, equalized: bool = True, norm: nn.Module | None = None
    ) -> None:
        super().__init__(inputs, outputs, equalized=equalized, norm=norm)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the upsampled x."""
        if not self.fused:
            return super().forward(upsample(x))
        return self.normed(F.conv_transpose2d(x, self.kernel(), self.bias, stride=2, padding=1))

    def formed(self) -> Tensor:
        """Return the scaled weight, or fused, the kernel of the transposed convolution (in, out, 4, 4)."""
        # Convolution correlates, its transpose spreads: the kernel turns by 180°, inputs come first.
        return four_shifts(self.scaled().flip(2, 3).transpose(0, 1)) if self.fused else self.scaled()


class DownConv(Conv):
    """3×3 convolution, leaky ReLU and 2×2 means: (N, in, H, W) -> (N, out, H/2, W/2).

    Convention: the plain form pools last, as the paper has it. The fused form is one strided convolution that
    pools before bias and activation, as the authors' released trainer has it: other numbers.
    """

    def __init__(
        self, inputs: int, outputs: int, *, fused: bool, equalized: bool = True, norm: nn.Module | None = None
    ) -> None:
        super().__init__(inputs, outputs, equalized=equalized, norm=norm)
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated half-size features."""
        if not self.fused:
            return downsample(activate(super().forward(x)))
        return activate(self.normed(F.conv2d(x, self.kernel(), self.bias, stride=2, padding=1)))

    def formed(self) -> Tensor:
        """Return the scaled weight, or fused, the kernel of the strided convolution (out, in, 4, 4)."""
        return four_shifts(self.scaled()) / 4 if self.fused else self.scaled()


def four_shifts(kernel: Tensor) -> Tensor:
    """Return the sum of a kernel's four shifts by 0 or 1 pixel: (…, 3, 3) -> (…, 4, 4)."""
    padded = F.pad(kernel, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


def equalized_layers(network: nn.Module) -> tuple[Equalized, ...]:
    """Return the layers of a network that have a kernel."""
    return tuple(layer for layer in network.modules() if isinstance(layer, Equalized))


@torch.no_grad()
def initialise(network: nn.Module, seed: int, name: str) -> None:
    """Draw the weights N(0, spread²), each from a stream named by seed, network and parameter; biases are 0.

    Parameters of other layers than `Equalized` stay as they were made, and so do those on the device "meta": they have
    no numbers, and torch takes more than a second to load what it would compute their shapes with.
    """
    for key, layer in network.named_modules():
        if isinstance(layer, Equalized) and not layer.weight.is_meta:
            stream = integer_seed(seed, "weights", name, f"{key}.weight" if key else "weight")
            generator = torch.Generator().manual_seed(stream)
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * layer.spread)
            if layer.bias is not None:
                layer.bias.zero_()


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())
