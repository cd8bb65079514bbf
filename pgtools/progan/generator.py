"""The generator: latents in, images at the live level out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.layers import (
    SLOPE,
    Conv,
    DenseTo4x4,
    UpConv,
    activate,
    in_float32,
    initialise,
    mix,
    pixel_norm,
    upsample,
)
from pgtools.progan.normalisation import BatchNorm
from pgtools.progan.schedule import Live, live_levels


class Generator(nn.Module):
    """Grows from 4×4: every level has a block of two convolutions and a 1×1 convolution to colours.

    Args:
        shape: widths, levels and latent.
        seed: names the first weights.
    """

    def __init__(self, shape: Architecture, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        width, equalized = shape.width(4), shape.equalized
        self.dense = DenseTo4x4(
            shape.latent + shape.labels, width, equalized=equalized, norm=batch_norm_of(shape, width)
        )
        self.conv = Conv(width, width, equalized=equalized, norm=batch_norm_of(shape, width))
        self.blocks = nn.ModuleDict({str(level): UpBlock(shape, level) for level in shape.levels[1:]})
        self.to_rgb = nn.ModuleDict(
            {
                str(level): Conv(shape.width(level), shape.channels, kernel=1, gain=1, equalized=equalized)
                for level in shape.levels
            }
        )
        initialise(self, seed, "generator")

    def forward(self, latents: Tensor, lod: float | Live = 0.0, labels: Tensor | None = None) -> Tensor:
        """Return images, about [-1, 1], (N, channels, L, L) where L is the upper live level of `lod`.

        With batch norm, an image depends on the others of its minibatch in training mode, on itself alone in
        evaluation mode.

        Args:
            latents: (N, latent), standard normal.
            lod: level of detail, 0 (full resolution) to log2(resolution / 4); its fraction is the weight of
                the lower level's colours. Or the live levels themselves.
            labels: (N, labels) one-hot, if the network knows classes.

        Raises:
            InputError: latents and labels are not as many numbers as the network takes.
        """
        live = lod if isinstance(lod, Live) else live_levels(self.shape.resolution, lod)
        joined = latents if labels is None else torch.cat([latents, labels], dim=1)
        if joined.shape[1] != self.shape.latent + self.shape.labels:
            raise InputError(
                f"The generator takes {self.shape.latent} latents and {self.shape.labels} labels; "
                f"found {joined.shape[1]} numbers."
            )
        x = finish(self.dense(pixel_norm(joined) if self.shape.latent_norm else joined), self.shape)  # (N, C, 4, 4)
        x = finish(self.conv(x), self.shape)
        below = x
        for level in [level for level in self.shape.levels[1:] if level <= live.upper]:
            below, x = x, self.blocks[str(level)](x)  # (N, C, level/2, level/2) -> (N, C', level, level)
        images = in_float32(self.to_rgb[str(live.upper)], x)
        if live.fading:
            images = mix(images, upsample(in_float32(self.to_rgb[str(live.lower)], below)), live.weight)
        return images.tanh() if self.shape.tanh else images


class UpBlock(nn.Module):
    """(N, width(L/2), L/2, L/2) -> (N, width(L), L, L): upsampling and two convolutions."""

    def __init__(self, shape: Architecture, level: int) -> None:
        super().__init__()
        self.shape = shape
        width, equalized = shape.width(level), shape.equalized
        self.conv0 = UpConv(
            shape.width(level // 2),
            width,
            fused=shape.fused_scale,
            equalized=equalized,
            norm=batch_norm_of(shape, width),
        )
        self.conv1 = Conv(width, width, equalized=equalized, norm=batch_norm_of(shape, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features of this level."""
        x = finish(self.conv0(x), self.shape)
        return finish(self.conv1(x), self.shape)


def finish(x: Tensor, shape: Architecture) -> Tensor:
    """Return what follows every layer but the colours: the activation, and pixel norm where the shape has it."""
    x = activate(x, SLOPE if shape.leaky_relu else 0.0)
    return pixel_norm(x) if shape.pixel_norm else x


def batch_norm_of(shape: Architecture, channels: int) -> BatchNorm | None:
    """Return the batch norm that a layer ends with, None where the shape has none."""
    return BatchNorm(channels) if shape.batch_norm else None
