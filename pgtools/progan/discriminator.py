"""The discriminator: images at the live level in, one score each out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pgtools.progan.config import Architecture
from pgtools.progan.layers import (
    Conv,
    Dense,
    DownConv,
    activate,
    downsample,
    in_float32,
    initialise,
    minibatch_stddev,
    mix,
)
from pgtools.progan.normalisation import LayerNorm, MinibatchDiscrimination, Noise, noisy
from pgtools.progan.schedule import Live, live_levels


class Discriminator(nn.Module):
    """Mirrors the generator: every level has a 1×1 convolution from colours and a block that halves the size.

    Args:
        shape: widths and levels.
        seed: names the first weights.
    """

    def __init__(self, shape: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        width, top, equalized = shape.width(4), shape.fmap(0), shape.equalized
        self.from_rgb = nn.ModuleDict(
            {
                str(level): Conv(shape.channels, shape.width(level), kernel=1, equalized=equalized)
                for level in shape.levels
            }
        )
        self.blocks = nn.ModuleDict({str(level): DownBlock(shape, level) for level in shape.levels[1:]})
        inputs = width + (1 if shape.stddev_group else 0)
        self.conv = Conv(inputs, width, equalized=equalized, norm=layer_norm_of(shape, width))
        self.dense0 = Dense(16 * width, top, equalized=equalized, norm=layer_norm_of(shape, top))
        kernels = shape.discrimination_kernels
        self.discrimination = MinibatchDiscrimination(top, kernels, equalized=equalized) if kernels else None
        self.dense1 = Dense(top + kernels, 1 + shape.labels, gain=1, equalized=equalized)
        initialise(self, seed, "discriminator")

    def forward(
        self, images: Tensor, lod: float | Live = 0.0, *, noise: Noise | None = None, minibatches: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return scores (N,), higher for images that look real, and class logits (N, labels).

        Args:
            images: (N, channels, L, L), about [-1, 1], where L is the upper live level of `lod`.
            lod: level of detail; its fraction is the weight of the image seen at the lower level. Or the live levels
                themselves.
            noise: for the activations before every convolution but those from colours; the first dense layer counts
                as one, of 4×4. None for no noise.
            minibatches: how many of equal size lie one after the other in `images`; none sees another.

        Convention: the minibatch standard deviation compares the images of a group, minibatch discrimination all
        images of a minibatch.
        """
        live = lod if isinstance(lod, Live) else live_levels(self.shape.resolution, lod)
        x = activate(self.from_rgb[str(live.upper)](images))
        for level in [level for level in reversed(self.shape.levels[1:]) if level <= live.upper]:
            x = self.blocks[str(level)](x, noise)  # (N, C, level, level) -> (N, C', level/2, level/2)
            if live.fading and level == live.upper:
                x = mix(x, activate(self.from_rgb[str(live.lower)](downsample(images))), live.weight)
        if self.shape.stddev_group:
            x = minibatch_stddev(x, self.shape.stddev_group, minibatches=minibatches)  # (N, C + 1, 4, 4)
        x = activate(self.conv(noisy(x, noise)))  # (N, C, 4, 4)
        x = activate(self.dense0(noisy(x, noise).flatten(1)))
        if self.discrimination is not None:
            x = torch.cat([self.discrimination(each) for each in x.chunk(minibatches)])
        x = in_float32(self.dense1, x)
        return x[:, 0], x[:, 1:]


class DownBlock(nn.Module):
    """(N, width(L), L, L) -> (N, width(L/2), L/2, L/2): two convolutions, the second halves the size."""

    def __init__(self, shape: Architecture, level: int) -> None:
        super().__init__()
        width, smaller, equalized = shape.width(level), shape.width(level // 2), shape.equalized
        self.conv0 = Conv(width, width, equalized=equalized, norm=layer_norm_of(shape, width))
        self.conv1 = DownConv(
            width, smaller, fused=shape.fused_scale, equalized=equalized, norm=layer_norm_of(shape, smaller)
        )

    def forward(self, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the features of the next level."""
        x = activate(self.conv0(noisy(x, noise)))
        down: Tensor = self.conv1(noisy(x, noise))
        return down


def layer_norm_of(shape: Architecture, channels: int) -> LayerNorm | None:
    """Return the layer norm that a layer ends with, None where the shape has none."""
    return LayerNorm(channels) if shape.layer_norm else None
