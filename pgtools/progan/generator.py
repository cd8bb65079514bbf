"""The generator: latents in, images at the live level out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.layers import (
    Conv,
    DenseTo4x4,
    UpConv,
    activate,
    initialise,
    pixel_norm,
    upsample,
)
from pgtools.progan.schedule import live_levels


class Generator(nn.Module):
    """Grows from 4×4: every level has a block of two convolutions and a 1×1 convolution to colours.

    Args:
        shape: widths, levels and latent.
        seed: names the first weights.
    """

    def __init__(self, shape: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.dense = DenseTo4x4(shape.latent + shape.labels, shape.width(4))
        self.conv = Conv(shape.width(4), shape.width(4))
        self.blocks = nn.ModuleDict({str(level): UpBlock(shape, level) for level in shape.levels[1:]})
        self.to_rgb = nn.ModuleDict(
            {str(level): Conv(shape.width(level), shape.channels, kernel=1, gain=1) for level in shape.levels}
        )
        initialise(self, seed, "generator")

    def forward(self, latents: Tensor, lod: float = 0.0, labels: Tensor | None = None) -> Tensor:
        """Return images, about [-1, 1], (N, channels, L, L) where L is the upper live level of `lod`.

        Args:
            latents: (N, latent), standard normal.
            lod: level of detail, 0 (full resolution) to log2(resolution / 4); its fraction is the weight of
                the lower level's colours.
            labels: (N, labels) one-hot, if the network knows classes.

        Raises:
            InputError: latents and labels are not as many numbers as the network takes.
        """
        upper, lower, weight = live_levels(self.shape.resolution, lod)
        joined = latents if labels is None else torch.cat([latents, labels], dim=1)
        if joined.shape[1] != self.shape.latent + self.shape.labels:
            raise InputError(
                f"The generator takes {self.shape.latent} latents and {self.shape.labels} labels; "
                f"found {joined.shape[1]} numbers."
            )
        x = pixel_norm(activate(self.dense(pixel_norm(joined))))  # (N, C, 4, 4)
        x = pixel_norm(activate(self.conv(x)))
        below = x
        for level in [level for level in self.shape.levels[1:] if level <= upper]:
            below, x = x, self.blocks[str(level)](x)  # (N, C, level/2, level/2) -> (N, C', level, level)
        images: Tensor = self.to_rgb[str(upper)](x)
        if weight:
            images = torch.lerp(images, upsample(self.to_rgb[str(lower)](below)), weight)
        return images


class UpBlock(nn.Module):
    """(N, width(L/2), L/2, L/2) -> (N, width(L), L, L): upsampling, two convolutions, pixel norms."""

    def __init__(self, shape: Architecture, level: int) -> None:
        super().__init__()
        self.conv0 = UpConv(shape.width(level // 2), shape.width(level), fused=shape.fused_scale)
        self.conv1 = Conv(shape.width(level), shape.width(level))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of this level."""
        x = pixel_norm(activate(self.conv0(x)))
        return pixel_norm(activate(self.conv1(x)))
