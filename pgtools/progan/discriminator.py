"""The discriminator: images at the live level in, one score each out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pgtools.progan.config import Architecture
from pgtools.progan.layers import Conv, Dense, DownConv, activate, downsample, initialise, minibatch_stddev
from pgtools.progan.schedule import live_levels


class Discriminator(nn.Module):
    """Mirrors the generator: every level has a 1×1 convolution from colours and a block that halves the size.

    Args:
        shape: widths and levels.
        seed: names the first weights.
    """

    def __init__(self, shape: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.from_rgb = nn.ModuleDict(
            {str(level): Conv(shape.channels, shape.width(level), kernel=1) for level in shape.levels}
        )
        self.blocks = nn.ModuleDict({str(level): DownBlock(shape, level) for level in shape.levels[1:]})
        self.conv = Conv(shape.width(4) + 1, shape.width(4))
        self.dense0 = Dense(16 * shape.width(4), shape.fmap(0))
        self.dense1 = Dense(shape.fmap(0), 1 + shape.labels, gain=1)
        initialise(self, seed, "discriminator")

    def forward(self, images: Tensor, lod: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return scores (N,), higher for images that look real, and class logits (N, labels).

        Args:
            images: (N, channels, L, L), about [-1, 1], where L is the upper live level of `lod`.
            lod: level of detail; its fraction is the weight of the image seen at the lower level.
        """
        upper, lower, weight = live_levels(self.shape.resolution, lod)
        x = activate(self.from_rgb[str(upper)](images))
        for level in [level for level in reversed(self.shape.levels[1:]) if level <= upper]:
            x = self.blocks[str(level)](x)  # (N, C, level, level) -> (N, C', level/2, level/2)
            if weight and level == upper:
                x = torch.lerp(x, activate(self.from_rgb[str(lower)](downsample(images))), weight)
        x = activate(self.conv(minibatch_stddev(x, self.shape.stddev_group)))  # (N, C, 4, 4)
        x = self.dense1(activate(self.dense0(x.flatten(1))))
        return x[:, 0], x[:, 1:]


class DownBlock(nn.Module):
    """(N, width(L), L, L) -> (N, width(L/2), L/2, L/2): two convolutions, the second halves the size."""

    def __init__(self, shape: Architecture, level: int) -> None:
        super().__init__()
        self.conv0 = Conv(shape.width(level), shape.width(level))
        self.conv1 = DownConv(shape.width(level), shape.width(level // 2), fused=shape.fused_scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of the next level."""
        down: Tensor = self.conv1(activate(self.conv0(x)))
        return down
